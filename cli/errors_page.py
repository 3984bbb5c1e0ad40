"""Writes the tables of error codes in docs/errors.md: `make docs`.

Each table is between two markers. The rest of the page is written by hand.
"""

import re
from collections.abc import Iterator
from typing import Final

from cli import REPOSITORY
from cli.error_codes import ERROR_CODES, ErrorCode

PAGE: Final = REPOSITORY / "docs" / "errors.md"

_TABLES: Final = {
    "in dead letters": [one for one in ERROR_CODES if one.dead_letter],
    "in logs only": [one for one in ERROR_CODES if not one.dead_letter],
}
_MARKED: Final = re.compile(
    r"(<!-- `make docs` writes the codes (?P<which>[^>]+) from cli/error_codes\.toml -->\n)"
    r".*?(?=<!-- end -->)",
    re.DOTALL,
)


def page() -> str:
    """Return the page with the tables of the registry."""
    return _MARKED.sub(_table, PAGE.read_text())


def _table(marked: re.Match[str]) -> str:
    return marked[1] + "\n".join(["", *_rows(_TABLES[marked["which"]]), "", ""])


def _rows(entries: list[ErrorCode]) -> Iterator[str]:
    yield "| `errorCode` | Kind | Meaning | What to do |"
    yield "|---|---|---|---|"
    for entry in entries:
        kinds = ", ".join(f"`{kind.__name__}`" for kind in entry.kinds) or "none"
        cells = (f"`{entry.code}`", kinds, entry.meaning, " ".join(_remedy(entry)))
        yield f"| {' | '.join(cells)} |"


def _remedy(entry: ErrorCode) -> Iterator[str]:
    yield entry.remedy
    commands = [f"`{command}`" for command in entry.commands(entry.code)]
    if commands:
        yield " or ".join(commands)


if __name__ == "__main__":
    PAGE.write_text(page())
