"""What a dead letter's reason means and what to do about it, as `docs/errors.md` has it."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from cli import REPOSITORY
from cli.failures import CliError
from cli.letters import NO_REASON

PAGE: Final = REPOSITORY / "docs" / "errors.md"
HEADING: Final = "What a dead letter says, and what to do"

RETRYABLES: Final = frozenset(
    {
        "ANSWER_LOST",
        "AWS_UNREACHABLE",
        "BEING_SUBMITTED",
        "DOWNLOAD_TOO_SLOW",
        "FILE_UNKNOWN",
        "JOB_CHANGED",
        "KEYS_MISSING",
        "OUT_OF_TIME",
        "PACED",
        "QUEUE_BEHIND",
        "QUEUE_INCOMPLETE",
        "SECRET_MALFORMED",
        "SERVICE_UNREACHABLE",
        "SIGNING_SECRET_MISSING",
        "TRUNCATED",
        "TWO_ANSWERS",
        "UNEXPECTED_CONTENT_TYPE",
        "UNREADABLE_ANSWER",
        "UNREADABLE_CODING",
        "URL_ELSEWHERE",
    }
)
"""Codes without a row of their own, beside those that ReportFlow's and AWS's answers make."""

_HTTP: Final = re.compile(r"HTTP_4\d\d")
_OF_AN_ANSWER: Final = re.compile(r"HTTP_[1-5]\d\d|AWS_\w+")
_ANY_HTTP: Final = "HTTP_4xx"
_ANY_RETRYABLE: Final = "Retryable"


@dataclass(frozen=True)
class Reason:
    """A row of the table."""

    meaning: str
    remedy: str

    @property
    def may_be_redriven(self) -> bool:
        """Whether that is part of the remedy; anything else would come straight back."""
        return "redrive" in self.remedy


_MOVED_BY_SQS: Final = Reason(
    "SQS itself moved it, after its receives were used up: the function never came to an end",
    "look in the function's log for what stopped it each time, mend that, then redrive",
)


def explain(code: str) -> Reason:
    """The row for an error code. A code without its own is a `Retryable`'s."""
    if code == NO_REASON:
        return _MOVED_BY_SQS
    rows = _rows()
    general = _ANY_HTTP if _HTTP.fullmatch(code) else _ANY_RETRYABLE
    return rows.get(code, rows[general])


def code_of(text: str) -> str:
    """The error code that somebody means, whatever its case.

    Raises:
        CliError: none of ours.
    """
    known = {code.lower(): code for code in {*_rows(), *RETRYABLES, NO_REASON}}
    # What AWS calls its codes keeps its case.
    head, underscore, tail = text.partition("_")
    code = known.get(text.lower(), f"{head.upper()}{underscore}{tail}")
    if code in known.values() or _OF_AN_ANSWER.fullmatch(code):
        return code
    raise CliError(f"{text!r} is not a code of ours: `dlq explain` alone tells those there are.")


@cache
def _rows() -> dict[str, Reason]:
    """The page's table by the codes in its first column."""
    section = PAGE.read_text().partition(f"\n## {HEADING}\n")[2].partition("\n## ")[0]
    rows: dict[str, Reason] = {}
    for line in re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]:
        codes, meaning, remedy = (cell.strip() for cell in line.split("|"))
        for code in re.findall(r"`(\w+)`", codes):
            rows[code] = Reason(meaning.replace("`", ""), remedy.replace("`", ""))
    return rows
