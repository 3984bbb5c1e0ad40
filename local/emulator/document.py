"""A4 pages over fpdf2: headings, facts, tables and paragraphs, in Latin or Japanese."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, override

from fpdf import FPDF
from fpdf.fonts import FontFace
from fpdf.output import OutputProducer, PDFInfo
from fpdf.syntax import Name, PDFDate, PDFString

SUBSTITUTE: Final = "〓"
"""Japanese printers' sign for a character that the font lacks."""

_JAPANESE: Final = "ipaexgothic"
_JAPANESE_PACKAGE = "matplotlib_fontja"
_LATIN_ENCODING = "cp1252"
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
_INK, _MUTED, _ACCENT = (33, 37, 41), (108, 117, 125), (31, 62, 100)
_PALE, _RULE, _WHITE = (243, 246, 250), (206, 212, 218), (255, 255, 255)
_MARGIN, _BOTTOM = 18, 20  # millimetres


class Document(FPDF):
    """Pages that are filled from the top to the bottom.

    The same arguments and contents give the same bytes. `metadata` goes into the document's
    information dictionary. With `japanese`, all text is in the Japanese font.

    Raises:
        FileNotFoundError: the package that ships the Japanese font is not installed.
    """

    def __init__(
        self, title: str, file_id: str, metadata: Mapping[str, str], *, japanese: bool
    ) -> None:
        super().__init__(format="A4")
        self.metadata = metadata
        self._identifier = sha256(file_id.encode()).hexdigest()[:32].upper()
        self._japanese = japanese
        self.core_fonts_encoding = _LATIN_ENCODING
        if japanese:
            self.add_font(_JAPANESE, fname=_japanese_font())
        self.set_creation_date(_CREATED)
        self.set_title(title)
        self.set_creator("ReportFlow emulator")
        self.set_margins(_MARGIN, _MARGIN, _MARGIN)
        self.set_auto_page_break(auto=True, margin=_BOTTOM)
        self.add_page()

    @override
    def file_id(self) -> str:
        """The trailer's identifier, which makes two files with the same text differ."""
        return f"<{self._identifier}><{self._identifier}>"

    @override
    def header(self) -> None:
        if self.page_no() > 1:
            self.set_y(10)
            self._write(str(self.title), 8, _MUTED, 5)
            self._rule(_RULE, 0.2)
            self.set_y(_BOTTOM)

    @override
    def footer(self) -> None:
        self.set_y(-15)
        self._rule(_RULE, 0.2)
        self._use(8, _MUTED)
        self.cell(0, 6, f"{self.page_no()} / {self.str_alias_nb_pages}", align="C")

    @override
    def normalize_text(self, text: str) -> str:
        """Called by fpdf2 for each text: replaces what the font cannot write."""
        plain = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
        if self._japanese:
            known: Any = self.fonts[_JAPANESE]
            plain = "".join(s if s == "\n" or ord(s) in known.cmap else SUBSTITUTE for s in plain)
        return super().normalize_text(plain)

    def headline(self, text: str) -> None:
        """Write the document's title."""
        self._write(text, 22, _ACCENT, 10, bold=True)
        self.ln(2)
        self._rule(_ACCENT, 0.6)
        self.ln(5)

    def heading(self, text: str, size: float = 11.5) -> None:
        """Write a heading, and keep it on the page of what follows."""
        if self.will_page_break(28):
            self.add_page()
        self.ln(3)
        self._write(text, size, _ACCENT, 6, bold=True)
        self.ln(1)

    def paragraph(self, text: str) -> None:
        """Write text over as many lines and pages as it takes."""
        self._write(text, 9.5, _INK, 5)

    def band(self, label: str, value: str) -> None:
        """Write the one value that the reader looks for."""
        self.set_fill_color(*_PALE)
        self.rect(self.l_margin, self.y, self.epw, 14, style="F")
        top = self.y
        self.set_xy(self.l_margin + 3, top)
        self._use(9.5, _INK)
        self.cell(60, 14, label)
        self._use(17, _ACCENT, bold=True)
        self.set_x(self.l_margin)
        self.cell(self.epw - 3, 14, value, align="R")
        self.set_y(top + 18)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write labels with their values, two pairs beside each other."""
        if not pairs:
            return
        self._use(9.5, _INK)
        label = FontFace(size_pt=8, color=_MUTED)
        with self.table(
            borders_layout="NONE",
            cell_fill_color=_PALE,
            cell_fill_mode="ALL",
            first_row_as_headings=False,
            col_widths=(30, 57, 30, 57),
            text_align="LEFT",
            line_height=5,
        ) as table:
            for index in range(0, len(pairs), 2):
                row = table.row()
                for name, value in (*pairs[index : index + 2], ("", ""))[:2]:
                    row.cell(name, style=label)
                    row.cell(value)
        self.ln(2)

    def records(
        self,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        sums: Sequence[Sequence[str]],
        numeric: Sequence[bool],
    ) -> None:
        """Write a table, its headings repeated on each page; `sums` are its last rows."""
        self._use(8.5, _INK)
        columns = zip(headings, *rows, *sums, strict=True)
        widest = [max(map(self.get_string_width, column)) for column in columns]
        with self.table(
            borders_layout="NONE",
            headings_style=FontFace(emphasis="", color=_WHITE, fill_color=_ACCENT),
            cell_fill_color=_PALE,
            cell_fill_mode="EVEN_ROWS",
            col_widths=[min(max(width, 12), 80) + 4 for width in widest],
            text_align=["RIGHT" if number else "LEFT" for number in numeric],
            line_height=5.2,
            padding=(0, 1),
        ) as table:
            for row in (headings, *rows):
                table.row(row)
            for row in sums:
                table.row(row, style=FontFace(color=_ACCENT, fill_color=_RULE))
        self.ln(3)

    def finish(self) -> bytes:
        """Close the document, and return the PDF's bytes."""
        return bytes(self.output(output_producer_class=_Producer))

    def _write(
        self,
        text: str,
        size: float,
        colour: tuple[int, int, int],
        height: float,
        *,
        bold: bool = False,
    ) -> None:
        self._use(size, colour, bold=bold)
        self.multi_cell(0, height, text, align="L", new_x="LMARGIN", new_y="NEXT")

    def _use(self, size: float, colour: tuple[int, int, int], *, bold: bool = False) -> None:
        # The Japanese font has one weight.
        family = _JAPANESE if self._japanese else "helvetica"
        self.set_font(family, "B" if bold and not self._japanese else "", size)
        self.set_text_color(*colour)

    def _rule(self, colour: tuple[int, int, int], thickness: float) -> None:
        self.set_draw_color(*colour)
        self.set_line_width(thickness)
        self.line(self.l_margin, self.y, self.w - self.r_margin, self.y)


class _Information(PDFInfo):
    """The information dictionary, with entries of any name; one of ours may replace fpdf2's."""

    def __init__(self, document: Document) -> None:
        created = PDFDate(_CREATED, with_tz=True)
        super().__init__(document.title, None, None, None, document.creator, None, created)
        self._entries = {
            Name(_writable(name)).serialize(): PDFString(_writable(text)).serialize()
            for name, text in document.metadata.items()
        }

    @override
    def _build_obj_dict(self, security_handler: Any = None) -> dict[str, object]:
        return super()._build_obj_dict(security_handler) | self._entries


class _Producer(OutputProducer):
    @override
    def _add_info(self) -> PDFInfo:
        if not isinstance(self.fpdf, Document):
            raise TypeError("Only a Document has metadata")
        information = _Information(self.fpdf)
        self._add_pdf_obj(information)
        return information


def needs_japanese(texts: Iterable[str]) -> bool:
    """Whether the Latin font cannot write all of the texts."""
    try:
        "".join(texts).encode(_LATIN_ENCODING)
    except UnicodeEncodeError:
        return True
    return False


def _writable(text: str) -> str:
    """`text` without what no PDF string can hold: a lone surrogate, which JSON may carry."""
    return text.encode(errors="replace").decode()


def _japanese_font() -> Path:
    # The package is located but not imported: importing it asks for matplotlib.
    spec = find_spec(_JAPANESE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"The Japanese font comes with the package {_JAPANESE_PACKAGE}, which is not "
            "installed. Run `make setup`."
        )
    return Path(spec.submodule_search_locations[0]) / "fonts" / "ipaexg.ttf"
