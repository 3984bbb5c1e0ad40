"""The Japanese typeface of the documents, parsed once and lent to each document.

fpdf2 parses a font again for every document and then subsets it through its full character map,
which takes about a tenth of a second for this one. What does not change between documents is
therefore made once: the metrics, and a font file without the tables that a PDF has no use for.
"""

import copy
import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import SubsetMap, TTFFont

FAMILY: Final = "ipaexgothic"
SUBSTITUTE: Final = "〓"  # the printers' sign for a glyph that the typeface lacks

_FONT_PACKAGE = "matplotlib_fontja"
_TABLES_NO_PDF_USES = ("BASE", "GDEF", "GPOS", "GSUB", "VORG", "vhea", "vmtx")
_parsing = Lock()


class Typeface:
    """IPAex Gothic; `lend` it to each document that draws Japanese text."""

    def __init__(self, path: Path) -> None:
        owner = FPDF()
        owner.add_font(FAMILY, fname=path)
        metrics = owner.fonts[FAMILY]
        if not isinstance(metrics, TTFFont):
            raise TypeError(f"{path} is no TrueType font")
        metrics.close()
        self._metrics = metrics
        self._slim, self._glyph_order = _slim(path)

    def lend(self, document: FPDF) -> None:
        """Make the typeface known to `document` under `FAMILY`."""
        font = copy.copy(self._metrics)
        font.i = len(document.fonts) + 1
        font.desc = copy.copy(self._metrics.desc)  # is numbered as an object of the document
        font.missing_glyphs = []
        font.subset = SubsetMap(font)
        font.ttfont = TTFont(io.BytesIO(self._slim), lazy=True, recalcTimestamp=False)
        font.ttfont.setGlyphOrder(self._glyph_order)
        document.fonts[FAMILY] = font

    def spell(self, text: str) -> str:
        """`text` with the substitute sign wherever the typeface has no glyph."""
        known = self._metrics.cmap
        return "".join(sign if ord(sign) in known else SUBSTITUTE for sign in text)


def japanese() -> Typeface:
    """The typeface, parsed at the first call (a quarter of a second).

    Raises:
        FileNotFoundError: The package that ships the font is not installed.
    """
    with _parsing:
        return _japanese()


@cache
def _japanese() -> Typeface:
    # The package is located but not imported: importing it asks for matplotlib.
    spec = find_spec(_FONT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"The Japanese font comes with the package {_FONT_PACKAGE}, which is not installed: "
            "run `make demo` or `make test` once to set up .venv"
        )
    return Typeface(Path(spec.submodule_search_locations[0]) / "fonts" / "ipaexg.ttf")


def _slim(path: Path) -> tuple[bytes, list[str]]:
    """The font file without what only text shaping needs, and its glyph names in order."""
    with TTFont(path, lazy=True, recalcTimestamp=False) as font:
        glyph_order = font.getGlyphOrder()
        for table in _TABLES_NO_PDF_USES:
            if table in font:
                del font[table]
        # Subsetting decodes the whole character map, though a PDF addresses glyphs by number.
        smallest = font["cmap"].tables[0]
        smallest.cmap = {ord(" "): smallest.cmap[ord(" ")]}
        font["cmap"].tables = [smallest]
        font["post"].formatType = 3.0
        slim = io.BytesIO()
        font.save(slim)
    return slim.getvalue(), glyph_order
