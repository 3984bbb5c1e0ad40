"""`status`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import typer

from cli import output, story
from cli.commands.deployment import target_of
from cli.commands.dlq.selection import read_selected
from cli.commands.list_jobs import table
from cli.commands.options import JobIds, Json, job_ids_of
from cli.dead_letters import DeadLetter, Selection, dead_letters
from cli.failures import ExitCode
from cli.records import Record, Records
from cli.target import Target


def status(context: typer.Context, jobs: JobIds, as_json: Json = False) -> None:
    """Show where jobs are, and what comes next.

    One job is shown in full, with its steps, S3 location and dead letters; several as a table. With
    --json each line is a job's record with `steps`, `location`, `deadLetters` and `next`.

    Status 1: a job has no record. It gets one when its message is first taken.

    Example: `reportflow status invoice-2024-001`
    """
    job_ids = job_ids_of(jobs)
    target = target_of(context)
    found = Records(target).get(job_ids)
    if len(job_ids) > 1 and not as_json:
        output.out().print(table(job_ids, found))
    else:
        dead = _dead_letters(target, job_ids, found)
        now = datetime.now(UTC)
        for job_id in job_ids:
            record = found.get(job_id)
            following = story.next_of(job_id, record, target, now)
            show = _print_json if as_json else _print
            show(job_id, record, dead.get(job_id, []), following)
    if len(found) < len(job_ids):
        raise typer.Exit(ExitCode.FINDINGS)


def _dead_letters(
    target: Target, job_ids: Sequence[str], found: Mapping[str, Record]
) -> dict[str, list[DeadLetter]]:
    """Read the dead letters of those jobs that may have one: they failed, or have no record."""
    asked = {one for one in job_ids if one not in found or found[one]["status"] == "FAILED"}
    dead: dict[str, list[DeadLetter]] = {}
    if asked:
        selection = Selection(job_ids=frozenset(asked))
        for batch in read_selected(dead_letters(target), selection):
            for one in batch:
                dead.setdefault(one.job_id, []).append(one)
    return dead


def _print_json(
    job_id: str, record: Record | None, dead: Sequence[DeadLetter], following: story.Next
) -> None:
    output.json_line(
        {
            **(record or {"jobId": job_id, "status": None}),
            "steps": [
                {
                    "step": step.name,
                    "at": output.stamp(step.at),
                    "secondsAfterPrevious": step.after and round(step.after.total_seconds(), 3),
                }
                for step in story.steps(record or {})
            ],
            "location": story.location(record) if record else None,
            "deadLetters": [one.summary() for one in dead],
            "next": {
                "what": following.what,
                "at": following.at and output.stamp(following.at),
                "commands": list(following.commands),
            },
        }
    )


def _print(
    job_id: str, record: Record | None, dead: Sequence[DeadLetter], following: story.Next
) -> None:
    console = output.out()
    console.print(job_id, style="bold", end=" ", markup=False)
    state = record["status"] if record else "(no record)"
    console.print(state, style=output.COLOURS.get(state), markup=False)
    for step in story.steps(record or {}):
        output.say(f"  {step}")
    at = f": {output.stamp(following.at)}." if following.at else ""
    output.fields(
        [
            *(story.facts(record) if record else ()),
            *(
                ("dead letter", f"{one.queue}, {one.reason}, sent {output.stamp(one.sent_at)}")
                for one in dead
            ),
            ("next", f"{following.what}{at}"),
        ]
    )
    for command in following.commands:
        output.say(f"    {command}")
