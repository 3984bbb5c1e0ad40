"""The page: text that wraps, rules, headings, and columns of facts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, override

from fpdf import FPDF
from fpdf.output import OutputProducer, PDFInfo
from fpdf.syntax import Name, PDFDate, PDFString

from local.emulator.typeface import FAMILY, Typeface, japanese

type Colour = tuple[int, int, int]

INK: Final[Colour] = (33, 37, 41)
MUTED: Final[Colour] = (108, 117, 125)
ACCENT: Final[Colour] = (31, 62, 100)
PALE: Final[Colour] = (243, 246, 250)
RULE: Final[Colour] = (206, 212, 218)

_POINT = 25.4 / 72  # millimetres
_LEADING = 1.45
_CELL_PADDING = 1.6
_LATIN = "cp1252"
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
# A Latin word, a run of spaces, or one wide sign with the marks that may not begin a line.
_WIDE = r"\u3000-\u9fff\uf900-\uffef"
_MAY_NOT_BEGIN_A_LINE = "、。，．・：；！？）」』】〕々ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
_WORDS = re.compile(rf"[^\s{_WIDE}]+|\s+|[{_WIDE}][{_MAY_NOT_BEGIN_A_LINE}]*")


class Align(StrEnum):
    """Where text stands in its width."""

    LEFT = "left"
    CENTRE = "centre"
    RIGHT = "right"


@dataclass(frozen=True)
class Style:
    """How text looks; `size` in points."""

    size: float = 9.5
    bold: bool = False
    colour: Colour = INK

    @property
    def line_height(self) -> float:
        """Millimetres from one baseline to the next."""
        return self.size * _POINT * _LEADING


TITLE: Final = Style(24, bold=True, colour=ACCENT)
HEADING: Final = Style(11.5, bold=True, colour=ACCENT)
BODY: Final = Style()
LABEL: Final = Style(8, colour=MUTED)


class Document(FPDF):
    """An A4 page with margins, a running title from page two on, and page numbers.

    The bytes are the same for the same `file_id`, `metadata` and drawing. `y` is the top of what
    is drawn next; whatever does not fit below it goes to a new page. `metadata` goes into the
    document's information dictionary.
    """

    def __init__(self, title: str, file_id: str, metadata: Mapping[str, str]) -> None:
        super().__init__(format="A4")
        self.metadata = metadata
        self._running_title = title
        self._identifier = sha256(file_id.encode()).hexdigest()[:32].upper()
        self._typeface: Typeface | None = None
        self.core_fonts_encoding = _LATIN
        self.set_creation_date(_CREATED)
        self.set_title(title)
        self.set_creator("ReportFlow emulator")
        self.set_margins(18, 18, 18)
        self.set_auto_page_break(auto=False)
        self.add_page()

    def file_id(self) -> str:
        """The trailer's identifier: it makes two files with the same text differ."""
        return f"<{self._identifier}><{self._identifier}>"

    def header(self) -> None:
        """Called by fpdf2 at the top of each page."""
        if self.page_no() > 1:
            self.write_at(self.l_margin, 10, self._running_title, LABEL, width=self.epw)
            self.rule(15.5)
            self.set_y(20)

    def footer(self) -> None:
        """Called by fpdf2 at the end of each page."""
        self.rule(self.h - 15)
        self.set_xy(self.l_margin, self.h - 14)
        self.set_font("helvetica", size=LABEL.size)
        self.set_text_color(*LABEL.colour)
        # Only `cell` puts in the number of pages, which is not known before the last one.
        self.cell(self.epw, 4, f"{self.page_no()} / {self.str_alias_nb_pages}", align="C")

    @property
    def bottom(self) -> float:
        """The lowest `y` of the page's text, in millimetres."""
        return self.h - 20

    def reserve(self, height: float) -> bool:
        """Start a new page unless `height` millimetres are left; whether one was started."""
        if self.y + height <= self.bottom:
            return False
        self.add_page()
        return True

    def rule(
        self, y: float, colour: Colour = RULE, thickness: float = 0.2, x: float | None = None
    ) -> None:
        """Draw a line across the text's width, or from `x` to its right end."""
        self.set_draw_color(*colour)
        self.set_line_width(thickness)
        self.line(self.l_margin if x is None else x, y, self.w - self.r_margin, y)

    def width_of(self, text: str, style: Style) -> float:
        """Millimetres that `text` takes on one line."""
        spelled = self.normalize_text(self._use(text, style))
        if self.current_font is None:
            raise RuntimeError("No font is set")
        return self.current_font.get_text_width(spelled, style.size, None)[1] * _POINT

    def write_at(
        self,
        x: float,
        y: float,
        text: str,
        style: Style,
        width: float = 0,
        align: Align = Align.LEFT,
    ) -> None:
        """Write one line whose top is `y`; `align` is within `width` millimetres from `x`."""
        if align is not Align.LEFT:
            slack = width - self.width_of(text, style)
            x += slack if align is Align.RIGHT else slack / 2
        spelled = self._use(text, style)
        baseline = y + style.size * _POINT * 1.1
        self.set_text_color(*style.colour)
        if style.bold and self.font_family == FAMILY:
            # The typeface has one weight: an outline of the same colour makes the bold.
            with self.local_context(
                text_mode="FILL_STROKE", draw_color=style.colour, line_width=style.size * 0.02
            ):
                self.text(x, baseline, spelled)
        else:
            self.text(x, baseline, spelled)

    def lines(self, text: str, style: Style, width: float) -> list[str]:
        """`text` broken into lines of at most `width` millimetres."""
        if "\n" not in text and self.width_of(text, style) <= width:
            return [text]
        return [
            line for paragraph in text.split("\n") for line in self._broken(paragraph, style, width)
        ]

    def paragraph(
        self,
        text: str,
        style: Style = BODY,
        *,
        x: float | None = None,
        width: float | None = None,
        align: Align = Align.LEFT,
    ) -> None:
        """Write `text` below `y` over as many lines and pages as it takes."""
        x = self.l_margin if x is None else x
        width = self.w - self.r_margin - x if width is None else width
        for line in self.lines(text, style, width):
            self.reserve(style.line_height)
            top = self.y
            self.write_at(x, top, line, style, width, align)
            self.set_y(top + style.line_height)

    def space(self, height: float) -> None:
        """Leave `height` millimetres free."""
        self.set_y(self.y + height)

    def heading(self, text: str) -> None:
        """Write a section's heading, kept together with what follows."""
        self.space(3)
        self.reserve(22)
        self.paragraph(text, HEADING)
        self.space(1)

    def facts(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        x: float | None = None,
        width: float | None = None,
        label_width: float = 42,
    ) -> None:
        """Write pairs of label and value, one below the other."""
        x = self.l_margin if x is None else x
        width = self.w - self.r_margin - x if width is None else width
        for label, value in pairs:
            labels = self.lines(label, LABEL, label_width - 3)
            values = self.lines(value, BODY, width - label_width)
            for index in range(max(len(labels), len(values))):
                self.reserve(BODY.line_height)
                top = self.y
                if index < len(labels):
                    self.write_at(x, top + 0.5, labels[index], LABEL)
                if index < len(values):
                    self.write_at(x + label_width, top, values[index], BODY)
                self.set_y(top + BODY.line_height)
            self.space(0.6)

    def finish(self) -> bytes:
        """The PDF's bytes; the document is closed."""
        return bytes(self.output(output_producer_class=_Producer))

    def _use(self, text: str, style: Style) -> str:
        """Set the font that can write `text`, and give the text in the signs that it has."""
        printable = "".join(sign if sign.isprintable() else " " for sign in text)
        try:
            printable.encode(_LATIN)
        except UnicodeEncodeError:
            if self._typeface is None:
                self._typeface = japanese()
                self._typeface.lend(self)
            self.set_font(FAMILY, size=style.size)
            return self._typeface.spell(printable)
        self.set_font("helvetica", "B" if style.bold else "", style.size)
        return printable

    def _broken(self, paragraph: str, style: Style, width: float) -> list[str]:
        lines: list[str] = []
        line = ""
        for word in _WORDS.findall(paragraph):
            for part in self._fitting(word, style, width):
                # Measured as a whole: one Japanese sign sets the line in the other typeface.
                if line and self.width_of((line + part).rstrip(), style) > width:
                    lines.append(line.rstrip())
                    line = ""
                if line or not part.isspace():
                    line += part
        return [*lines, line.rstrip()]

    def _fitting(self, word: str, style: Style, width: float) -> Iterable[str]:
        """`word`, or its pieces where it alone is wider than a line."""
        if self.width_of(word, style) <= width:
            return (word,)
        return tuple(word)


class _Information(PDFInfo):
    """The information dictionary, with entries of any name; one of ours may replace fpdf2's."""

    def __init__(self, document: Document) -> None:
        super().__init__(
            title=document.title,
            subject=None,
            author=None,
            keywords=None,
            creator=document.creator,
            producer=None,
            creation_date=PDFDate(_CREATED, with_tz=True),
        )
        self._metadata = document.metadata

    @override
    def _build_obj_dict(self, security_handler: Any = None) -> dict[str, object]:
        entries = super()._build_obj_dict(security_handler)
        for name, text in self._metadata.items():
            entries[Name(_writable(name)).serialize()] = PDFString(_writable(text)).serialize()
        return entries


class _Producer(OutputProducer):
    @override
    def _add_info(self) -> PDFInfo:
        if not isinstance(self.fpdf, Document):
            raise TypeError("Only a Document has metadata")
        information = _Information(self.fpdf)
        self._add_pdf_obj(information)
        return information


def _writable(text: str) -> str:
    """`text` without what no PDF string can hold: a lone surrogate, which JSON may carry."""
    return text.encode(errors="replace").decode()
