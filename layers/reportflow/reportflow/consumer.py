"""Works on the records of a batch at the same time and reports each result to SQS."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from reportflow import aws, observability
from reportflow.backoff import full_jitter
from reportflow.errors import (
    CredentialsRefused,
    Held,
    NoSlot,
    OutOfTime,
    Permanent,
    PipelineError,
    Retryable,
)
from reportflow.queues import Record, SqsQueue

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_DELAY_SECONDS: Final = 3600.0

REFUSED_BASE_SECONDS: Final = 60.0
"""First ceiling of the wait after refused keys. It doubles up to `MAX_DELAY_SECONDS`."""

NO_SLOT_SECONDS: Final = 0.015
"""The least wait for a slot of the rate limit, multiplied by the square of the receive count.

It grows slowly enough that few slots stay unused when a backlog ends. It grows fast enough that the
receives of a waiting message last for as long as its queue keeps it.
"""

UNEXPECTED: Final = "UNEXPECTED"
"""The reason that is counted for a record that came back because of a bug."""


@dataclass(frozen=True)
class GiveUpLimits:
    """When a message is given up, whatever the cause.

    At `max_receives` deliveries: soon after, the queue would dead-letter it without a reason. At
    `max_age` after it was sent: soon after, the queue would drop it.
    """

    max_receives: int
    max_age: timedelta

    def reached(self, record: Record, now: datetime) -> Permanent | None:
        """Why the message is given up; None while it may come again."""
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
    """How a record finished. Each is a metric; `FAILED` has the error code as its dimension."""

    SUBMITTED = "Submitted"
    ARCHIVED = "Archived"
    FAILED = "Failed"
    DUPLICATE = "Duplicates"
    NOT_OURS = "FilesNotOurs"


@dataclass(frozen=True)
class Invocation:
    """The current Lambda invocation: when Lambda ends it.

    `store_time` is reserved before the deadline, so that a late answer is still stored.
    """

    deadline: datetime
    store_time: timedelta = timedelta(seconds=aws.PROMPT_SECONDS)

    @classmethod
    def of(cls, context: "LambdaContext") -> Self:
        """The invocation that Lambda describes with `context`."""
        seconds = context.get_remaining_time_in_millis() / 1000
        return cls(
            datetime.now(UTC) + timedelta(seconds=seconds),
            timedelta(seconds=aws.call_seconds(seconds)),
        )


type PartialBatchResponse = dict[str, list[dict[str, str]]]
"""Lambda's `ReportBatchItemFailures` answer: all records that it does not name are deleted."""

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
    """Work on all records at the same time. A failing record does not affect the others.

    Returned records are counted by their reason.
    """
    if not batch:
        return {"batchItemFailures": []}
    returned: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    oldest = timedelta()
    with ThreadPoolExecutor(max_workers=len(batch)) as pool:
        at_work = {pool.submit(work, record, invocation): record for record in batch}
        for future in as_completed(at_work):
            error = future.exception()
            if error is None:
                counts[future.result()] += 1
            else:
                record = at_work[future]
                put_back(record, error, queue.return_after, rng)
                returned.append({"itemIdentifier": record.message_id})
                reasons[error.code if isinstance(error, Retryable) else UNEXPECTED] += 1
                counts["CredentialsRefused"] += isinstance(error, CredentialsRefused)
                oldest = max(oldest, clock() - record.sent_at)
    # `Finisher` counts failures, with their reason.
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
    """Return an unfinished record to its queue: when its error says, or with backoff and jitter."""
    log = observability.logger()
    about = {"message_id": record.message_id, "receive_count": record.receive_count}
    if not isinstance(error, Retryable):
        # A bug: the queue's own visibility timeout brings the message back.
        log.error("unexpected failure", exc_info=error, extra=about)
        return
    delay = error.delay_seconds
    if delay is None or not isinstance(error, (Held, OutOfTime)):
        # `Retry-After` and the rate limiter can ask for a short wait for hours. Without backoff, a
        # backlog would use its receives up.
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
        # The message still comes back, by the queue's own visibility timeout.
        log.warning("visibility not changed", extra={**about, "error_code": refused.code})


def _backoff(error: Retryable, record: Record, rng: random.Random) -> float:
    if isinstance(error, CredentialsRefused):
        # A person has to act. Until then no message may come so often that its receives run out.
        return full_jitter(
            record.receive_count, rng, base=REFUSED_BASE_SECONDS, cap=MAX_DELAY_SECONDS
        )
    if isinstance(error, NoSlot):
        return NO_SLOT_SECONDS * record.receive_count**2
    return full_jitter(record.receive_count, rng)
