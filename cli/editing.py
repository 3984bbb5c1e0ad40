"""A dead letter with a corrected body: checked, sent with the same job id, then deleted."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli import sending
from cli.documents import Document, Naming, document
from cli.failures import CliError, ExitCode
from cli.letters import DeadLetters, Letter, Selection
from cli.records import Record, ended
from cli.redrive import why_unsafe
from reportflow.contract import Contract
from reportflow.errors import Permanent
from reportflow.jobs import JobStatus
from reportflow.messages import unwrapped
from reportflow.payloads import is_pointer

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


def find(queue: DeadLetters, job_id: str) -> Letter:
    """The job's newest dead letter, which stays where it is.

    Raises:
        CliError: there is none, or its body is not in it.
    """
    meant = Selection(job_ids=frozenset({job_id}))
    with queue.look() as batches:
        letters = [letter for batch in batches for letter in batch if meant.has(letter)]
    if not letters:
        raise CliError(
            f"The job {job_id} has no dead letter in the queue of requests. `reportflow status "
            f"{job_id}` prints where the job is.",
            ExitCode.FINDINGS,
        )
    newest = max(letters, key=lambda letter: letter.sent_at)
    if is_pointer(newest.body):
        raise CliError(
            "The message is a pointer to its body in S3. Get that body, correct it, send it with "
            "`reportflow submit`, and drop the dead letter."
        )
    return newest


def refuse_if_unsafe(job_id: str, record: Record | None, *, again: bool) -> None:
    """Refuse another document of a job that is in flight or has its PDF.

    Raises:
        CliError: it says why.
    """
    if record is None:
        return
    if record["status"] == JobStatus.ARCHIVED:
        raise CliError(
            f"The job {job_id} is ARCHIVED, and a job has one document. Send the corrected one as "
            "a new job with `reportflow submit`, and drop the dead letter."
        )
    if not ended(record):
        raise CliError(
            f"The job {job_id} is {record['status']}: it was sent again. Wait until it has "
            f"finished: reportflow watch {job_id}"
        )
    if not again and (why := why_unsafe(record, names_unknown_outcomes=True)):
        raise CliError(f"{job_id}: {why}.")


def readable(body: str) -> str:
    """The message without its envelope, as indented JSON; other text stays as it is."""
    message = unwrapped(body.encode())
    try:
        return msgspec.json.format(message, indent=2).decode() + "\n"
    except msgspec.MsgspecError:
        return message.decode() + "\n"


def checked(text: bytes, job_id: str, contract: Contract) -> Document:
    """The corrected message, as the functions will read it.

    Raises:
        Permanent: what is wrong with it.
    """
    made = document(text, "the message", contract, naming=Naming(job_id=job_id))
    if made.job_id != job_id:
        raise Permanent("INVALID_MESSAGE", f"jobId: expected {job_id!r}, got {made.job_id!r}")
    if sending.is_large(made):
        raise Permanent(
            "PAYLOAD_TOO_LARGE",
            f"more than {sending.MAX_BODY_BYTES} bytes; send it with `reportflow submit`",
        )
    return made


def resend(sqs: "SQSClient", queue: DeadLetters, letter: Letter, corrected: Document) -> None:
    """Send the corrected message with the dead letter's attributes, and delete the dead letter.

    Raises:
        CliError: the dead letter is no longer there, or SQS refuses.
    """
    with queue.look() as batches:
        there = (each for batch in batches for each in batch)
        found = next((each for each in there if each.message_id == letter.message_id), None)
        if found is None:
            raise CliError(
                "The dead letter is gone or hidden: another command works on it. Nothing was sent. "
                "Run this again in a minute."
            )
        outgoing = sending.Outgoing(corrected.job_id, corrected.body, found.attributes)
        [sent] = sending.send(sqs, queue.source_url, [outgoing])
        if sent.refused is not None:
            raise CliError(f"SQS refused the message: {sent.refused}. The dead letter stays.")
        if queue.delete([found]):
            raise CliError(
                "The message was sent, but SQS did not delete the dead letter. Drop it: reportflow "
                f"dlq drop --job {corrected.job_id}",
                ExitCode.FINDINGS,
            )


class Draft:
    """A file for the editor, for its owner only."""

    def __init__(self, text: str) -> None:
        descriptor, name = tempfile.mkstemp(prefix="reportflow-", suffix=".json")
        self.path = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)

    def edit(self) -> bytes:
        """Open the person's editor, and return what it saved.

        Raises:
            CliError: the editor cannot be started, or ends with an error.
        """
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            subprocess.run([*shlex.split(editor), str(self.path)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise CliError(
                f"The editor failed ({error}). Set EDITOR, or use --file. The text is kept in "
                f"{self.path}."
            ) from error
        return self.path.read_bytes()

    def remove(self) -> None:
        """Delete the file, which holds the customer's data."""
        self.path.unlink(missing_ok=True)
