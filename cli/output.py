r"""Tables for people and JSON lines for programs. Everything else goes to standard error.

Names and reasons come from others, and a terminal must not obey them. For people, control
characters are printed as text such as `\x1b`. In JSON they are escaped.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, override

import msgspec
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

GAP: Final = 2
"""Spaces between two columns."""

LOG_WIDTH: Final = 200
"""The width of a table in a pipe or a file. There, a long row is better than a folded one."""

COLOURS: Final[Mapping[str, str]] = {
    "ARCHIVED": "green",
    "FAILED": "red",
    "SUBMITTED": "cyan",
    "SUBMITTING": "yellow",
    "critical": "bold red",
    "warning": "yellow",
}

_LATER_CONTROLS: Final = range(0x7F, 0xA0)
_SHOWN: Final[Mapping[int, str]] = {
    code: " " if chr(code) in "\t\n\v\f\r" else f"\\x{code:02x}"
    for code in (*range(0x20), *_LATER_CONTROLS)
}
_ESCAPED: Final[Mapping[int, str]] = {code: f"\\u{code:04x}" for code in _LATER_CONTROLS}
"""JSON itself escapes only the control characters before the space."""


def plain(text: str) -> str:
    """Return the text in one line, without control characters."""
    return text.translate(_SHOWN)


class _Plain(Console):
    @override
    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is printed passes here."""
        return super().render_str(plain(text), **options)

    @override
    def on_broken_pipe(self) -> None:
        """Leave it to the root of all commands. Rich would end the program itself."""
        raise BrokenPipeError


def out() -> Console:
    """Return the console for a command's result."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else LOG_WIDTH
    return _Plain(soft_wrap=not is_terminal, width=width, highlight=False, emoji=False)


def err() -> Console:
    """Return the console for everything else."""
    return _Plain(stderr=True, soft_wrap=True, highlight=False, emoji=False)


def note(text: str, style: str | None = None) -> None:
    """Print a line for a person, beside the result."""
    err().print(text, style=style, markup=False)


def say(text: str) -> None:
    """Print one line of a result at once."""
    out().print(text, markup=False, soft_wrap=True)


def json_line(value: Mapping[str, Any]) -> None:
    """Print one line of a program's result at once."""
    sys.stdout.write(msgspec.json.encode(value).decode().translate(_ESCAPED) + "\n")
    sys.stdout.flush()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> RenderableType:
    """Return a table of text. A cell that names a state or a severity has its colour.

    Only the last column is wrapped. If it is too narrow for a word, each row becomes a paragraph.
    In a pipe each row stays one line.
    """
    texts = [[plain(str(cell)) for cell in row] for row in rows]
    *fixed, last = ([name, *cells] for name, *cells in zip(columns, *texts, strict=True))
    # Japanese may be broken anywhere.
    words = [word for word in " ".join(last).split() if word.isascii()]
    needed = sum(max(map(cell_len, cells)) + GAP for cells in fixed)
    needed += max(map(len, words), default=0)
    if needed > (width or (out().width if sys.stdout.isatty() else needed)):
        return Group(*(paragraph(zip(columns, row, strict=True)) for row in texts))
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for number, name in enumerate(columns, 1):
        made.add_column(name, overflow="fold", no_wrap=number < len(columns))
    for row in texts:
        made.add_row(*map(_cell, row))
    return made


def fields(facts: Iterable[tuple[str, object]]) -> None:
    """Print facts by name, one a line. A terminal wraps long ones between words."""
    if sys.stdout.isatty():
        out().print(paragraph(facts))
    else:
        for name, value in facts:
            say(f"  {name}: {value}")


def hanging(mark: str, text: str) -> None:
    """Print a text after a mark. A terminal wraps it between words and indents it."""
    if sys.stdout.isatty():
        out().print(paragraph([(mark, text)]))
    else:
        say(f"  {mark} {text}")


def paragraph(facts: Iterable[tuple[str, object]]) -> Table:
    """Return facts by name, one below the other; empty ones are left out."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(no_wrap=True, style="dim")
    made.add_column(overflow="fold")
    for name, value in facts:
        if str(value):
            made.add_row(f"  {name}", _cell(str(value)))
    return made


def _cell(text: str) -> Text:
    return Text(plain(text), COLOURS.get(text, ""))


def progress(*, prints: bool = False) -> Progress:
    """Return a progress bar on standard error. Only a terminal shows it.

    A command that `prints` its result meanwhile shows none if both go to a terminal.
    """
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        # Rich would print lines for a file on standard error.
        redirect_stdout=False,
        disable=not console.is_terminal or (prints and sys.stdout.isatty()),
    )


def several(count: int, noun: str) -> str:
    """Return a count with its noun: `1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def stamp(moment: datetime) -> str:
    """Return a time in the form of the jobs table: `2026-01-31T08:05:09.120Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(since: datetime, now: datetime | None = None) -> str:
    """Return how long ago it was, in the two largest units: `3d 4h`."""
    return duration((now or datetime.now(UTC)) - since)


def precise(span: timedelta) -> str:
    """Return a span, with fractions of a second below a minute: `1.25s`, `3d 4h`."""
    seconds = span.total_seconds()
    return f"{seconds:.3g}s" if seconds < 60 else duration(span)


def duration(span: timedelta) -> str:
    """Return a span in its two largest units: `3d 4h`."""
    seconds = max(0, int(span.total_seconds()))
    amounts = (seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60)
    parts = [f"{amount}{unit}" for amount, unit in zip(amounts, "dhms", strict=True) if amount]
    return " ".join(parts[:2]) or "0s"
