"""Draws the documents' pictures of what commands print and make: `make pictures`.

It runs the demo, and a local system of its own with archived jobs, a failed one and a fault.
"""

import json
import os
import pty
import re
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import unescape
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pypdfium2
from PIL.Image import Image
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from local.emulator.designs import INVOICE
from local.paths import REPOSITORY

PICTURES = REPOSITORY / "docs/pictures"
PAGE = "demo-seikyusho-2.pdf"
PAGE_SCALE = 1.1
FIRST_ROWS, LAST_ROWS = 9, 8
"""Of the table: the head with some invoices, and the end with contracts and mistakes."""

FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
TEXT = re.compile(r'(?P<length>textLength="[^"]+" )(?P<between>[^>]*)>(?P<shown>[^<]+)<')
REPORTFLOW = str(REPOSITORY / ".venv/bin/reportflow")
COLUMNS, LINES = 100, 60
FINISHED, WAITING = range(1, 101), range(101, 141)
NO_DESIGN = "00000000-0000-4000-8000-000000000000"
REPORT_SECONDS = 120.0
"""Within this time, `doctor` reports the fault."""


def main() -> None:
    """Draw the demo's table and one of its pages, then `top`, `doctor` and `status`."""
    done = subprocess.run(
        ["/usr/bin/env", "make", "--silent", "demo"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    printed = done.stdout.rstrip()
    folder = REPOSITORY / printed.split()[-1]
    draw("demo", "make demo", shortened(printed))
    page(folder / PAGE).save(PICTURES / "invoice.png", optimize=True)
    with TemporaryDirectory() as empty, local_system(Path(empty)) as system:
        system.have_jobs()
        for name, *commands in (
            ("top", "top --once"),
            ("doctor", "doctor"),
            ("status", "status invoice-2024-001", "status invoice-2024-002"),
        ):
            lines = [line for command in commands for line in system.shown(command)]
            draw(name, f"reportflow {name}", lines)


def draw(name: str, title: str, lines: Sequence[Text]) -> None:
    """Write a picture of a terminal with these lines. It asks no other host for its font."""
    width = max(cell_len(line.plain) for line in lines)
    console = Console(record=True, width=width, file=StringIO())
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title=title, theme=MONOKAI, unique_id=name)
    (PICTURES / f"{name}.svg").write_text(TEXT.sub(natural, FONT.sub("", svg)))


def natural(text: re.Match[str]) -> str:
    """A text of the picture, as wide as the font makes it if it has wide characters.

    Rich counts these as narrow, and the browser would squeeze the text.
    """
    shown = unescape(text["shown"])
    length = text["length"] if cell_len(shown) == len(shown) else ""
    return f"{length}{text['between']}>{text['shown']}<"


def shortened(printed: str) -> list[Text]:
    """What the demo printed, without the middle of its table."""
    lines = [line.rstrip() for line in printed.replace(f"{REPOSITORY}/", "").splitlines()]
    head = next(number for number, line in enumerate(lines) if line.startswith("job "))
    *table, summary = lines[head:]
    rows = narrowed([*table[:FIRST_ROWS], *table[-LAST_ROWS:]])
    shown = ["$ make demo", *rows[:FIRST_ROWS], "…", *rows[FIRST_ROWS:], summary]
    return [Text(line, "red" if "FAILED" in line else "") for line in shown]


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


class LocalSystem:
    """A local system, by its command line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def have_jobs(self) -> None:
        """Finish jobs for two minutes, then let ReportFlow answer 503 until `doctor` reports it."""
        self._send(FINISHED)
        self.run("watch -", "".join(f"{job_id(number)}\n" for number in FINISHED), status=1)
        self.run("local fault set submit status status=503 --always")
        self._send(WAITING)
        deadline = time.monotonic() + REPORT_SECONDS
        while "HTTP_503" not in self.run("doctor", status=1):
            if time.monotonic() > deadline:
                raise SystemExit("doctor does not report the fault.")
            time.sleep(1)

    def run(self, command: str, text: str = "", status: int = 0) -> str:
        """What a command prints in a pipe, if it ends with this status."""
        done = subprocess.run(
            [REPORTFLOW, *command.split()],
            cwd=self._folder,
            input=text,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != status:
            raise SystemExit(f"reportflow {command}: exit status {done.returncode}")
        return done.stdout

    def shown(self, command: str) -> list[Text]:
        """A terminal's lines: the command, what it prints there, and an empty one."""
        screen, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (LINES, COLUMNS))
        with subprocess.Popen(
            [REPORTFLOW, *command.split()],
            cwd=self._folder,
            env=os.environ | {"TERM": "xterm-256color"},
            stdout=terminal,
            stderr=subprocess.DEVNULL,
        ):
            os.close(terminal)
            printed = b"".join(_chunks(screen))
        os.close(screen)
        lines = Text.from_ansi(printed.decode().replace("\r\n", "\n")).split("\n")
        for line in lines:
            line.rstrip()
        return [Text(f"$ reportflow {command}"), *lines, Text()]

    def _send(self, numbers: range) -> None:
        self.run("submit -", "".join(f"{json.dumps(document(number))}\n" for number in numbers))


@contextmanager
def local_system(folder: Path) -> Iterator[LocalSystem]:
    """A local system whose state file is in the folder."""
    system = LocalSystem(folder)
    limit = "--set reportflow_requests_per_minute=100 --set reportflow_burst=1"
    system.run(f"local up --detach {limit}")
    try:
        yield system
    finally:
        system.run("local down")


def _chunks(screen: int) -> Iterator[bytes]:
    """What comes from a terminal, until the program has ended."""
    while True:
        try:
            chunk = os.read(screen, 65_536)
        except OSError:
            return
        yield chunk


def document(number: int) -> dict[str, object]:
    """An invoice. The second one's template does not exist."""
    return {
        "jobId": job_id(number),
        "designId": NO_DESIGN if number == 2 else INVOICE.id,
        "version": 1,
        "content": {
            "fileName": "invoice.pdf",
            "params": {"customerName": "John Doe", "amount": 10_000 * number},
        },
    }


def job_id(number: int) -> str:
    """The name of a job."""
    return f"invoice-2024-{number:03}"


if __name__ == "__main__":
    main()
