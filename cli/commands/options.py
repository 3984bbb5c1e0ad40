"""Options that several commands have, and how their values are read."""

import re
import sys
from datetime import timedelta
from typing import Annotated, Final

import typer

LONGEST: Final = timedelta(days=3650)
"""Of a duration: nothing here is older."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


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


Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, for programs.")]
JobIds = Annotated[
    list[str],
    typer.Argument(metavar="JOB", help="Job ids; - reads them from standard input."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job id.")]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration, metavar="AGE", help="Select at least this age: 90s, 30m, 1h, 2d."
    ),
]


def job_ids_of(arguments: list[str]) -> list[str]:
    """The ids that were given, each once; `-` stands for those on standard input."""
    texts: list[str] = []
    for argument in arguments:
        texts += sys.stdin.read().split() if argument == "-" else [argument]
    if not texts:
        raise typer.BadParameter("standard input is empty: expected job ids", param_hint="JOB")
    return [_job_id(text) for text in dict.fromkeys(texts)]


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes` was said beforehand; another answer ends the command."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
