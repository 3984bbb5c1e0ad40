"""The layout of the report: a summary, and a table of any length."""

from typing import Final

from local.emulator.document import ACCENT, LABEL, PALE, TITLE, Document, Style
from local.emulator.parameters import (
    Parameters,
    Record,
    draw_parameters,
    draw_records,
    label_of,
    shown,
)

_FIGURE: Final = Style(13, bold=True, colour=ACCENT)
_SUBTITLE: Final = Style(10.5)
_TILES_A_LINE = 4


def draw_report(document: Document, values: Record) -> None:
    """Draw a report: title, figures of the summary as tiles, the rows, remarks."""
    parameters = Parameters(values)
    document.paragraph(parameters.text("title", "Report"), TITLE)
    line = "   ".join(filter(None, (parameters.text("period"), parameters.text("author"))))
    document.paragraph(line, _SUBTITLE)
    document.space(1)
    document.rule(document.y, ACCENT, 0.6)
    document.space(5)
    _draw_tiles(document, parameters.group("summary").rest())

    rows = parameters.records("rows")
    if rows:
        draw_records(document, rows)
    remarks = parameters.text("remarks")
    if remarks:
        document.heading("Remarks")
        document.paragraph(remarks)
    if parameters.rest():
        document.heading("Further details")
        draw_parameters(document, parameters.rest())


def _draw_tiles(document: Document, summary: Record) -> None:
    figures = [(label_of(name), shown(value)) for name, value in summary.items()]
    gap = 4.0
    width = (document.epw - (_TILES_A_LINE - 1) * gap) / _TILES_A_LINE
    for start in range(0, len(figures), _TILES_A_LINE):
        line = [
            (label, document.lines(value, _FIGURE, width - 6))
            for label, value in figures[start : start + _TILES_A_LINE]
        ]
        height = 9 + max(len(lines) for _, lines in line) * _FIGURE.line_height
        document.reserve(height + gap)
        top = document.y
        for index, (label, lines) in enumerate(line):
            x = document.l_margin + index * (width + gap)
            document.set_fill_color(*PALE)
            document.rect(x, top, width, height, style="F")
            document.write_at(x + 3, top + 2.4, label, LABEL)
            for number, text in enumerate(lines):
                document.write_at(x + 3, top + 7 + number * _FIGURE.line_height, text, _FIGURE)
        document.set_y(top + height + gap)
