"""`dlq list`."""

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.dlq.selection import Jobs, Queue, Reasons, read_selected, selection_of
from cli.commands.options import Json, NewerThan, OlderThan
from cli.dead_letters import dead_letters
from cli.failures import ExitCode
from cli.records import Records


def list_dead_letters(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = None,
    job: Jobs = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    as_json: Json = False,
) -> None:
    """List dead letters, and leave them where they are.

    The status is the job's. If it is ARCHIVED, another message has made the PDF since.

    Status 1: there are dead letters.

    Example: `reportflow dlq list --reason HTTP_404 --newer-than 1d`
    """
    selection = selection_of(reason, job, older_than, newer_than)
    target = target_of(context)
    records = Records(target)
    count = 0
    rows = []
    for batch in read_selected(dead_letters(target, queue), selection, prints=as_json):
        known = records.get([one.job_id for one in batch])
        for one in batch:
            count += 1
            status = known.get(one.job_id, {}).get("status")
            if as_json:
                output.json_line({**one.summary(), "status": status})
            else:
                age = output.age(one.sent_at)
                rows.append((one.queue, one.job_id, status or "", one.reason, age, one.message))
    if rows:
        columns = ("queue", "job", "status", "reason", "age", "message")
        output.out().print(output.table(columns, rows))
    if not as_json:
        output.note(f"{output.several(count, 'dead letter')}.")
    if count:
        raise typer.Exit(ExitCode.FINDINGS)
