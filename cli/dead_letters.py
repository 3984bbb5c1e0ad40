"""Reads dead letters. SQS shows a message only by handing it out.

A received message is hidden for a while. A dead letter that is read and not deleted is given back
at once, and after a crash it comes back after `HIDDEN_SECONDS`. No function consumes these queues,
so a second operator waits at most that long.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from itertools import batched, islice
from typing import TYPE_CHECKING, Any, Final

from cli.output import stamp
from cli.target import Target, clock_of
from reportflow.messages import named_job_id, salvage_job_id

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, MessageTypeDef

MAX_BATCH: Final = 10
"""The most messages of one call to SQS."""

HIDDEN_SECONDS: Final = 60
"""How long a received dead letter is hidden: enough to read thousands of others, or to work on a
batch of ten."""

WAIT_SECONDS: Final = 1
"""If it waits, SQS asks all its servers, so an empty answer means an empty queue."""

BELIEVED_SECONDS: Final = 10.0
"""A count of hidden messages that stays so long is believed. SQS's count lags behind what this
command gave back or deleted, by a minute at worst."""

NO_REASON: Final = "(none)"
"""The reason of a dead letter that SQS itself moved."""


_COUNTS: "Final[Sequence[QueueAttributeNameType]]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class QueueName(StrEnum):
    """The two queues with dead letters."""

    REQUESTS = "requests"
    DOWNLOADS = "downloads"


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter, and the receipt by which it is deleted or given back.

    `sent_at` and `seen_at` (when SQS handed it out, in whole seconds) are SQS's times.
    """

    queue: QueueName
    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    sent_at: datetime
    seen_at: datetime
    attributes: "dict[str, MessageAttributeValueTypeDef]" = field(repr=False)

    @cached_property
    def job_id(self) -> str:
        """Its job by the attributes, else by the body, else by the message's own id."""
        return self.named_job or self.message_id

    @cached_property
    def named_job(self) -> str:
        """The job by which the functions would find it; empty if it names none."""
        return named_job_id(self._text) or salvage_job_id(self.body.encode(), "")

    @property
    def reason(self) -> str:
        """The error code."""
        return self._text("errorCode") or NO_REASON

    @property
    def message(self) -> str:
        """The error message."""
        return self._text("errorMessage")

    def summary(self) -> dict[str, str]:
        """Return what may be shown: nothing of the body, which is the customer's."""
        return {
            "queue": self.queue,
            "jobId": self.job_id,
            "errorCode": self.reason,
            "errorMessage": self.message,
            "sentAt": stamp(self.sent_at),
            "messageId": self.message_id,
        }

    def whole(self) -> dict[str, object]:
        """Return all of it. `submit` reads such lines."""
        attributes = {
            name: {
                key: value if isinstance(value, str) else value.hex()
                for key, value in attribute.items()
                if isinstance(value, str | bytes)
            }
            for name, attribute in self.attributes.items()
        }
        return {**self.summary(), "attributes": attributes, "body": self.body}

    def _text(self, name: str) -> str:
        return self.attributes[name].get("StringValue", "") if name in self.attributes else ""


@dataclass(frozen=True)
class Selection:
    """The dead letters that a command is about. An empty field selects all."""

    reasons: frozenset[str] = frozenset()
    job_ids: frozenset[str] = frozenset()
    sent_before: datetime | None = None
    sent_after: datetime | None = None

    def of(self, batch: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return the selected ones of a batch."""
        return [
            one
            for one in batch
            if (not self.reasons or one.reason in self.reasons)
            and (not self.job_ids or one.job_id in self.job_ids)
            and (self.sent_before is None or one.sent_at <= self.sent_before)
            and (self.sent_after is None or one.sent_at >= self.sent_after)
        ]


@dataclass(frozen=True)
class Depth:
    """About how many messages a queue holds."""

    visible: int
    hidden: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.hidden + self.delayed


class DeadLetters:
    """One dead-letter queue of a deployment, and the queue that its messages come from."""

    def __init__(self, target: Target, name: QueueName) -> None:
        is_of_requests = name is QueueName.REQUESTS
        self.name = name
        self.url = target.request_dlq_url if is_of_requests else target.download_dlq_url
        self.source_url = target.request_queue_url if is_of_requests else target.download_queue_url
        self._sqs = target.sqs
        self._hidden: dict[str, tuple[DeadLetter, float]] = {}

    def depth(self) -> Depth:
        """See `Depth`."""
        return depth(self._sqs, self.url)

    @contextmanager
    def batches(self, size: int = MAX_BATCH) -> Iterator[Iterator[list[DeadLetter]]]:
        """Receive all dead letters, each once, in batches. Those that stay are given back.

        Deal with a batch before you ask for the next: it is hidden for `HIDDEN_SECONDS` only.
        """
        try:
            yield self._batches(size)
        finally:
            self._give_back()

    def _batches(self, size: int) -> Iterator[list[DeadLetter]]:
        seen: set[str] = set()
        rounds_without_news = 0
        # Dead letters come back while others still come. If a whole round brings no other, there
        # is no other.
        while rounds_without_news <= len(seen) // size + 1:
            received = self._receive(size)
            if not received:
                return
            until = time.monotonic() + HIDDEN_SECONDS
            self._hidden |= {one.message_id: (one, until) for one in received}
            fresh = [one for one in received if one.message_id not in seen]
            seen.update(one.message_id for one in fresh)
            rounds_without_news = 0 if fresh else rounds_without_news + 1
            if fresh:
                yield fresh

    def _give_back(self) -> None:
        """Make those visible that would stay hidden for more than a moment."""
        now = time.monotonic()
        hidden = [one for one, until in self._hidden.values() if until > now + 1]
        self._hidden.clear()
        for part in batched(hidden, MAX_BATCH, strict=False):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one.receipt, "VisibilityTimeout": 0}
                    for number, one in enumerate(part)
                ],
            )

    def delete(self, batch: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Delete dead letters of one batch for good. Returns those that SQS did not delete."""
        if not batch:
            return []
        answer = self._sqs.delete_message_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": one.receipt}
                for number, one in enumerate(batch)
            ],
        )
        for deleted in answer.get("Successful", []):
            self._hidden.pop(batch[int(deleted["Id"])].message_id, None)
        return [batch[int(each["Id"])] for each in answer.get("Failed", [])]

    def _receive(self, size: int) -> list[DeadLetter]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=size,
            VisibilityTimeout=HIDDEN_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        seen_at = clock_of(answer)
        return [self._dead_letter(message, seen_at) for message in answer.get("Messages", [])]

    def _dead_letter(self, message: "MessageTypeDef", seen_at: datetime) -> DeadLetter:
        attributes: dict[str, Any] = {
            name: {key: value for key, value in attribute.items() if isinstance(value, str | bytes)}
            for name, attribute in message.get("MessageAttributes", {}).items()
        }
        sent = int(message["Attributes"]["SentTimestamp"]) / 1000
        return DeadLetter(
            queue=self.name,
            message_id=message["MessageId"],
            receipt=message["ReceiptHandle"],
            body=message["Body"],
            sent_at=datetime.fromtimestamp(sent, UTC),
            seen_at=seen_at,
            attributes=attributes,
        )


def dead_letters(target: Target, name: QueueName | None = None) -> list[DeadLetters]:
    """Return the dead-letter queue of that name, or both."""
    return [DeadLetters(target, each) for each in QueueName if name in {None, each}]


def read(queues: Collection[DeadLetters], most: int | None = None) -> Iterator[list[DeadLetter]]:
    """Read all dead letters and leave them in place; at most `most` batches of each queue."""
    for queue in queues:
        with queue.batches() as batches:
            yield from islice(batches, most)


def hidden_by_others(queues: Collection[DeadLetters]) -> int:
    """Return how many dead letters could not be read, once this command hides none itself."""
    end = time.monotonic() + BELIEVED_SECONDS
    while (hidden := sum(queue.depth().hidden for queue in queues)) and time.monotonic() < end:
        # SQS does not say when its count is right at last.
        time.sleep(BELIEVED_SECONDS / 10)
    return hidden


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """Ask SQS about how many messages a queue holds."""
    answer = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=_COUNTS)
    return Depth(*(int(answer["Attributes"][name]) for name in _COUNTS))
