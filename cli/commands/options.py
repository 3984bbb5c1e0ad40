"""Options that several commands have, and how their values are read."""

import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cli.target import Target

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `1h` or `2d`."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration such as 90s, 30m, 1h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _job_id(text: str) -> str:
    from reportflow.messages import is_job_id

    if not is_job_id(text):
        raise typer.BadParameter(f"{text!r} cannot be a job's id")
    return text


Json = Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")]
JobIds = Annotated[
    list[str],
    typer.Argument(metavar="JOB...", help="Job ids; - reads them from standard input."),
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


def target_of(context: typer.Context) -> "Target":
    """The deployment that the user means; tells a person when that was not said."""
    from cli.output import tell
    from cli.target import STATE_FILE, Choice

    said = context.obj
    choice = Choice(
        prefix=said["prefix"] or "ReportFlow",
        profile=said["profile"],
        region=said["region"],
        aws=said["aws"],
        local=said["local"] or (said["state"] is not None and not said["aws"]),
        state=said["state"] or STATE_FILE,
    )
    target = choice.find()
    if target.is_local and not choice.local:
        tell(f"On {target.name}.", style="dim")
    return target
