"""`watch`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain
from time import monotonic
from typing import Annotated, Final

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.list_jobs import table
from cli.commands.options import JobIds, Json, duration, job_ids_of
from cli.failures import ExitCode
from cli.records import SOON, Record, Records, finished, reason

MAX_NAMED: Final = 20
"""The most jobs that one sentence names."""


def watch(
    context: typer.Context,
    jobs: JobIds,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="TIME", help="Give up after so long."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow jobs until each has finished.

    On a terminal it is a live table with totals, rate and remaining time, unfinished jobs first.
    Otherwise it prints a line for each change. After 30 seconds it warns once about jobs without a
    record. A job that failed before has these 30 seconds to begin again: sent again, it stays
    FAILED until its message is taken.

    Status 1: a job failed, or had not finished in time.

    Example: `reportflow submit invoices/ | reportflow watch -`
    """
    job_ids = job_ids_of(jobs)
    target = target_of(context)
    interval = 0.5 if target.is_local else 2.0
    rounds = Records(target).follow(job_ids, interval=interval, timeout=timeout, miss=_warn_missing)
    known: dict[str, Record] = next(rounds)
    begin = monotonic()
    _warn_failed_before(known)
    every = chain([known], rounds)
    is_live = output.out().is_terminal and not as_json
    for latest in _live(job_ids, every) if is_live else _changes(every, as_json=as_json):
        known = latest
    totals = totals_of(job_ids, known)
    if totals["ARCHIVED"] < len(job_ids):
        late = [job_id for job_id in job_ids if not finished(known.get(job_id))]
        text = f" {len(late)} not finished in time: {_some(late)}." if late else ""
        output.note(f"{_ends(totals)}.{text}")
        raise typer.Exit(ExitCode.FINDINGS)
    if not as_json:
        took = output.duration(timedelta(seconds=monotonic() - begin))
        output.note(f"{len(job_ids)} archived in {took}.")


def totals_of(job_ids: Sequence[str], known: Mapping[str, Record]) -> Counter[str]:
    """Count the jobs by status."""
    return Counter(known[job_id]["status"] for job_id in job_ids if job_id in known)


def progress_line(jobs: int, before: Counter[str], now: Counter[str], elapsed: timedelta) -> str:
    """Return the totals, and rate and remaining time by what has finished since `before`."""
    done, done_before = (each["ARCHIVED"] + each["FAILED"] for each in (now, before))
    text = f"{done} of {output.several(jobs, 'job')} finished: {_ends(now)}."
    if jobs > done > done_before and elapsed:
        a_minute = (done - done_before) / (elapsed / timedelta(minutes=1))
        left = output.duration(timedelta(minutes=(jobs - done) / a_minute))
        text += f" {a_minute:.3g} a minute, about {left} left."
    return text


def _ends(totals: Counter[str]) -> str:
    return f"{totals['ARCHIVED']} archived, {totals['FAILED']} failed"


def unfinished_first(job_ids: Sequence[str], known: Mapping[str, Record]) -> list[str]:
    """Return the unfinished jobs in their order, then the failed ones, then the archived ones."""
    rank = {"FAILED": 1, "ARCHIVED": 2}
    return sorted(job_ids, key=lambda job_id: rank.get(known.get(job_id, {}).get("status", ""), 0))


def _changes(rounds: Iterable[dict[str, Record]], *, as_json: bool) -> Iterator[dict[str, Record]]:
    """Print a line for each change of a job's status."""
    seen: dict[str, str] = {}
    for known in rounds:
        for job_id, record in known.items():
            if seen.get(job_id) == record["status"]:
                continue
            seen[job_id] = record["status"]
            if as_json:
                output.json_line(record)
            else:
                output.say(f"{job_id} {record['status']} {reason(record)}".rstrip())
        yield known


def _live(
    job_ids: Sequence[str], rounds: Iterable[dict[str, Record]]
) -> Iterator[dict[str, Record]]:
    """Show a table that fits the screen, with the totals above it."""
    # Imported here, because `--help` needs neither.
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = output.out()
    begin = monotonic()
    before: Counter[str] | None = None
    with Live(console=console, auto_refresh=False) as live:
        for known in rounds:
            totals = totals_of(job_ids, known)
            before = totals if before is None else before
            elapsed = timedelta(seconds=monotonic() - begin)
            line = progress_line(len(job_ids), before, totals, elapsed)
            room = max(1, console.height - 4)
            shown = table(unfinished_first(job_ids, known)[:room], known)
            more = len(job_ids) - room
            rest = Text(f"… and {more} more" if more > 0 else "", "dim")
            live.update(Group(Text(line, "bold"), shown, rest), refresh=True)
            yield known


def _warn_missing(job_ids: Sequence[str]) -> None:
    ask = "is the id right?" if len(job_ids) == 1 else "are the ids right?"
    output.note(f"{_some(job_ids)}: no record yet; {ask} See `dlq list`.", style="yellow")


def _warn_failed_before(known: Mapping[str, Record]) -> None:
    if failed := [job_id for job_id, record in known.items() if record["status"] == "FAILED"]:
        output.note(
            f"{_some(failed)}: FAILED before. A job that was sent again stays so until its message "
            f"is taken. Waiting up to {SOON.seconds} seconds for that.",
            style="yellow",
        )


def _some(job_ids: Sequence[str]) -> str:
    """Return the ids, but not a screen full of them."""
    more = len(job_ids) - MAX_NAMED
    return ", ".join(job_ids[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
