"""Dead letters back to their queues: nothing lost, nothing made twice, no faster than asked.

A letter is sent first and deleted then. An interruption between the two leaves a second message of
the same job, and the functions know a job that they have seen.

Downloads go before requests: their PDFs are made and paid for, and ReportFlow keeps them for a
limited time only. A job may lie in both queues, because upstream sent it again after a failure. As
long as its record says that the PDF was made and only the archive lacks it, its request stays:
submitting it would make a second PDF.

A job may have several letters in a queue, too. Those that ask for the same go as one message. A
webhook and a check go both, as they do in any job's life. Two requests with the same document side
by side could make two PDFs, where the first fails at once; and of two documents only one can be the
job's. A letter that was sent after its job's first one went is that one come back, and stays.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cli import sending
from cli.letters import LOOK_SECONDS, NO_REASON, DeadLetters, Letter, QueueName, Selection
from cli.records import Record, Records
from reportflow.contract import CENTRAL, WORKSPACE
from reportflow.errors import Permanent
from reportflow.jobs import JobStatus, Step
from reportflow.messages import OWN_JOB_ID, parse_request, unwrapped
from reportflow.queues import MAX_BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

ORDER: Final = (QueueName.DOWNLOADS, QueueName.REQUESTS)

OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""Its redrive may make a second PDF: never meant unless named, by the reason or the job."""


_CAME_BACK: Final = "redriven, and failed again. Fix the reason, then redrive it"
_ANOTHER_DOCUMENT: Final = (
    "another document of the same jobId went: run it again when that job has ended"
)
_MADE: Final = (
    "its PDF is made and not archived: redrive the job's download and run it again when the job "
    "has ended, or send the request all the same with --again"
)
_MAY_BE_MADE: Final = (
    "the job's submission was never answered: look in ReportFlow for its PDF, then name the job "
    "with --job"
)
_SAME: Final = "together with another letter that asks for the same"
_UNDELETED: Final = (
    "sent, and SQS did not delete it: run it again. What is sent twice makes no second PDF"
)


class Fate(StrEnum):
    """What became of a dead letter that was selected.

    `FAILED_AGAIN` is the new dead letter of a job that this run has redriven.
    """

    REDRIVEN = "redriven"
    UNDELETED = "undeleted"
    FAILED_AGAIN = "failed-again"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True)
class Handled:
    """One letter's fate, and why where it stays."""

    letter: Letter
    fate: Fate
    why: str = ""


@dataclass
class _Gone:
    """What went of a job in this run, and when its first letter was handed out."""

    since: datetime
    works: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Work:
    """What one message brings about, and all letters of a batch that ask for it."""

    name: str
    letters: list[Letter] = field(default_factory=list)


class Pace:
    """So many a minute on the average; a batch is paid for after it went.

    `batch_size` is small enough for a batch to be waited for while it is hidden.
    """

    def __init__(
        self,
        per_minute: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.batch_size = max(1, min(MAX_BATCH, int(per_minute * LOOK_SECONDS / 120)))
        self._seconds_each = 60 / per_minute
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def wait(self) -> None:
        """Wait until the next may go."""
        pause = self._next - self._clock()
        if pause > 0:
            self._sleep(pause)

    def spend(self, count: int) -> None:
        """Say that so many went."""
        self._next = max(self._next, self._clock()) + count * self._seconds_each


class Redrive:
    """Sends the letters of one dead-letter queue back, where they are meant and safe to send."""

    def __init__(
        self,
        sqs: "SQSClient",
        queue: DeadLetters,
        records: Records,
        selection: Selection,
        *,
        pace: Pace,
        again: bool = False,
    ) -> None:
        """`again` sends requests whose PDF is made already, too."""
        self._sqs = sqs
        self._queue = queue
        self._records = records
        self._selection = selection
        self._pace = pace
        self._again = again

    def __call__(self, *, dry_run: bool = False) -> Iterator[Handled]:
        """Go through the queue once. A job that fails again meanwhile waits for the next time."""
        gone: dict[str, _Gone] = {}
        with self._queue.look(self._pace.batch_size) as batches:
            for batch in batches:
                meant = [letter for letter in batch if self._is_meant(letter)]
                works = yield from self._held_back(meant, gone)
                fresh = [work for work in works if not _is_gone(work, gone)]
                if fresh and not dry_run:
                    self._pace.wait()
                refused = {} if dry_run else self._send(fresh)
                yield from self._settle(works, refused, dry_run=dry_run)
                for work in works:
                    if work.name not in refused:
                        first = work.letters[0]
                        since = gone.setdefault(first.job_id, _Gone(first.seen_at))
                        since.works.add(work.name)
                if not dry_run:
                    self._pace.spend(len(fresh))

    def _is_meant(self, letter: Letter) -> bool:
        return self._selection.has(letter) and (
            self._names_unknown_outcomes or letter.reason != OUTCOME_UNKNOWN
        )

    @property
    def _names_unknown_outcomes(self) -> bool:
        return bool(self._selection.job_ids) or OUTCOME_UNKNOWN in self._selection.reasons

    def _held_back(
        self, letters: Sequence[Letter], gone: Mapping[str, _Gone]
    ) -> Generator[Handled, None, list[_Work]]:
        """Tell which letters stay; returns the others by what they ask for."""
        known: Mapping[str, Record] = {}
        if self._queue.name is QueueName.REQUESTS and not self._again:
            known = self._records.get(sorted({letter.job_id for letter in letters}))
        works: dict[str, _Work] = {}
        asked = {job_id: set(before.works) for job_id, before in gone.items()}
        for letter in letters:
            name = f"{letter.job_id} {_asks_for(letter)}"
            before, of_job = gone.get(letter.job_id), asked.setdefault(letter.job_id, set())
            if before is not None and letter.sent_at >= before.since:
                yield Handled(letter, Fate.FAILED_AGAIN, _CAME_BACK)
            elif self._queue.name is QueueName.REQUESTS and of_job and name not in of_job:
                yield Handled(letter, Fate.HELD, _ANOTHER_DOCUMENT)
            elif not of_job and (
                why := why_unsafe(
                    known.get(letter.job_id), names_unknown_outcomes=self._names_unknown_outcomes
                )
            ):
                yield Handled(letter, Fate.HELD, why)
            else:
                of_job.add(name)
                works.setdefault(name, _Work(name)).letters.append(letter)
        return list(works.values())

    def _send(self, works: Sequence[_Work]) -> Mapping[str, str]:
        """Send one message for each; returns why SQS refused which."""
        outgoing = [self._outgoing(work) for work in works]
        return {
            sent.key: sent.refused
            for sent in sending.send(self._sqs, self._queue.source_url, outgoing)
            if sent.refused is not None
        }

    def _settle(
        self, works: Sequence[_Work], refused: Mapping[str, str], *, dry_run: bool
    ) -> Iterator[Handled]:
        """Delete the letters of what went, and tell of all."""
        went = [letter for work in works if work.name not in refused for letter in work.letters]
        left = [] if dry_run else self._queue.delete(went)
        for work in works:
            for number, letter in enumerate(work.letters):
                if work.name in refused:
                    yield Handled(letter, Fate.REFUSED, refused[work.name])
                elif letter in left:
                    yield Handled(letter, Fate.UNDELETED, _UNDELETED)
                else:
                    yield Handled(letter, Fate.REDRIVEN, _SAME if number else "")

    def _outgoing(self, work: _Work) -> sending.Outgoing:
        """The letter as it is, under a key of ours.

        One that SQS itself moved has no reason, by which the functions know a redriven message.
        So another one of the same goes in its place. It may name no job, too. Its job has the
        message's id, which the new message will not have.
        """
        letter = next((each for each in work.letters if each.reason != NO_REASON), work.letters[0])
        attributes = dict(letter.attributes)
        if self._queue.name is QueueName.REQUESTS and not letter.names_its_job:
            attributes[OWN_JOB_ID] = {"DataType": "String", "StringValue": letter.message_id}
        return sending.Outgoing(work.name, letter.body, attributes)


def why_unsafe(record: Record | None, *, names_unknown_outcomes: bool) -> str:
    """Why a request of the job could make a second PDF; empty if it could not."""
    if record is None or record["status"] != JobStatus.FAILED:
        return ""
    if record.get("failedStep") == Step.ARCHIVE and "fileId" in record:
        return _MADE
    unknown = record.get("errorCode") == OUTCOME_UNKNOWN and not names_unknown_outcomes
    return _MAY_BE_MADE if unknown else ""


def _asks_for(letter: Letter) -> str:
    """The document of a request, by its digest; of anything else the body itself."""
    body = unwrapped(letter.body.encode())
    for contract in (WORKSPACE, CENTRAL):
        with suppress(Permanent):
            return parse_request(body, contract).digest
    return letter.body


def _is_gone(work: _Work, gone: Mapping[str, _Gone]) -> bool:
    before = gone.get(work.letters[0].job_id)
    return before is not None and work.name in before.works
