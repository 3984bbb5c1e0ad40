"""Options that several commands have, and how their values are read."""

import re
import sys
from datetime import timedelta
from queue import Empty, Queue
from threading import Thread
from typing import Annotated, Final

import typer

from cli.commands.deployment import chosen_by
from cli.records import Records
from reportflow.messages import is_job_id

LONGEST: Final = timedelta(days=3650)
"""The longest duration that an option takes: nothing here is older."""

COMPLETION_SECONDS: Final = 2.0
"""How long the shell's completion waits for job ids."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `1h` or `2d`."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 30m, 1h or 2d")
    span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if span > LONGEST:
        raise typer.BadParameter(f"{text!r} is too long: at most {LONGEST.days}d")
    return span


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the latest jobs that begin so.

    The shell waits for them, so it gets none if they take long or if anything fails.
    """
    found: Queue[list[str]] = Queue()

    def find() -> None:
        try:
            choice = chosen_by(context)
            latest = [] if choice.asks_for_a_code() else Records(choice.find()).latest()
        except Exception:  # noqa: BLE001  (a trace must never appear in the shell's prompt)
            latest = []
        found.put([job_id for job_id in latest if job_id.startswith(incomplete)])

    Thread(target=find, daemon=True).start()
    try:
        return found.get(timeout=COMPLETION_SECONDS)
    except Empty:
        return []


Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
JobIds = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB",
        help="Job ids; - reads them from standard input.",
        autocompletion=complete_job,
    ),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration, metavar="AGE", help="Select at least this age: 90s, 30m, 1h, 2d."
    ),
]
NewerThan = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="AGE", help="Select at most this age.")
]


def job_ids_of(arguments: list[str]) -> list[str]:
    """Return the given ids, each once; `-` stands for those on standard input."""
    texts: list[str] = []
    for argument in arguments:
        texts += sys.stdin.read().split() if argument == "-" else [argument]
    if not texts:
        raise typer.BadParameter("standard input is empty: expected job ids", param_hint="JOB")
    for text in texts:
        if not is_job_id(text):
            raise typer.BadParameter(f"{text!r} cannot be a job's id")
    return list(dict.fromkeys(texts))


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes` was given. Another answer ends the command."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
