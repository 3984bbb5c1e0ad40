"""`dlq show` and `dlq edit`: one job's dead letters, read and corrected."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.deployment import target_of
from cli.commands.dlq.choosing import Queue, looked, queues_of, tell_hidden
from cli.commands.options import JobId, JobIds, Json, job_ids_of

if TYPE_CHECKING:
    from cli import editing
    from cli.documents import Document
    from cli.letters import Letter, QueueName
    from cli.records import Record
    from reportflow.contract import Contract


def show(context: typer.Context, jobs: JobIds, queue: Queue = None, as_json: Json = False) -> None:
    """Show jobs' dead letters in full: body, reason, attributes, and the job's steps.

    Nothing is deleted, and nothing stays hidden. The body is the customer's data. With --json each
    line is one dead letter as `dlq drop` writes it, which `submit` reads.

    Status 1: a job has no dead letter.

    Example: `reportflow dlq show invoice-2024-001`
    """
    from cli import output
    from cli.letters import Selection
    from cli.records import Records

    job_ids = job_ids_of(jobs)
    target = target_of(context)
    queues = queues_of(target, queue)
    found = [
        (name, letter)
        for name, letter, _ in looked(target, queues, Selection(job_ids=frozenset(job_ids)))
    ]
    known = Records(target.dynamodb, target.jobs_table).get(job_ids)
    for name, letter in found:
        if as_json:
            output.json_line(letter.whole(name))
        else:
            _print(name, letter, known.get(letter.job_id))
    tell_hidden(queues)
    missing = set(job_ids) - {letter.job_id for _, letter in found}
    for job_id in sorted(missing):
        output.tell(f"{job_id}: no dead letter.", style="yellow")
    if missing:
        raise typer.Exit(1)


def edit(
    context: typer.Context,
    job: JobId,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="The corrected message; - reads standard input. Default: open $VISUAL or $EDITOR.",
            allow_dash=True,
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also if the job's PDF is made: it is made once more."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Correct a dead letter's body and send it with the same job id.

    The corrected message is checked as the functions do. It goes to the request queue with the dead
    letter's attributes, and the dead letter is deleted. Of several dead letters of the job it is
    the newest one; the others stay.

    Status 1: the job has no dead letter.

    Example: `reportflow dlq edit invoice-2024-001 && reportflow watch invoice-2024-001`
    """
    from cli import editing, output
    from cli.letters import QueueName
    from cli.records import Records

    [job_id] = job_ids_of([job])
    if file is None and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal for an editor", param_hint="--file")
    target = target_of(context, changes=True)
    queue = queues_of(target, QueueName.REQUESTS)[QueueName.REQUESTS]
    letter = editing.find(queue, job_id)
    records = Records(target.dynamodb, target.jobs_table)
    editing.refuse_if_unsafe(job_id, records.get([job_id]).get(job_id), again=again)
    if file is not None:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        corrected = editing.checked(content, job_id, target.contract)
        editing.resend(target.sqs, queue, letter, corrected)
    else:
        draft = editing.Draft(editing.readable(letter.body))
        edited = _edited(draft, letter, target.contract)
        if edited is None:
            draft.remove()
            output.tell("No changes, nothing was sent.", style="yellow")
            return
        try:
            editing.resend(target.sqs, queue, letter, edited)
        except Exception:
            output.tell(f"The corrected message is kept in {draft.path}.", style="yellow")
            raise
        draft.remove()
    if as_json:
        output.json_line({**letter.summary(), "queue": QueueName.REQUESTS, "fate": "resent"})
    else:
        output.say(job_id)


def _edited(draft: "editing.Draft", letter: "Letter", contract: "Contract") -> "Document | None":
    """What the person made of the message; None if it is unchanged."""
    from cli import editing, output
    from reportflow.errors import Permanent

    original = editing.readable(letter.body).encode()
    while True:
        text = draft.edit()
        if text == original:
            return None
        try:
            return editing.checked(text, letter.job_id, contract)
        except Permanent as error:
            output.tell(error.message, style="red")
            if not typer.confirm("Edit it again?", default=True, err=True):
                output.tell(
                    f"Nothing was sent. The text is kept in {draft.path}; later: reportflow dlq "
                    f"edit {letter.job_id} --file {draft.path}"
                )
                raise typer.Exit(1) from error


def _print(queue: "QueueName", letter: "Letter", record: "Record | None") -> None:
    from cli import editing, output, story
    from cli.error_codes import explain

    told = explain(letter.reason, in_dead_letters=True, job_id=letter.job_id)
    output.say(f"{letter.job_id}")
    output.fields(
        [
            ("queue", queue),
            ("message id", letter.message_id),
            ("sent", f"{output.stamp(letter.sent_at)}, {output.age(letter.sent_at)} ago"),
            ("reason", f"{letter.reason}: {letter.message}"),
            *(("attribute", text) for text in letter.own_attributes()),
            ("status", record["status"] if record else "(no record)"),
            ("what to do", told.remedy),
        ]
    )
    for command in told.commands:
        output.say(f"    {command}")
    for step in story.steps(record or {}):
        output.say(f"  {step}")
    output.say("  body:")
    for line in editing.readable(letter.body).splitlines():
        output.say(f"    {line}")
    output.say("")
