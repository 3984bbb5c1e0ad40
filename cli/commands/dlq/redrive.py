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
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.dlq.selection import (
    All,
    Jobs,
    Queue,
    Reasons,
    report_hidden,
    report_none,
    selection_of,
)
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

if TYPE_CHECKING:
    from cli.sending import Outgoing

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
    queue: Queue = None,
    reason: Reasons = None,
    job: Jobs = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
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
    """Redrive dead letters: send them back to the queues they came from.

    Downloads go first, because their PDFs are made. A dead letter is sent, then deleted.
    Interrupted at any point and run again, nothing is lost and nothing is made twice. Dead letters
    of one job that ask for the same go as one message. A job that fails again in the same run stays
    failed and is counted as that. OUTCOME_UNKNOWN goes only if --reason or --job names it, because
    its PDF may exist already.

    Status 1: a selected dead letter stayed or failed again, or another command hides some.

    Example: `reportflow dlq redrive --reason HTTP_503`
    """
    selection = selection_of(reason, job, older_than, newer_than, every=every)
    target = target_of(context, changes=True)
    queues = dead_letters(target, queue)
    pace = Pace(per_minute)
    fates: Counter[Fate] = Counter()
    with output.progress(prints=True) as progress:
        expected = sum(each.depth().total for each in queues)
        bar = progress.add_task("redrive", total=expected)
        try:
            # Downloads first.
            for each in reversed(queues):
                run = Redrive(target, each, selection, pace=pace, again=again)
                for handled in run(dry_run=dry_run):
                    fates[handled.fate] += 1
                    progress.advance(bar)
                    _show(handled, as_json=as_json)
        finally:
            _report(fates, dry_run=dry_run)
    if not fates:
        report_none(queues)
    if report_hidden(queues) or fates.keys() - {Fate.REDRIVEN}:
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


@dataclass(frozen=True)
class _Work:
    """What one message brings about, and all dead letters of a batch that ask for it."""

    name: str
    dead_letters: list[DeadLetter] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        return self.dead_letters[0].job_id


class Pace:
    """Keeps to so many messages a minute; each batch is paid for after it was sent.

    A batch is small enough to wait for its turn while it is hidden.
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
        """Wait until the next batch may be sent."""
        pause = self._next - self._clock()
        if pause > 0:
            self._sleep(pause)

    def spend(self, count: int) -> None:
        """Count messages that were sent."""
        self._next = max(self._next, self._clock()) + count * self._seconds_each


class Redrive:
    """Sends back the dead letters of one queue that are selected and safe to send."""

    def __init__(
        self,
        target: Target,
        queue: DeadLetters,
        selection: Selection,
        *,
        pace: Pace,
        again: bool = False,
    ) -> None:
        """With `again` it also sends requests whose PDF is made."""
        self._target = target
        self._queue = queue
        self._selection = selection
        self._pace = pace
        self._again = again
        self._is_of_requests = queue.name is QueueName.REQUESTS
        self._names_unknown_outcomes = (
            bool(selection.job_ids) or OUTCOME_UNKNOWN in selection.reasons
        )

    def __call__(self, *, dry_run: bool = False) -> Iterator[Handled]:
        """Go through the queue once. A job that fails again meanwhile stays for the next run."""
        sent: dict[str, _Sent] = {}
        with self._queue.batches(self._pace.batch_size) as batches:
            for batch in batches:
                works = yield from self._sort_out(self._selected(batch), sent)
                fresh = [
                    work
                    for work in works
                    if work.job_id not in sent or work.name not in sent[work.job_id].works
                ]
                if fresh and not dry_run:
                    self._pace.wait()
                refused = {} if dry_run else self._send(fresh)
                yield from self._finish(works, refused, dry_run=dry_run)
                for work in works:
                    if work.name not in refused:
                        since = work.dead_letters[0].seen_at
                        sent.setdefault(work.job_id, _Sent(since)).works.add(work.name)
                if not dry_run:
                    self._pace.spend(len(fresh))

    def _selected(self, batch: Sequence[DeadLetter]) -> list[DeadLetter]:
        return [
            one
            for one in self._selection.of(batch)
            if self._names_unknown_outcomes or one.reason != OUTCOME_UNKNOWN
        ]

    def _sort_out(
        self, selected: Sequence[DeadLetter], sent: Mapping[str, _Sent]
    ) -> Generator[Handled, None, list[_Work]]:
        """Yield those that stay; returns the others by what they ask for."""
        known: Mapping[str, Record] = {}
        if self._is_of_requests and not self._again:
            known = Records(self._target).get(sorted({one.job_id for one in selected}))
        works: dict[str, _Work] = {}
        asked = {job_id: set(before.works) for job_id, before in sent.items()}
        for one in selected:
            name = f"{one.job_id} {_asks_for(one)}"
            before, of_job = sent.get(one.job_id), asked.setdefault(one.job_id, set())
            if before is not None and one.sent_at >= before.since:
                yield Handled(one, Fate.FAILED_AGAIN, _FAILED_AGAIN)
            elif self._is_of_requests and of_job and name not in of_job:
                yield Handled(one, Fate.HELD, _ANOTHER_DOCUMENT)
            elif not of_job and (
                why := why_unsafe(
                    known.get(one.job_id), names_unknown_outcomes=self._names_unknown_outcomes
                )
            ):
                yield Handled(one, Fate.HELD, why)
            else:
                of_job.add(name)
                works.setdefault(name, _Work(name)).dead_letters.append(one)
        return list(works.values())

    def _send(self, works: Sequence[_Work]) -> Mapping[str, str]:
        """Send one message for each; returns those that SQS refused, with the reason."""
        from cli import sending

        outgoing = [self._outgoing(work) for work in works]
        return {
            sent.key: sent.refused
            for sent in sending.send(self._target.sqs, self._queue.source_url, outgoing)
            if sent.refused is not None
        }

    def _finish(
        self, works: Sequence[_Work], refused: Mapping[str, str], *, dry_run: bool
    ) -> Iterator[Handled]:
        """Delete the dead letters that were sent, and yield the fate of all."""
        gone = [one for work in works if work.name not in refused for one in work.dead_letters]
        left = [] if dry_run else self._queue.delete(gone)
        for work in works:
            for number, one in enumerate(work.dead_letters):
                if work.name in refused:
                    yield Handled(one, Fate.REFUSED, refused[work.name])
                elif one in left:
                    yield Handled(one, Fate.UNDELETED, _UNDELETED)
                else:
                    yield Handled(one, Fate.REDRIVEN, _SAME if number else "")

    def _outgoing(self, work: _Work) -> "Outgoing":
        """Return the dead letter as it is, under a key of ours.

        The functions know a redriven message by its reason, and one that SQS itself moved has none.
        So one with a reason is sent in its place. A message that names no job has the job of its
        message id, which the new message will not have.
        """
        from cli.sending import Outgoing

        those = work.dead_letters
        one = next((each for each in those if each.reason != NO_REASON), those[0])
        attributes = dict(one.attributes)
        if self._is_of_requests and not one.named_job:
            attributes[OWN_JOB_ID] = {"DataType": "String", "StringValue": one.message_id}
        return Outgoing(work.name, one.body, attributes)


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
