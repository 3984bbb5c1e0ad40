"""Draws the README's pictures from what `make demo` prints and makes: `make pictures`."""

import re
import subprocess
from io import StringIO
from pathlib import Path

import pypdfium2
from PIL.Image import Image
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from local.paths import REPOSITORY

PICTURES = REPOSITORY / "docs/pictures"
PAGE = "demo-seikyusho-2.pdf"
PAGE_SCALE = 1.1
FIRST_ROWS, LAST_ROWS = 9, 8
"""Of the table: the head with some invoices, and the end with contracts and mistakes."""

FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Run the demo, and draw its table and one of its pages."""
    done = subprocess.run(
        ["/usr/bin/env", "make", "--silent", "demo"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    printed = done.stdout.rstrip()
    folder = REPOSITORY / printed.split()[-1]
    (PICTURES / "demo.svg").write_text(terminal("make demo", printed))
    page(folder / PAGE).save(PICTURES / "invoice.png", optimize=True)


def terminal(command: str, printed: str) -> str:
    """A picture of a terminal in which the command was run, without the middle of the table.

    The picture asks no other host for its font.
    """
    lines = [line.rstrip() for line in printed.replace(f"{REPOSITORY}/", "").splitlines()]
    head = next(number for number, line in enumerate(lines) if line.startswith("job "))
    *table, summary = lines[head:]
    rows = narrowed([*table[:FIRST_ROWS], *table[-LAST_ROWS:]])
    shown = [f"$ {command}", *rows[:FIRST_ROWS], "…", *rows[FIRST_ROWS:], summary]
    console = Console(record=True, width=max(map(cell_len, shown)), file=StringIO())
    for line in shown:
        console.print(Text(line, style="red" if "FAILED" in line else ""), soft_wrap=True)
    svg = console.export_svg(title=command, theme=MONOKAI, unique_id=command.replace(" ", "-"))
    return FONT.sub("", svg)


def narrowed(rows: list[str]) -> list[str]:
    """A table without the room that none of its rows needs."""
    width = max(map(len, rows))
    filled = [any(row[place : place + 1].strip() for row in rows) for place in range(width)]
    kept = [place for place in range(width) if any(filled[max(0, place - 2) : place + 1])]
    return ["".join(row[place : place + 1] for place in kept) for row in rows]


def page(pdf: Path) -> Image:
    """The upper two thirds of a PDF's first page, in grey."""
    rendered: Image = pypdfium2.PdfDocument(pdf)[0].render(scale=PAGE_SCALE).to_pil()
    image = rendered.convert("L")
    return image.crop((0, 0, image.width, image.height * 2 // 3)).quantize(16)


if __name__ == "__main__":
    main()
