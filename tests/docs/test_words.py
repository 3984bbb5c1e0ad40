"""README and docs say what a thing is called, by one word each."""

import re
from pathlib import Path

import pytest

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
}
"""What must not be written, and what is written in its place."""

LEGITIMATE = re.compile(r"dead[-\s]letters?|letters?(?= and digits|,)", re.IGNORECASE)
NOT_PROSE = re.compile(r"`[^`]*`|\]\([^)]*\)")


def prose(page: Path) -> str:
    """A page without its code, its links' targets, and the words that are right where they are."""
    text = INDENTED.sub("", FENCE.sub("", page.read_text()))
    return LEGITIMATE.sub("", NOT_PROSE.sub("", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.parametrize(("word", "instead"), WORDS.items(), ids=WORDS.values())
def test_a_thing_has_one_name(page: Path, word: str, instead: str) -> None:
    found = [
        line
        for line in prose(page).splitlines()
        if re.search(rf"\b(?:{word})\b", line, re.IGNORECASE)
    ]
    assert not found, f"write {instead}"
