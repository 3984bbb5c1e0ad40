"""Tables that flow over pages, their headings repeated on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from local.emulator.document import ACCENT, PALE, Align, Document, Style

_HEADING: Final = Style(8.5, bold=True, colour=(255, 255, 255))
_CELL: Final = Style(8.5)
_PADDING = 1.6  # millimetres left and right of a cell's text
_GAP = 0.7  # millimetres above and below it


@dataclass(frozen=True)
class Column:
    """A table's column; those that `grows` share the page's width that is left over."""

    heading: str
    align: Align = Align.LEFT
    grows: bool = False


class Table:
    """A table to be drawn at a document's `y`, as wide as its text."""

    def __init__(
        self, document: Document, columns: Sequence[Column], rows: Sequence[Sequence[str]]
    ) -> None:
        self._document = document
        self._columns = columns
        self._rows = rows
        self._widths = self._fitted_widths()

    def draw(self) -> None:
        """Draw it, over as many pages as it takes."""
        self._document.reserve(25)
        self._draw_headings()
        for number, row in enumerate(self._rows):
            self._draw_row(self._broken(row, _CELL), shaded=number % 2 == 1)
        self._document.rule(self._document.y)
        self._document.space(3)

    def _fitted_widths(self) -> list[float]:
        """Widths that fill the page, each as wide as its text asks for where that is possible."""
        page = self._document.epw
        wanted = [
            2 * _PADDING
            + max(
                [
                    self._document.width_of(column.heading, _HEADING),
                    *(self._document.width_of(row[index], _CELL) for row in self._rows),
                ]
            )
            for index, column in enumerate(self._columns)
        ]
        excess = sum(wanted) - page
        if excess <= 0:
            growing = [column.grows for column in self._columns]
            shares = growing if any(growing) else [True] * len(wanted)
            return [
                width - excess / sum(shares) * share
                for width, share in zip(wanted, shares, strict=True)
            ]
        # Only columns wider than an even share give way, in proportion to what they have beyond it.
        even = page / len(wanted)
        beyond = sum(max(0.0, width - even) for width in wanted)
        return [width - max(0.0, width - even) / beyond * excess for width in wanted]

    def _broken(self, texts: Sequence[str], style: Style) -> list[list[str]]:
        return [
            self._document.lines(text, style, width - 2 * _PADDING)
            for text, width in zip(texts, self._widths, strict=True)
        ]

    def _draw_headings(self) -> None:
        headings = self._broken([column.heading for column in self._columns], _HEADING)
        self._draw_band(headings, _HEADING, ACCENT)

    def _draw_row(self, cells: list[list[str]], *, shaded: bool) -> None:
        """Draw a row on one page, or over several where it is higher than a page."""
        document = self._document
        while any(cells):
            fitting = int((document.bottom - document.y - 2 * _GAP) / _CELL.line_height)
            whole_page = int((document.bottom - document.t_margin - 20) / _CELL.line_height)
            if fitting < min(max(map(len, cells)), whole_page):
                document.add_page()
                self._draw_headings()
                fitting = whole_page
            self._draw_band([cell[:fitting] for cell in cells], _CELL, PALE if shaded else None)
            cells = [cell[fitting:] for cell in cells]

    def _draw_band(
        self, cells: Sequence[Sequence[str]], style: Style, fill: tuple[int, int, int] | None
    ) -> None:
        document = self._document
        top = document.y
        height = max(map(len, cells)) * style.line_height + 2 * _GAP
        if fill is not None:
            document.set_fill_color(*fill)
            document.rect(document.l_margin, top, document.epw, height, style="F")
        x = document.l_margin
        for column, width, lines in zip(self._columns, self._widths, cells, strict=True):
            for number, line in enumerate(lines):
                y = top + _GAP + number * style.line_height
                inner = width - 2 * _PADDING
                document.write_at(x + _PADDING, y, line, style, inner, column.align)
            x += width
        document.set_y(top + height)
