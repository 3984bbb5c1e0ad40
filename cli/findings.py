"""What a check of `doctor` returns, and what it is given."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from traceback import extract_tb
from typing import Final

from cli.failures import explain
from cli.target import Target

DEPLOY_AGAIN: Final = "deploy again: make deploy ENV=…, with the environment of this deployment"


class Severity(StrEnum):
    """How bad a finding is. `UNKNOWN` could not be checked."""

    CRITICAL = "critical"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What is wrong, and the command or act that ends it."""

    severity: Severity
    check: str
    what: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        """Return it for programs."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """How far back metrics are read, and at what age an unfinished job is reported."""

    window: timedelta
    unfinished: timedelta


type Result = Iterator[tuple[Severity, str, str]]
"""Severity, what is wrong, and the remedy of each problem that a check finds."""

type Check = Callable[[Target, Plan], Result]


def findings(check: Check, target: Target, plan: Plan) -> list[Finding]:
    """Run a check. An error that stops it is a finding too, and hides no other."""
    name = check.__name__.replace("_", "-")
    found: list[Finding] = []
    try:
        found.extend(Finding(bad, name, what, how) for bad, what, how in check(target, plan))
    except Exception as error:  # noqa: BLE001  (one broken check never hides the others)
        why, remedy = explain(error), "allow it, or run doctor with other credentials"
        if why is None:
            frame = extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
            remedy = "a bug of the command line: report it with this line"
        what = f"{name} could not be checked: {why}"
        found.append(Finding(Severity.UNKNOWN, name, what, remedy))
    return found
