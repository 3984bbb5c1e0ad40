"""Dead letters back to their queues: nothing lost, nothing made twice, no faster than asked.

A letter is sent first and deleted then. An interruption between the two leaves a second message of
the same job, and the functions know a job that they have seen.

Downloads go before requests: their PDFs are made and paid for, and ReportFlow keeps them for a
limited time only. A job may lie in both queues, because upstream sent it again after a failure. As
long as its record says that the PDF was made and only the archive lacks it, its request stays:
submitting it would make a second PDF. Of several letters of a job one goes at a time.
"""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cli import sending
from cli.letters import LOOK_SECONDS, DeadLetters, Letter, QueueName, Selection
from cli.records import Record, Records
from reportflow.jobs import JobStatus, Step
from reportflow.queues import MAX_BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

ORDER: Final = (QueueName.DOWNLOADS, QueueName.REQUESTS)

OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""Its redrive may make a second PDF: never meant unless named, by the reason or the job."""


_ONE_AT_A_TIME: Final = "another letter of the job goes first: run it again when the job has ended"
_MADE: Final = (
    "its PDF is made and not archived: redrive the job's download, or send the request all the "
    "same with --again"
)


class Fate(StrEnum):
    """What became of a letter that was meant."""

    REDRIVEN = "redriven"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True)
class Handled:
    """One letter's fate, and why where it stays."""

    letter: Letter
    fate: Fate
    why: str = ""


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
        gone: set[str] = set()
        with self._queue.look(self._pace.batch_size) as batches:
            for batch in batches:
                meant = [letter for letter in batch if self._is_meant(letter)]
                safe = yield from self._held_back(meant, gone)
                gone.update(letter.job_id for letter in safe)
                if dry_run:
                    yield from (Handled(letter, Fate.REDRIVEN) for letter in safe)
                    continue
                if safe:
                    self._pace.wait()
                    yield from self._send(safe)
                    self._pace.spend(len(safe))

    def _is_meant(self, letter: Letter) -> bool:
        named = bool(self._selection.job_ids) or OUTCOME_UNKNOWN in self._selection.reasons
        return self._selection.has(letter) and (named or letter.reason != OUTCOME_UNKNOWN)

    def _held_back(
        self, letters: Sequence[Letter], gone: Collection[str]
    ) -> Generator[Handled, None, list[Letter]]:
        """Tell which letters stay; returns the others, one a job. `gone` have gone before."""
        known: Mapping[str, Record] = {}
        if self._queue.name is QueueName.REQUESTS and not self._again:
            known = self._records.get(sorted({letter.job_id for letter in letters}))
        safe: dict[str, Letter] = {}
        for letter in letters:
            if letter.job_id in gone or letter.job_id in safe:
                yield Handled(letter, Fate.HELD, _ONE_AT_A_TIME)
            elif _is_made(known.get(letter.job_id)):
                yield Handled(letter, Fate.HELD, _MADE)
            else:
                safe[letter.job_id] = letter
        return list(safe.values())

    def _send(self, letters: Sequence[Letter]) -> Iterator[Handled]:
        by_id = {letter.message_id: letter for letter in letters}
        outgoing = [self._outgoing(letter) for letter in letters]
        for batch in sending.batches(outgoing):
            answers = list(sending.send(self._sqs, self._queue.source_url, batch))
            gone = [by_id[sent.key] for sent in answers if sent.refused is None]
            left = {letter.message_id for letter in self._queue.delete(gone)}
            for sent in answers:
                letter = by_id[sent.key]
                if sent.refused is not None:
                    yield Handled(letter, Fate.REFUSED, sent.refused)
                else:
                    twice = "sent, and not deleted here" if sent.key in left else ""
                    yield Handled(letter, Fate.REDRIVEN, twice)

    def _outgoing(self, letter: Letter) -> sending.Outgoing:
        """The letter as it is.

        One that SQS itself moved may name no job. Its job has the message's id, which the new
        message will not have.
        """
        attributes = dict(letter.attributes)
        if self._queue.name is QueueName.REQUESTS and not letter.names_its_job:
            attributes["jobId"] = {"DataType": "String", "StringValue": letter.message_id}
        return sending.Outgoing(letter.message_id, letter.body, attributes)


def _is_made(record: Record | None) -> bool:
    """Whether ReportFlow made the job's PDF, which then could not be archived."""
    return (
        record is not None
        and record["status"] == JobStatus.FAILED
        and record.get("failedStep") == Step.ARCHIVE
        and "fileId" in record
    )
