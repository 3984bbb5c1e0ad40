"""Tables for people, JSON lines for programs; what is said beside them goes to standard error.

Much of it was written by others: a terminal must not obey a file's name. For people, control
characters are replaced by what they are; in JSON they are escaped.
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
"""Of a table in a pipe or a file, where a row is better long than folded."""

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
"""JSON itself escapes those before the space only."""


def plain(text: str) -> str:
    """The text in one line, without anything that a terminal would obey."""
    return text.translate(_SHOWN)


class _Plain(Console):
    def __init__(
        self, *, stderr: bool = False, soft_wrap: bool = False, width: int | None = None
    ) -> None:
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, width=width, highlight=False, emoji=False
        )

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is printed comes by here."""
        return super().render_str(plain(text), **options)


class _Result(_Plain):
    @override
    def on_broken_pipe(self) -> None:
        """Leave it to the root of all commands; rich would end the program itself."""
        raise BrokenPipeError


def out() -> Console:
    """Where a command's result goes."""
    width = None if sys.stdout.isatty() else LOG_WIDTH
    return _Result(soft_wrap=not sys.stdout.isatty(), width=width)


def err() -> Console:
    """Where everything else goes."""
    return _Plain(stderr=True, soft_wrap=True)


def tell(text: str, style: str | None = None) -> None:
    """Say something to a person, beside the result."""
    err().print(text, style=style, markup=False)


def say(text: str) -> None:
    """One line of a result, out at once."""
    out().print(text, markup=False, soft_wrap=True)


def json_line(value: Mapping[str, Any]) -> None:
    """One line of a program's result, out at once."""
    sys.stdout.write(msgspec.json.encode(value).decode().translate(_ESCAPED) + "\n")
    sys.stdout.flush()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> RenderableType:
    """A table of text; cells that name a state or severity have its colour.

    Only the last column is wrapped. If it would be too narrow for a word, each row becomes a
    paragraph. In a pipe each row stays one.
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
    """Facts by name, one a line; on a terminal, long ones are wrapped between words."""
    if sys.stdout.isatty():
        out().print(paragraph(facts))
    else:
        for name, value in facts:
            say(f"  {name}: {value}")


def paragraph(facts: Iterable[tuple[str, object]]) -> Table:
    """Facts by name, one below the other."""
    made = Table.grid(padding=(0, GAP, 0, 0))
    made.add_column(no_wrap=True, style="dim")
    made.add_column(overflow="fold")
    for name, value in facts:
        if str(value):
            made.add_row(f"  {name}", _cell(str(value)))
    return made


def _cell(text: str) -> Text:
    return Text(plain(text), COLOURS.get(text, ""))


def progress() -> Progress:
    """A progress bar on standard error, on a terminal only."""
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def several(count: int, noun: str) -> str:
    """A count with its noun: `1 job`, `2 jobs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def stamp(moment: datetime) -> str:
    """A time as the jobs table writes it: `2026-01-31T08:05:09.120Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(since: datetime, now: datetime | None = None) -> str:
    """How long ago, in the two largest units: `3d 4h`."""
    return duration((now or datetime.now(UTC)) - since)


def precise(span: timedelta) -> str:
    """A span, with fractions of a second below a minute: `1.25s`, `3d 4h`."""
    seconds = span.total_seconds()
    return f"{seconds:.3g}s" if seconds < 60 else duration(span)


def duration(span: timedelta) -> str:
    """A span in its two largest units: `3d 4h`."""
    seconds = max(0, int(span.total_seconds()))
    parts = [
        f"{amount}{unit}"
        for amount, unit in (
            (seconds // 86_400, "d"),
            (seconds // 3600 % 24, "h"),
            (seconds // 60 % 60, "m"),
            (seconds % 60, "s"),
        )
        if amount
    ]
    return " ".join(parts[:2]) or "0s"
