"""Options that several commands have, and how their values are read."""

import re
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cli.target import Target

_OF_AWS: Final = frozenset({"prefix", "profile", "region"})
_OF_THIS_MACHINE: Final = frozenset({"state"})
LONGEST: Final = timedelta(days=3650)
"""Of a duration: nothing here is older."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Said:
    """What was said of the deployment, by options or by the environment.

    `options` names those that stand on the command line. They count more than the environment.
    """

    aws: bool
    local: bool
    prefix: str | None
    profile: str | None
    region: str | None
    state: Path | None
    options: frozenset[str]

    @property
    def means_aws(self) -> bool:
        """Whether an option names a deployment on AWS."""
        return self.aws or bool(self.options & _OF_AWS)

    @property
    def means_local(self) -> bool:
        """Whether an option names a system on this machine."""
        return self.local or bool(self.options & _OF_THIS_MACHINE)


def duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `1h` or `2d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration such as 90s, 30m, 1h or 2d")
    span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if span > LONGEST:
        raise typer.BadParameter(f"{text!r} is too long: at most {LONGEST.days}d")
    return span


def _job_id(text: str) -> str:
    from reportflow.messages import is_job_id

    if not is_job_id(text):
        raise typer.BadParameter(f"{text!r} cannot be a job's id")
    return text


Json = Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")]
JobIds = Annotated[
    list[str],
    typer.Argument(metavar="JOB", help="Job ids; - reads them from standard input."),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="AGE", help="At least so old: 90s, 30m, 1h, 2d."),
]


def job_ids_of(arguments: list[str]) -> list[str]:
    """The ids that were given, each once; `-` stands for those on standard input."""
    texts: list[str] = []
    for argument in arguments:
        texts += sys.stdin.read().split() if argument == "-" else [argument]
    return [_job_id(text) for text in dict.fromkeys(texts)]


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes` was said beforehand; another answer ends the command."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def target_of(context: typer.Context, *, changes: bool = False) -> "Target":
    """The deployment that the user means; tells a person which, unless an option named it.

    Whoever `changes` something on AWS is always told, for the account is never named.
    """
    from cli.output import tell
    from cli.target import STATE_FILE, Choice

    said: Said = context.obj
    silent = not (said.means_aws or said.means_local)
    if silent and said.prefix and said.state:
        raise typer.BadParameter(
            "REPORTFLOW_PREFIX means AWS and REPORTFLOW_STATE this machine: unset one of them, or "
            "say --aws or --local"
        )
    choice = Choice(
        prefix=said.prefix or "ReportFlow",
        profile=said.profile,
        region=said.region,
        aws=said.means_aws or (silent and said.prefix is not None),
        local=said.means_local or (silent and said.state is not None),
        state=said.state or STATE_FILE,
    )
    target = choice.find()
    is_named = said.means_local or "prefix" in said.options
    if not is_named or (changes and not target.is_local):
        tell(f"On {target.name}.", style="dim")
    return target
