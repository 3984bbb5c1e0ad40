"""`doctor`'s check of the messages that the functions put back, and why."""

from datetime import timedelta
from shlex import quote
from typing import Final

from cli.error_codes import UNEXPECTED, UNKNOWN, ErrorCode, find
from cli.findings import Plan, Result, Severity
from cli.metrics import Metrics, Reading
from cli.output import duration, stamp
from cli.target import Target
from reportflow import errors

RECENT: Final = timedelta(minutes=10)
"""How far back put-back messages are counted. If it is longer ago, nobody knows whether it is
over."""

FEW: Final = 3
"""So many failures for one reason are reported. Fewer are usual: networks and services hiccup."""

FEW_OF_DONE: Final = 0.01
"""The same, as a share of the work that was done meanwhile."""

_USUAL_KINDS: Final = (
    *(errors.CredentialsRefused, errors.FileMissing, errors.Held),
    *(errors.OutOfTime, errors.NoSlot, errors.Permanent),
)
"""A code with these kinds only is a normal wait. Refused keys are reported by a count of their own:
a 403 can also mean that there is no file."""

ASKED: Final = (
    *(f"HTTP_{status}" for status in (401, 403, 404, 412, 429, 500, 502, 503, 504)),
    *("SERVICE_UNREACHABLE", "ANSWER_LOST", "KEYS_MISSING", "AWS_UNREACHABLE", "UNEXPECTED"),
    *("AWS_AccessDenied", "AWS_AccessDeniedException", "AWS_ServiceUnavailable"),
    *("AWS_ThrottlingException", "AWS_ProvisionedThroughputExceededException"),
    *("FILE_UNKNOWN", "BEING_SUBMITTED", "PACED", "QUEUE_BEHIND", "OUT_OF_TIME"),
)
"""The reasons that are read even if CloudWatch does not list them yet."""

UNLISTED: Final = "a reason that CloudWatch does not list yet"


def attempts(target: Target, plan: Plan) -> Result:
    """Report what the functions try in vain."""
    for role, done in (("submitter", "Submitted"), ("downloader", "Archived")):
        yield from _refused_keys(role, target, plan)
        yield from _put_back(role, done, target)


def _refused_keys(role: str, target: Target, plan: Plan) -> Result:
    metrics = Metrics(target, plan.window)
    refused = metrics.of_service(role, "CredentialsRefused")
    # Every submission shows the keys, and both functions have the same.
    accepted = metrics.of_service("submitter", "Submitted")
    found = metrics.read([refused, accepted])
    if found[refused].last is None or _is_over(found[refused], found[accepted]):
        return
    codes = [
        code
        for code in metrics.by_reason(role, "Returned", ASKED)
        if (entry := find(code)) and errors.CredentialsRefused in entry.kinds
    ]
    names = ", ".join(codes) or "CredentialsRefused"
    what = f"{_what(role, names, found[refused], plan.window)}: ReportFlow refuses the keys"
    yield Severity.CRITICAL, what, "reportflow set-keys; waiting messages come back within an hour"


def _put_back(role: str, done: str, target: Target) -> Result:
    metrics = Metrics(target, RECENT)
    returned, finished = (metrics.of_service(role, name) for name in ("Returned", done))
    found = metrics.read([returned, finished])
    if not found[returned].value:
        return
    few = max(FEW, found[finished].value * FEW_OF_DONE)
    reasons = metrics.by_reason(role, "Returned", ASKED)
    for code, reading in sorted(reasons.items(), key=lambda each: -each[1].value):
        entry = find(code) or UNKNOWN
        if _is_usual(entry) or (reading.value < few and entry is not UNEXPECTED):
            continue
        if not entry.urgent and _is_over(reading, found[finished]):
            continue
        severity = Severity.CRITICAL if entry.urgent else Severity.WARNING
        what = f"{_what(role, code, reading, RECENT)}: {entry.meaning}".replace("`", "")
        remedy = entry.remedy.replace("`", "")
        recovery = "Messages that have retries left recover on their own. "
        recovery *= bool(entry.dead_letter)
        yield severity, what, f"{recovery}{remedy} (reportflow dlq explain {quote(code)})"
    unlisted = found[returned].value - sum(reading.value for reading in reasons.values())
    if unlisted >= few:
        reading = Reading(unlisted, found[returned].last)
        remedy = f'find "will be tried again" in the {role}\'s log'
        yield Severity.WARNING, _what(role, UNLISTED, reading, RECENT), remedy


def _is_usual(entry: ErrorCode) -> bool:
    return (
        bool(entry.kinds)
        and not entry.urgent
        and all(issubclass(kind, _USUAL_KINDS) for kind in entry.kinds)
    )


def _is_over(trouble: Reading, success: Reading) -> bool:
    """Whether something succeeded in a later minute than the last that failed."""
    return bool(trouble.last and success.last and success.last > trouble.last)


def _what(role: str, code: str, reading: Reading, window: timedelta) -> str:
    last = f", last at {stamp(reading.last)}" if reading.last else ""
    return (
        f"the {role} put messages back {reading.value:.0f} times with {code} in the last "
        f"{duration(window)}{last}"
    )
