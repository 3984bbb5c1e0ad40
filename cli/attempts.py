"""`doctor`'s look at what the functions put back, and why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cli.findings import Plan, Result, Severity
from cli.metrics import Metrics, Reading
from cli.output import duration, stamp
from cli.target import Target

RECENT: Final = timedelta(minutes=10)
"""What is told has happened within that time: of what is longer ago, nobody knows if it is over."""

FEW: Final = 3
"""Attempts that fail by one reason without being worth a word: networks and services hiccup."""

FEW_OF_DONE: Final = 0.01
"""The same, as a part of what was done meanwhile."""


@dataclass(frozen=True)
class Kind:
    """What codes of a form have in common.

    `remedy` None is normal waiting, which is not told. `concerns_all` is what strikes every message
    alike, and is over when one of them succeeds.
    """

    codes: str
    severity: Severity = Severity.WARNING
    means: str = ""
    remedy: str | None = None
    few: int = FEW
    concerns_all: bool = False


KEYS: Final = r"HTTP_40[13]|HTTP_412|KEYS_MISSING|SECRET_MALFORMED"
"""Codes of refused keys. A 403 can also be how a server says that no file is there, so they are
told by what was counted as refused keys."""

_KINDS: Final[Sequence[Kind]] = (
    Kind(
        r"HTTP_429",
        means="ReportFlow's rate limit is lower than ours, or others use it too",
        remedy="nothing: they come again by themselves; if it lasts, lower "
        "reportflow_requests_per_minute and deploy, or ask ReportFlow for more",
        concerns_all=True,
    ),
    Kind(
        r"HTTP_5\d\d|HTTP_408|SERVICE_UNREACHABLE|ANSWER_LOST|UNREADABLE_ANSWER|TRUNCATED"
        r"|DOWNLOAD_TOO_SLOW",
        means="ReportFlow is down, or out of reach",
        remedy="nothing: they come again by themselves and go on when it is back; ask its support. "
        "After some two hours they become dead letters: reportflow dlq redrive",
        concerns_all=True,
    ),
    Kind(
        r"HTTP_3\d\d|URL_ELSEWHERE",
        Severity.CRITICAL,
        "ReportFlow has another address",
        "mend reportflow_url or reportflow_files_url, and deploy",
    ),
    Kind(
        r"AWS_.*(Throttl|TooManyRequests|LimitExceeded|ThroughputExceeded).*|AWS_SlowDown",
        means="AWS throttles",
        remedy="raise that limit, or find who else uses it up; they come again by themselves",
        concerns_all=True,
    ),
    Kind(
        # S3 names no code where it refuses a HEAD, which has no body.
        r"AWS_(403|.*(Denied|Unauthorized|Disabled|KMS|InvalidClientToken|ExpiredToken).*)",
        Severity.CRITICAL,
        "AWS forbids it",
        "mend the policy: who changed a bucket, key or table policy today?",
    ),
    Kind(
        r"AWS_.*",
        means="AWS fails or refuses",
        remedy="look for the operation in the {role}'s log, and at AWS's health page",
    ),
    Kind(
        r"UNEXPECTED",
        Severity.CRITICAL,
        "a defect of ours",
        'keep the trace after "unexpected failure" in the {role}\'s log; after a deployment, go '
        "back to the release before",
        few=1,
    ),
    # No PDF yet, no job for the file yet, another delivery in flight, a long queue, no slot, no
    # time left; and keys.
    Kind(
        r"HTTP_[24]\d\d|FILE_UNKNOWN|BEING_SUBMITTED|PAYLOAD_MISSING|PACED|OUT_OF_TIME"
        r"|QUEUE_BEHIND|JOB_CHANGED|KEYS_MISSING|SECRET_MALFORMED"
    ),
    Kind(r".*", means="see docs/errors.md", remedy="look for the code in the {role}'s log"),
)

USUAL: Final = (
    "HTTP_429",
    "HTTP_500",
    "HTTP_502",
    "HTTP_503",
    "HTTP_504",
    "SERVICE_UNREACHABLE",
    "ANSWER_LOST",
    "HTTP_401",
    "HTTP_403",
    "HTTP_412",
    "KEYS_MISSING",
    "AWS_AccessDenied",
    "AWS_AccessDeniedException",
    "AWS_ThrottlingException",
    "AWS_ProvisionedThroughputExceededException",
    "AWS_ServiceUnavailable",
    "AWS_UNREACHABLE",
    "UNEXPECTED",
    "FILE_UNKNOWN",
    "HTTP_404",
    "BEING_SUBMITTED",
    "PACED",
    "QUEUE_BEHIND",
    "OUT_OF_TIME",
)
"""Reasons that are asked for even where CloudWatch does not list them yet."""

UNLISTED: Final = "a reason that CloudWatch does not list yet"


def attempts(target: Target, plan: Plan) -> Result:
    """What is tried in vain, and what it waits for."""
    for role, done in (("submitter", "Submitted"), ("downloader", "Archived")):
        yield from _refused_keys(role, target, plan)
        yield from _put_back(role, done, target)


def _refused_keys(role: str, target: Target, plan: Plan) -> Result:
    metrics = Metrics(target, plan.window)
    refused = metrics.of_service(role, "CredentialsRefused")
    # Every submission shows the keys, and both functions have the same.
    accepted = metrics.of_service("submitter", "Submitted")
    told = metrics.read([refused, accepted])
    if told[refused].last is None or _is_over(told[refused], told[accepted]):
        return
    reasons = metrics.by_reason(role, "Returned", USUAL)
    codes = ", ".join(code for code in reasons if re.fullmatch(KEYS, code)) or "CredentialsRefused"
    yield (
        Severity.CRITICAL,
        f"{_tell(role, codes, told[refused], plan.window)}: ReportFlow refuses the keys",
        "reportflow set-keys; waiting messages come back within an hour",
    )


def _put_back(role: str, done: str, target: Target) -> Result:
    metrics = Metrics(target, RECENT)
    returned, finished = (metrics.of_service(role, name) for name in ("Returned", done))
    told = metrics.read([returned, finished])
    if not told[returned].value:
        return
    few = told[finished].value * FEW_OF_DONE
    reasons = metrics.by_reason(role, "Returned", USUAL)
    for code, reading in sorted(reasons.items(), key=lambda each: -each[1].value):
        kind = next(kind for kind in _KINDS if re.fullmatch(kind.codes, code))
        if kind.remedy is None or reading.value < max(kind.few, few):
            continue
        if kind.concerns_all and _is_over(reading, told[finished]):
            continue
        what = f"{_tell(role, code, reading, RECENT)}: {kind.means}"
        yield kind.severity, what, kind.remedy.format(role=role)
    unlisted = told[returned].value - sum(reading.value for reading in reasons.values())
    if unlisted >= max(FEW, few):
        reading = Reading(unlisted, told[returned].last)
        remedy = f'look for "will be tried again" in the {role}\'s log'
        yield Severity.WARNING, _tell(role, UNLISTED, reading, RECENT), remedy


def _is_over(trouble: Reading, success: Reading) -> bool:
    """Whether something succeeded in a later minute than the last that failed."""
    return bool(trouble.last and success.last and success.last > trouble.last)


def _tell(role: str, code: str, reading: Reading, window: timedelta) -> str:
    last = f", last at {stamp(reading.last)}" if reading.last else ""
    return (
        f"the {role} put messages back {reading.value:.0f} times with {code} in the last "
        f"{duration(window)}{last}"
    )
