"""`dlq show`."""

from collections.abc import Iterator

import typer

from cli import output, story
from cli.commands.deployment import target_of
from cli.commands.dlq.edit import readable
from cli.commands.dlq.selection import Queue, read_selected
from cli.commands.options import JobIds, Json, job_ids_of
from cli.dead_letters import DeadLetter, Selection, dead_letters
from cli.error_codes import explain
from cli.failures import ExitCode
from cli.records import Record, Records

_OURS = frozenset({"errorCode", "errorMessage", "jobId"})


def show(context: typer.Context, jobs: JobIds, queue: Queue = None, as_json: Json = False) -> None:
    """Show jobs' dead letters in full.

    That is body, reason, attributes, and the job's steps. Nothing is deleted, and nothing stays
    hidden. The body is the customer's data. With --json each line is one dead letter as `dlq drop`
    writes it, which `submit` reads.

    Status 1: a job has no dead letter.

    Example: `reportflow dlq show invoice-2024-001`
    """
    job_ids = job_ids_of(jobs)
    target = target_of(context)
    known = Records(target).get(job_ids)
    missing = set(job_ids)
    selection = Selection(job_ids=frozenset(job_ids))
    for batch in read_selected(dead_letters(target, queue), selection, prints=True):
        for one in batch:
            missing.discard(one.job_id)
            if as_json:
                output.json_line(one.whole())
            else:
                _print(one, known.get(one.job_id))
    for job_id in sorted(missing):
        output.note(f"{job_id}: no dead letter.", style="yellow")
    if missing:
        raise typer.Exit(ExitCode.FINDINGS)


def _print(one: DeadLetter, record: Record | None) -> None:
    text = explain(one.reason, in_dead_letters=True)
    output.say(one.job_id)
    output.fields(
        [
            ("queue", one.queue),
            ("message id", one.message_id),
            ("sent", f"{output.stamp(one.sent_at)}, {output.age(one.sent_at)} ago"),
            ("reason", f"{one.reason}: {one.message}"),
            *(("attribute", attribute) for attribute in _senders_attributes(one)),
            ("status", record["status"] if record else "(no record)"),
            ("what to do", text.remedy),
        ]
    )
    for command in text.commands(one.reason, one.job_id):
        output.say(f"    {command}")
    for step in story.steps(record or {}):
        output.say(f"  {step}")
    output.say("  body:")
    for line in readable(one.body).splitlines():
        output.say(f"    {line}")
    output.say("")


def _senders_attributes(one: DeadLetter) -> Iterator[str]:
    """Return the message attributes beside the reason, as `name=value`; bytes in hex."""
    for name in sorted(one.attributes.keys() - _OURS):
        value = one.attributes[name]
        binary = value.get("BinaryValue", b"")
        text = value.get("StringValue") or (binary.hex() if isinstance(binary, bytes) else "")
        yield f"{name}={text}"
