"""README, docs and help texts call each thing by one word."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.__main__ import app
from tests.docs.blocks import FENCE, INDENTED, PAGES

WORDS = {
    r"letters?": "dead letter",
    r"announce\w*|unannounced": "publish",
    r"tells?|told": "report, print, or say so in the log",
    r"paced?": "rate limiter, token, slot",
    r"patience": "give-up limits",
    r"settles?|settled": "reconcile",
    r"defects?": "bug",
    r"mends?|mended": "fix",
    r"strangers?": "unauthenticated caller",
    r"whoever": "the person or the caller, by its name",
}
"""What must not be written, and what is written in its place."""

LEGITIMATE = re.compile(r"dead[-\s]letters?|letters?(?= and digits|,)", re.IGNORECASE)
NOT_PROSE = re.compile(r"`[^`]*`|\]\([^)]*\)")


def prose(page: Path) -> str:
    """A page without its code, its links' targets, and the words that are right where they are."""
    text = INDENTED.sub("", FENCE.sub("", page.read_text()))
    return LEGITIMATE.sub("", NOT_PROSE.sub("", text))


def helps(command: Any) -> Iterator[str]:
    """The help texts of a command, of its options and of its subcommands."""
    for each in (command, *command.params):
        yield LEGITIMATE.sub("", getattr(each, "help", None) or "")
    for subcommand in getattr(command, "commands", {}).values():
        yield from helps(subcommand)


TEXTS = {page.stem: prose(page) for page in PAGES} | {
    "help": "\n".join(helps(typer.main.get_command(app)))
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize(("word", "instead"), WORDS.items(), ids=WORDS.values())
def test_a_thing_has_one_name(text: str, word: str, instead: str) -> None:
    found = [
        line for line in text.splitlines() if re.search(rf"\b(?:{word})\b", line, re.IGNORECASE)
    ]
    assert not found, f"write {instead}"
