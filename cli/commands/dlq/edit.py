"""`dlq edit`: a corrected message takes the place of a dead letter."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.dlq.redrive import Again, why_unsafe
from cli.commands.options import Json, complete_job, job_ids_of
from cli.dead_letters import DeadLetter, DeadLetters, QueueName, Selection, read
from cli.documents import Document, Naming, content_of, document, is_pointer
from cli.failures import CliError, ExitCode
from cli.records import Record, Records, finished
from cli.target import Target
from reportflow.contract import Contract
from reportflow.errors import Permanent
from reportflow.jobs import JobStatus
from reportflow.messages import unwrapped


def edit(
    context: typer.Context,
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job id.", autocompletion=complete_job)
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="The corrected message; - reads standard input. Default: open $VISUAL or $EDITOR.",
            allow_dash=True,
        ),
    ] = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Correct a dead letter, and send it again.

    The corrected message is checked as the functions do. It goes to the request queue with the same
    job id and the dead letter's attributes, and the dead letter is deleted. If the job has several
    dead letters, it is the newest one; the others stay.

    Status 1: the job has no dead letter.

    Example: `reportflow dlq edit invoice-2024-001 && reportflow watch invoice-2024-001`
    """
    [job_id] = job_ids_of([job])
    if file is None and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal for an editor", param_hint="--file")
    target = target_of(context, changes=True)
    queue = DeadLetters(target, QueueName.REQUESTS)
    newest = _newest(queue, job_id)
    _refuse_if_unsafe(job_id, Records(target).get([job_id]).get(job_id), again=again)
    if file is not None:
        content = sys.stdin.buffer.read() if str(file) == "-" else content_of(file)
        _resend(target, queue, newest, _checked(content, job_id, target.contract))
    elif not _edit(target, queue, newest):
        output.note("No changes, nothing was sent.", style="yellow")
        return
    if as_json:
        output.json_line({**newest.summary(), "fate": "resent"})
    else:
        output.say(job_id)


def readable(body: str) -> str:
    """Return the message without its envelope, as indented JSON; other text stays as it is."""
    message = unwrapped(body.encode())
    try:
        return msgspec.json.format(message, indent=2).decode() + "\n"
    except msgspec.MsgspecError:
        return message.decode() + "\n"


def _newest(queue: DeadLetters, job_id: str) -> DeadLetter:
    """Return the job's newest dead letter, which stays where it is."""
    selection = Selection(job_ids=frozenset({job_id}))
    found = [one for batch in read([queue]) for one in selection.of(batch)]
    if not found:
        raise CliError(
            f"The job {job_id} has no dead letter in the queue of requests. `reportflow status "
            f"{job_id}` prints where the job is.",
            ExitCode.FINDINGS,
        )
    newest = max(found, key=lambda one: one.sent_at)
    if is_pointer(newest.body.encode()):
        raise CliError(
            "The message is a pointer to its body in S3. Get that body, correct it, send it with "
            "`reportflow submit`, and drop the dead letter."
        )
    return newest


def _refuse_if_unsafe(job_id: str, record: Record | None, *, again: bool) -> None:
    """Refuse another document for a job that is in flight or has its PDF."""
    if record is None:
        return
    if record["status"] == JobStatus.ARCHIVED:
        raise CliError(
            f"The job {job_id} is ARCHIVED, and a job has one document. Send the corrected one as "
            "a new job with `reportflow submit`, and drop the dead letter."
        )
    if not finished(record):
        raise CliError(
            f"The job {job_id} is {record['status']}: it was sent again. Wait until it has "
            f"finished: reportflow watch {job_id}"
        )
    if not again and (why := why_unsafe(record, names_unknown_outcomes=True)):
        raise CliError(f"{job_id}: {why}.")


def _checked(text: bytes, job_id: str, contract: Contract) -> Document:
    """Return the corrected message, as the functions will read it.

    Raises:
        Permanent: what is wrong with it.
    """
    from cli import sending

    made = document(text, "the message", contract, naming=Naming(job_id=job_id))
    if made.job_id != job_id:
        raise Permanent("INVALID_MESSAGE", f"jobId: expected {job_id!r}, got {made.job_id!r}")
    if sending.is_large(made):
        raise Permanent(
            "PAYLOAD_TOO_LARGE",
            f"more than {sending.MAX_BODY_BYTES} bytes; send it with `reportflow submit`",
        )
    return made


def _resend(target: Target, queue: DeadLetters, newest: DeadLetter, corrected: Document) -> None:
    """Send the corrected message with the dead letter's attributes, and delete the dead letter."""
    from cli import sending

    with queue.batches() as batches:
        every = (one for batch in batches for one in batch)
        found = next((one for one in every if one.message_id == newest.message_id), None)
        if found is None:
            raise CliError(
                "The dead letter is gone, or another command hides it. Nothing was sent. Run this "
                "again in a minute."
            )
        outgoing = sending.Outgoing(corrected.job_id, corrected.body, found.attributes)
        [sent] = sending.send(target.sqs, queue.source_url, [outgoing])
        if sent.refused is not None:
            raise CliError(f"SQS refused the message: {sent.refused}. The dead letter stays.")
        if queue.delete([found]):
            raise CliError(
                "The message was sent, but SQS did not delete the dead letter. Drop it: reportflow "
                f"dlq drop --job {corrected.job_id}",
                ExitCode.FINDINGS,
            )


def _edit(target: Target, queue: DeadLetters, newest: DeadLetter) -> bool:
    """Let the person edit the message, and send it; False if it is unchanged.

    The file is for its owner only. It is kept if its text was not sent.
    """
    original = readable(newest.body)
    descriptor, name = tempfile.mkstemp(prefix="reportflow-", suffix=".json")
    path = Path(name)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(original)
    corrected = None
    while corrected is None:
        _open_editor(path)
        text = path.read_bytes()
        if text == original.encode():
            path.unlink()
            return False
        try:
            corrected = _checked(text, newest.job_id, target.contract)
        except Permanent as error:
            output.note(error.message, style="red")
            if not typer.confirm("Edit it again?", default=True, err=True):
                output.note(
                    f"Nothing was sent. The text is kept in {path}; later: reportflow dlq edit "
                    f"{newest.job_id} --file {path}"
                )
                raise typer.Exit(ExitCode.FINDINGS) from error
    try:
        _resend(target, queue, newest, corrected)
    except Exception:
        output.note(f"The corrected message is kept in {path}.", style="yellow")
        raise
    path.unlink()
    return True


def _open_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(path)], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise CliError(
            f"The editor failed ({error}). Set EDITOR, or use --file. The text is kept in {path}."
        ) from error
