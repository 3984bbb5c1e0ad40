"""The registry of error codes: each code's kinds, meaning and remedy.

The texts are in `error_codes.toml`. `dlq explain`, `status` and `doctor` read them, and
`cli.errors_page` writes the tables of docs/errors.md from them. The functions need a code and its
kind only, and name both where they raise it. A test compares each raised code with this registry.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, Final

from cli.failures import CliError
from reportflow import errors
from reportflow.errors import Permanent, PipelineError

LAST_FAILURE: Final = "In a dead letter, this is the last failure: the retries are used up."
"""Holds for all codes of dead letters that are never `Permanent`."""

_FAMILIES: Final = {
    r"HTTP_([1-5])\d\d": r"HTTP_\1xx",
    # S3 names no code when it refuses a HEAD, which has no body.
    r"AWS_(403|\w*(Denied|Unauthorized|Disabled|KMS|InvalidClientToken|ExpiredToken)\w*)": (
        "AWS_*Denied"
    ),
    r"AWS_(SlowDown|\w*(Throttl|TooManyRequests|LimitExceeded|ThroughputExceeded)\w*)": (
        "AWS_*Throttling"
    ),
    r"AWS_\w+": "AWS_*",
}
"""Each form of codes, and the entry of those that have no entry of their own."""


@dataclass(frozen=True)
class ErrorCode:
    """One code, or a family of them.

    `kinds` are the classes that the functions raise it with. `dead_letter` are the subcommands of
    `dlq` that finish a dead letter; empty if no dead letter has the code. `meaning` and `remedy`
    are Markdown for operators. If it is `urgent`, waiting messages wait until somebody acts.
    """

    code: str
    kinds: tuple[type[PipelineError], ...]
    dead_letter: tuple[str, ...]
    meaning: str
    remedy: str
    urgent: bool = False

    @property
    def is_family(self) -> bool:
        """Whether it stands for many codes."""
        return "*" in self.code or "x" in self.code

    @property
    def is_last_failure(self) -> bool:
        """See `LAST_FAILURE`."""
        is_permanent = any(issubclass(kind, Permanent) for kind in self.kinds)
        return bool(self.kinds and self.dead_letter) and not is_permanent

    def commands(self, code: str, job_id: str | None = None) -> list[str]:
        """Return the commands that finish the dead letters with this code, or those of a job.

        They are quoted for the shell.
        """
        reason = "CODE" if code == self.code and self.is_family else quote(code)
        selected = f"--reason {reason}" if job_id is None else f"--job {quote(job_id)}"
        # A correction of the message can help only if the message is the problem.
        can_edit = job_id and Permanent in self.kinds and "drop" in self.dead_letter
        edit = [f"reportflow dlq edit {quote(job_id)}"] if job_id and can_edit else []
        return edit + [f"reportflow dlq {name} {selected}" for name in self.dead_letter]


def _entry(code: str, entry: Mapping[str, Any]) -> ErrorCode:
    kinds = tuple(getattr(errors, name) for name in entry["kinds"])
    return ErrorCode(code, **{**entry, "kinds": kinds, "dead_letter": tuple(entry["dead_letter"])})


def _read() -> tuple[ErrorCode, ...]:
    entries = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return tuple(_entry(code, entry) for code, entry in entries.items())


ERROR_CODES: Final = _read()

UNKNOWN: Final = ErrorCode(
    "unknown",
    (),
    ("redrive", "drop"),
    "No function of this release sets this code in a dead letter: another release or the message's "
    "sender has set it.",
    "Read the dead letter's `errorMessage` and the function's log. Fix the cause and redrive, or "
    "drop the dead letter.",
)
"""Explains a dead letter with any other code."""

UNEXPECTED: Final = ErrorCode(
    "UNEXPECTED",
    (),
    (),
    "A bug of a function stopped the delivery.",
    'Report the trace after "unexpected failure" in the function\'s log. If it began with a '
    "deployment, go back to the release before.",
    urgent=True,
)
"""A reason of the metric `Returned`. No function raises it."""

_BY_CODE: Final = {entry.code: entry for entry in (*ERROR_CODES, UNEXPECTED)}


def find(code: str) -> ErrorCode | None:
    """Return the code's entry, else its family's."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    for form, family in _FAMILIES.items():
        if match := re.fullmatch(form, code):
            return _BY_CODE[match.expand(family)]
    return None


def explain(code: str, *, in_dead_letters: bool) -> ErrorCode:
    """Return what to print about a code, without Markdown. In a dead letter it may be any text."""
    entry = find(code)
    if entry is None or (in_dead_letters and not entry.dead_letter):
        entry = UNKNOWN
    meaning = f"{entry.meaning} {LAST_FAILURE}" if entry.is_last_failure else entry.meaning
    remedy = entry.remedy.replace("`", "")
    return replace(entry, meaning=meaning.replace("`", ""), remedy=remedy)


def code_of(text: str) -> str:
    """Return the error code that a person means, in any case.

    Raises:
        CliError: there is no such code.
    """
    # AWS's own part of a code keeps its case.
    head, underscore, tail = text.partition("_")
    own = {code.lower(): code for code in _BY_CODE}
    code = own.get(text.lower(), f"{head.upper()}{underscore}{tail}")
    if find(code) is None:
        raise CliError(
            f"Unknown error code {text!r}. See docs/errors.md for all codes, or run `dlq explain` "
            "without a code."
        )
    return code
