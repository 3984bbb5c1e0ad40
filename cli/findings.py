"""What a check of `doctor` says, and what it is given."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from cli.failures import CliError, explain
from cli.target import Target

DEPLOY_AGAIN: Final = "deploy again: make deploy ENV=…, with the environment of this deployment"


class Severity(StrEnum):
    """How bad it is; `UNKNOWN` is what could not be looked at."""

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
        """For programs."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Plan:
    """How far back metrics are read, and from what age on an unfinished job is told."""

    window: timedelta
    unfinished: timedelta


type Result = Iterator[tuple[Severity, str, str]]
"""Severity, what is wrong, and the remedy of each thing that a check finds."""

type Check = Callable[[Target, Plan], Result]


def findings(check: Check, target: Target, plan: Plan) -> list[Finding]:
    """What a check finds; what stops it from looking is a finding too."""
    name = check.__name__.replace("_", "-")
    try:
        return [Finding(severity, name, what, how) for severity, what, how in check(target, plan)]
    except (ClientError, BotoCoreError, CliError) as error:
        what = f"{name} could not be looked at: {explain(error)}"
        return [Finding(Severity.UNKNOWN, name, what, "allow it, or run doctor as somebody else")]
