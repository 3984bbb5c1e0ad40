"""A batch of SQS records, worked on side by side and answered record by record."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol, Self, TypedDict

from reportflow import aws, observability
from reportflow.backoff import full_jitter
from reportflow.errors import (
    CredentialsRefused,
    Held,
    OutOfTime,
    Paced,
    Permanent,
    PipelineError,
    Retryable,
)
from reportflow.queues import Record, SqsQueue

MAX_DELAY_SECONDS: Final = 3600.0

REFUSED_BASE_SECONDS: Final = 60.0
"""First ceiling of the wait for keys to be mended; it doubles up to `MAX_DELAY_SECONDS`."""

PACED_SECONDS: Final = 2.5
"""The least wait for a slot of our rate limit, for each time that a message came and found none.

So slowly does it grow that at the end of a crowd hardly a slot goes unused; and yet the receives
of a message that finds none last for as long as its queue keeps it.
"""

START_SECONDS: Final = 1.0
"""With less of its invocation left, no record is begun."""

DEFECT: Final = "UNEXPECTED"
"""The reason that a record is counted under which came back by a defect of ours."""


@dataclass(frozen=True)
class GiveUpLimits:
    """When a message is given up, whatever keeps it from its end.

    At `max_receives` deliveries: a little later the queue would dead-letter it, without a reason.
    At `max_age` after it was sent: a little later the queue would drop it.
    """

    max_receives: int
    max_age: timedelta

    def reached(self, record: Record, now: datetime) -> Permanent | None:
        """Why the message is given up; None as long as it may come again."""
        if record.receive_count >= self.max_receives:
            return Permanent(
                "RECEIVES_USED_UP",
                f"delivered {record.receive_count} times without coming to an end: look in the "
                "function's log for what stopped it each time, then redrive the message",
            )
        if now - record.sent_at >= self.max_age:
            return Permanent(
                "WAITED_TOO_LONG",
                "the queue was about to drop the message after so long a wait: look in the "
                "function's log for what held it up, then redrive the message",
            )
        return None


class Outcome(StrEnum):
    """How a record ended; each is a metric, `FAILED` with its reason."""

    SUBMITTED = "Submitted"
    ARCHIVED = "Archived"
    FAILED = "Failed"
    DUPLICATE = "Duplicates"
    NOT_OURS = "FilesNotOurs"


class Context(Protocol):
    """Lambda's context object, as far as it is used."""

    @property
    def aws_request_id(self) -> str:
        """The id that Lambda logs the invocation under."""

    def get_remaining_time_in_millis(self) -> int:
        """Time until Lambda cuts the invocation off."""


@dataclass(frozen=True)
class Invocation:
    """The Lambda invocation at work: its request id, and when it will be cut off.

    `store_time` is kept before the deadline, so that an answer at the last moment is still stored.
    """

    request_id: str
    deadline: datetime
    store_time: timedelta = timedelta(seconds=aws.PROMPT_SECONDS)

    @classmethod
    def of(cls, context: Context) -> Self:
        """The invocation that Lambda describes with `context`."""
        seconds = context.get_remaining_time_in_millis() / 1000
        return cls(
            context.aws_request_id,
            datetime.now(UTC) + timedelta(seconds=seconds),
            timedelta(seconds=aws.call_seconds(seconds)),
        )


class ItemFailure(TypedDict):
    """A record to keep on the queue."""

    itemIdentifier: str


class PartialBatchResponse(TypedDict):
    """Lambda's `ReportBatchItemFailures` answer: all other records are deleted."""

    batchItemFailures: list[ItemFailure]


type Work = Callable[[Record, Invocation], Outcome]
"""What a function does with one record; raises `Retryable` if the record must come again."""


def consume(
    batch: Sequence[Record],
    work: Work,
    queue: SqsQueue,
    invocation: Invocation,
    *,
    rng: random.Random,
    clock: Callable[[], datetime],
) -> PartialBatchResponse:
    """Work on all records at the same time; one that fails keeps none of the others back.

    Records that the invocation has no time left for are handed back untouched. What comes back is
    counted by its reason.
    """

    def begin(record: Record) -> Outcome:
        if invocation.deadline - clock() < timedelta(seconds=START_SECONDS):
            raise OutOfTime
        return work(record, invocation)

    if not batch:
        return {"batchItemFailures": []}
    returned: list[ItemFailure] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    oldest = timedelta()
    with ThreadPoolExecutor(max_workers=len(batch)) as pool:
        at_work = {pool.submit(begin, record): record for record in batch}
        for future in as_completed(at_work):
            error = future.exception()
            if error is None:
                counts[future.result()] += 1
            else:
                record = at_work[future]
                put_back(record, error, queue.return_after, rng)
                returned.append({"itemIdentifier": record.message_id})
                reasons[error.code if isinstance(error, Retryable) else DEFECT] += 1
                counts["CredentialsRefused"] += isinstance(error, CredentialsRefused)
                oldest = max(oldest, clock() - record.sent_at)
    # Counted where it happened, with its reason.
    del counts[Outcome.FAILED]
    observability.count(**counts)
    for reason, messages in reasons.items():
        observability.count(reason, Returned=messages)
    observability.measure(UnfinishedSeconds=oldest.total_seconds())
    return {"batchItemFailures": returned}


def put_back(
    record: Record,
    error: BaseException,
    return_after: Callable[[Record, float], None],
    rng: random.Random,
) -> None:
    """Let a record that did not end come back: when its error says, or with backoff and jitter."""
    log = observability.logger()
    about = {"message_id": record.message_id, "receive_count": record.receive_count}
    if not isinstance(error, Retryable):
        # A defect of ours: the queue's own visibility timeout brings the message back.
        log.error("unexpected failure", exc_info=error, extra=about)
        return
    delay = error.delay_seconds
    if delay is None or not isinstance(error, (Held, OutOfTime)):
        # However soon `Retry-After` or the pace says: a crowd that is told "in a second" for hours
        # would use its receives up.
        delay = max(delay or 0.0, _backoff(error, record, rng))
    delay = min(delay, MAX_DELAY_SECONDS)
    log.warning(
        "will be tried again",
        extra={
            **about,
            "job_id": error.job_id,
            "error_code": error.code,
            "error_message": error.loggable,
            "delay_seconds": round(delay, 1),
        },
    )
    try:
        return_after(record, delay)
    except PipelineError as refused:
        # The message comes back all the same, only by the queue's own visibility timeout.
        log.warning("visibility not changed", extra={**about, "error_code": refused.code})


def _backoff(error: Retryable, record: Record, rng: random.Random) -> float:
    if isinstance(error, CredentialsRefused):
        # A person has to act, and until then no message may come so often that its receives end.
        return full_jitter(
            record.receive_count, rng, base=REFUSED_BASE_SECONDS, cap=MAX_DELAY_SECONDS
        )
    if isinstance(error, Paced):
        return PACED_SECONDS * record.receive_count * rng.uniform(1, 2)
    return full_jitter(record.receive_count, rng)
