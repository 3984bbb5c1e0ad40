"""`dlq redrive`: dead letters go back to their queues, and no PDF is lost or made twice.

A dead letter is sent first, then deleted. An interruption between the two leaves a second message
of the same job, and the functions recognize it.

Downloads go before requests: their PDFs are made and paid for, and ReportFlow keeps them for a
limited time only. A job may have dead letters in both queues, because upstream sent it again after
a failure. While its record says that the PDF is made but not archived, its request stays:
submitting it would make a second PDF.

A job may have several dead letters in one queue. Those that ask for the same go as one message. A
webhook and a completion check both go, as in any job's life. Of two documents, only one can be the
job's, so the other stays. A dead letter that was sent after its job's first one was redriven has
failed again, and stays.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.dlq import selection as dlq
from cli.commands.options import Json, NewerThan, OlderThan
from cli.dead_letters import (
    HIDDEN_SECONDS,
    MAX_BATCH,
    NO_REASON,
    DeadLetter,
    DeadLetters,
    QueueName,
    Selection,
    dead_letters,
)
from cli.failures import ExitCode
from cli.records import Record, Records
from cli.target import Target
from reportflow.contract import CENTRAL, WORKSPACE
from reportflow.errors import Permanent
from reportflow.jobs import JobStatus, Step
from reportflow.messages import OWN_JOB_ID, parse_request, unwrapped

OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""Its redrive may make a second PDF, so the reason or the job must be named."""

_FAILED_AGAIN: Final = "redriven, and failed again. Fix the reason, then redrive it"
_ANOTHER_DOCUMENT: Final = (
    "another document with the same jobId was sent: redrive again when that job has finished"
)
_MADE: Final = (
    "its PDF is made and not archived: redrive the job's download, and redrive this when the job "
    "has finished; --again sends the request anyway"
)
_MAY_BE_MADE: Final = (
    "ReportFlow never answered the job's submission: look for its PDF in ReportFlow, then name the "
    "job with --job"
)
_SAME: Final = "together with another dead letter that asks for the same"
_UNDELETED: Final = (
    "sent, but SQS did not delete it: redrive again. A message that is sent twice makes no second "
    "PDF"
)

Again = Annotated[
    bool,
    typer.Option("--again", help="Also send requests whose PDF is made: it is made once more."),
]


def redrive(
    context: typer.Context,
    queue: dlq.Queue = None,
    reason: dlq.Reasons = None,
    job: dlq.Jobs = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: dlq.All = False,
    again: Again = False,
    per_minute: Annotated[
        float,
        typer.Option(
            min=2,
            help="A request costs two of ReportFlow's 100 calls a minute, to make and to fetch.",
        ),
    ] = 40,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which would be redriven, and send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to their queues.

    Downloads go first, because their PDFs are made. A dead letter is sent, then deleted.
    Interrupted at any point and run again, nothing is lost and nothing is made twice. Dead letters
    of one job that ask for the same go as one message. A job that fails again in the same run stays
    failed and is counted as that. OUTCOME_UNKNOWN goes only if --reason or --job names it, because
    its PDF may exist already.

    Status 1: a selected dead letter stayed or failed again, or another command hides some.

    Example: `reportflow dlq redrive --reason HTTP_503`
    """
    selection = dlq.selection_of(reason, job, older_than, newer_than, every=every)
    target = target_of(context, changes=True)
    queues = dead_letters(target, queue)
    limiter = RateLimiter(per_minute)
    fates: Counter[Fate] = Counter()
    with output.progress(prints=True) as progress:
        expected = sum(each.depth().total for each in queues)
        bar = progress.add_task("redrive", total=expected)
        try:
            # Downloads first.
            for each in reversed(queues):
                run = Redrive(
                    target, each, selection, limiter=limiter, again=again, dry_run=dry_run
                )
                for handled in run():
                    fates[handled.fate] += 1
                    progress.advance(bar)
                    _show(handled, as_json=as_json)
        finally:
            _report(fates, dry_run=dry_run)
    if not fates:
        dlq.report_none(queues)
    if dlq.report_hidden(queues) or fates.keys() - {Fate.REDRIVEN}:
        raise typer.Exit(ExitCode.FINDINGS)


class Fate(StrEnum):
    """What became of a selected dead letter.

    `FAILED_AGAIN` is the new dead letter of a job that this run has redriven.
    """

    REDRIVEN = "redriven"
    UNDELETED = "undeleted"
    FAILED_AGAIN = "failed-again"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True)
class Handled:
    """A dead letter's fate, and the reason if it stays."""

    dead_letter: DeadLetter
    fate: Fate
    why: str = ""


@dataclass
class _Sent:
    """What this run has sent for a job, and when its first dead letter was handed out."""

    since: datetime
    works: set[str] = field(default_factory=set)


class RateLimiter:
    """Keeps to so many messages a minute.

    A batch of `batch_size` is sent within half of the time for which it is hidden.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.batch_size = max(1, min(MAX_BATCH, int(per_minute * HIDDEN_SECONDS / 120)))
        self._seconds_each = 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def wait(self) -> None:
        """Wait until the next message may be sent."""
        pause = self._next - self._clock()
        if pause > 0:
            self._sleep(pause)
        self._next = max(self._next, self._clock()) + self._seconds_each


class Redrive:
    """Sends back the dead letters of one queue that are selected and safe to send."""

    def __init__(
        self,
        target: Target,
        queue: DeadLetters,
        selection: Selection,
        *,
        limiter: RateLimiter,
        again: bool = False,
        dry_run: bool = False,
    ) -> None:
        """With `again` it also sends requests whose PDF is made."""
        self._target = target
        self._queue = queue
        self._selection = selection
        self._limiter = limiter
        self._again = again
        self._dry_run = dry_run
        self._is_of_requests = queue.name is QueueName.REQUESTS
        self._names_unknown = bool(selection.job_ids) or OUTCOME_UNKNOWN in selection.reasons
        self._sent: dict[str, _Sent] = {}

    def __call__(self) -> Iterator[Handled]:
        """Go through the queue once. A job that fails again meanwhile stays for the next run."""
        with self._queue.batches(self._limiter.batch_size) as batches:
            for batch in batches:
                before = frozenset(self._sent)
                selected = [
                    one
                    for one in self._selection.of(batch)
                    if self._names_unknown or one.reason != OUTCOME_UNKNOWN
                ]
                # The functions know a redriven message by its reason. If one of the same has none,
                # because SQS itself moved it, the other one is sent.
                selected.sort(key=lambda one: one.reason == NO_REASON)
                known: Mapping[str, Record] = {}
                if self._is_of_requests and not self._again:
                    known = Records(self._target).get([one.job_id for one in selected])
                for one in selected:
                    # One of the same batch was there before this run sent anything for its job.
                    if one.job_id in before and one.sent_at >= self._sent[one.job_id].since:
                        yield Handled(one, Fate.FAILED_AGAIN, _FAILED_AGAIN)
                    else:
                        yield Handled(one, *self._handle(one, known.get(one.job_id)))

    def _handle(self, one: DeadLetter, record: Record | None) -> tuple[Fate, str]:
        """Send a dead letter and delete it, or leave it; returns its fate and the reason."""
        work = _asks_for(one)
        sent = self._sent.get(one.job_id)
        is_sent = sent is not None and work in sent.works
        if not is_sent:
            if self._is_of_requests and sent is not None:
                return Fate.HELD, _ANOTHER_DOCUMENT
            if why := why_unsafe(record, names_unknown_outcomes=self._names_unknown):
                return Fate.HELD, why
            if refused := self._send(one):
                return Fate.REFUSED, refused
            self._sent.setdefault(one.job_id, _Sent(one.seen_at)).works.add(work)
        if not self._dry_run and self._queue.delete([one]):
            return Fate.UNDELETED, _UNDELETED
        return Fate.REDRIVEN, _SAME if is_sent else ""

    def _send(self, one: DeadLetter) -> str:
        """Send the dead letter as it is; returns why SQS refused it, or an empty text.

        A message that names no job has the job of its message id, which the new message will not
        have.
        """
        if self._dry_run:
            return ""
        # Imported here, because `--help` needs no AWS.
        from cli.sending import Outgoing, send

        attributes = dict(one.attributes)
        if self._is_of_requests and not one.named_job:
            attributes[OWN_JOB_ID] = {"DataType": "String", "StringValue": one.message_id}
        self._limiter.wait()
        message = Outgoing(one.message_id, one.body, attributes)
        [sent] = send(self._target.sqs, self._queue.source_url, [message])
        return sent.refused or ""


def why_unsafe(record: Record | None, *, names_unknown_outcomes: bool) -> str:
    """Return why a request of the job could make a second PDF; empty if it could not."""
    if record is None or record["status"] != JobStatus.FAILED:
        return ""
    if record.get("failedStep") == Step.ARCHIVE and "fileId" in record:
        return _MADE
    unknown = record.get("errorCode") == OUTCOME_UNKNOWN and not names_unknown_outcomes
    return _MAY_BE_MADE if unknown else ""


def _asks_for(one: DeadLetter) -> str:
    """Return the digest of a request's document; of any other message the body itself."""
    body = unwrapped(one.body.encode())
    for contract in (WORKSPACE, CENTRAL):
        with suppress(Permanent):
            return parse_request(body, contract).digest
    return one.body


def _show(handled: Handled, *, as_json: bool) -> None:
    one = handled.dead_letter
    if as_json:
        output.json_line({**one.summary(), "fate": handled.fate, "why": handled.why})
    elif handled.fate is Fate.REDRIVEN:
        output.say(f"{one.job_id} {one.reason} {handled.why}".rstrip())
    else:
        output.note(f"{one.job_id} {one.reason} stays: {handled.why}", style="yellow")


def _report(fates: Mapping[Fate, int], *, dry_run: bool) -> None:
    parts = [
        f"{fates[Fate.REDRIVEN]} {'would be redriven' if dry_run else 'redriven'}",
        f"{fates[Fate.HELD]} held back",
        f"{fates[Fate.REFUSED]} refused by SQS",
    ]
    if fates[Fate.UNDELETED]:
        parts.append(f"{fates[Fate.UNDELETED]} sent and not deleted")
    again = f" {fates[Fate.FAILED_AGAIN]} of them failed again." if fates[Fate.FAILED_AGAIN] else ""
    output.note(f"{', '.join(parts)}.{again}")
