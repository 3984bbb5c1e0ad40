"""Dead letters, found by what they say. SQS can hand messages out, and not show them.

Whoever looks through a queue must receive its messages, which hides them for a while. A letter
that is looked at, and not worked on, comes back after `LOOK_SECONDS` at most. Nobody else consumes
these queues, so that costs a second operator a wait, and nothing more.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from cli.output import stamp
from cli.target import Target
from reportflow.messages import named_job_id, salvage_job_id
from reportflow.queues import MAX_BATCH

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        ChangeMessageVisibilityBatchRequestEntryTypeDef,
        DeleteMessageBatchRequestEntryTypeDef,
        MessageAttributeValueTypeDef,
        MessageTypeDef,
    )

LOOK_SECONDS: Final = 60
"""A received letter is hidden so long: enough to go through thousands of others, or to work on a
batch of ten."""

WAIT_SECONDS: Final = 1
"""With a wait SQS asks all its servers, so that an empty answer means an empty queue."""

BELIEVED_SECONDS: Final = 10.0
"""A number of hidden letters that stands so long is believed. SQS's lags behind what this command
gave back or deleted, by a minute at worst."""

_OURS: Final = frozenset({"errorCode", "errorMessage", "jobId"})

NO_REASON: Final = "(none)"
"""Of a letter that SQS itself moved."""


class QueueName(StrEnum):
    """The two queues with dead letters."""

    REQUESTS = "requests"
    DOWNLOADS = "downloads"


@dataclass(frozen=True)
class Letter:
    """One dead letter, and the receipt by which it is deleted or given back.

    `sent_at` and `seen_at`, when it was handed out, are SQS's times; the latter in whole seconds.
    """

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    sent_at: datetime
    seen_at: datetime
    attributes: "dict[str, MessageAttributeValueTypeDef]" = field(repr=False)

    @cached_property
    def job_id(self) -> str:
        """Its job: by the attribute, else by the body; a message without one is its own."""
        return named_job_id(self._text) or salvage_job_id(self.body.encode(), self.message_id)

    @property
    def reason(self) -> str:
        """The error code."""
        return self._text("errorCode") or NO_REASON

    @property
    def message(self) -> str:
        """What the error said."""
        return self._text("errorMessage")

    def summary(self) -> dict[str, str]:
        """What may be shown: nothing of the body, which is the customer's."""
        return {
            "jobId": self.job_id,
            "errorCode": self.reason,
            "errorMessage": self.message,
            "sentAt": stamp(self.sent_at),
            "messageId": self.message_id,
        }

    def whole(self, queue: QueueName) -> dict[str, object]:
        """All of it, to be kept or shown; `submit` reads such lines."""
        attributes = {
            name: {
                key: value if isinstance(value, str) else value.hex()
                for key, value in attribute.items()
                if isinstance(value, str | bytes)
            }
            for name, attribute in self.attributes.items()
        }
        return {"queue": queue, **self.summary(), "attributes": attributes, "body": self.body}

    def own_attributes(self) -> list[str]:
        """The message attributes beside the reason, as `name=value`; bytes in hex."""
        told = []
        for name in sorted(self.attributes.keys() - _OURS):
            value = self.attributes[name]
            told.append(f"{name}={value.get('StringValue') or _hex(value)}")
        return told

    @property
    def names_its_job(self) -> bool:
        """Whether the functions would find its job by what it says."""
        return bool(named_job_id(self._text) or salvage_job_id(self.body.encode(), ""))

    def _text(self, name: str) -> str:
        return self.attributes[name].get("StringValue", "") if name in self.attributes else ""


@dataclass(frozen=True)
class Selection:
    """Which letters are meant; what is not given does not narrow it down."""

    reasons: frozenset[str] = frozenset()
    job_ids: frozenset[str] = frozenset()
    sent_before: datetime | None = None
    sent_after: datetime | None = None

    def has(self, letter: Letter) -> bool:
        """Whether it is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.job_ids or letter.job_id in self.job_ids)
            and (self.sent_before is None or letter.sent_at <= self.sent_before)
            and (self.sent_after is None or letter.sent_at >= self.sent_after)
        )


@dataclass(frozen=True)
class Depth:
    """Roughly how many messages a queue holds."""

    visible: int
    hidden: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.hidden + self.delayed


class DeadLetters:
    """One dead-letter queue, and the queue that its messages come from."""

    def __init__(self, sqs: "SQSClient", name: QueueName, url: str, source_url: str) -> None:
        self.name = name
        self.url = url
        self.source_url = source_url
        self._sqs = sqs
        self._hidden: dict[str, tuple[Letter, float]] = {}

    def depth(self) -> Depth:
        """See `Depth`."""
        return depth(self._sqs, self.url)

    @contextmanager
    def look(self, batch_size: int = MAX_BATCH) -> Iterator[Iterator[list[Letter]]]:
        """All letters, each once, in batches. Those that are not deleted are given back.

        Deal with a batch before you ask for the next: within `LOOK_SECONDS` it is yours alone.
        """
        try:
            yield self._batches(batch_size)
        finally:
            self._give_back()

    def _batches(self, size: int) -> Iterator[list[Letter]]:
        seen: set[str] = set()
        old = 0
        # Letters come back while others are still coming. When a whole round brings nothing else,
        # there is nothing else.
        while old <= len(seen) // size + 1:
            received = self._receive(size)
            if not received:
                return
            until = time.monotonic() + LOOK_SECONDS
            self._hidden |= {letter.message_id: (letter, until) for letter in received}
            fresh = [letter for letter in received if letter.message_id not in seen]
            seen.update(letter.message_id for letter in fresh)
            old = 0 if fresh else old + 1
            if fresh:
                yield fresh

    def _give_back(self) -> None:
        """Have those visible at once that would not be so by themselves in a moment."""
        now = time.monotonic()
        hidden = [letter for letter, until in self._hidden.values() if until > now + 1]
        self._hidden.clear()
        for part in batched(hidden, MAX_BATCH, strict=False):
            entries: list[ChangeMessageVisibilityBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                for number, letter in enumerate(part)
            ]
            self._sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def delete(self, letters: Sequence[Letter]) -> list[Letter]:
        """Delete them for good; returns those that could not be deleted."""
        left: list[Letter] = []
        for part in batched(letters, MAX_BATCH, strict=False):
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": letter.receipt}
                for number, letter in enumerate(part)
            ]
            answer = self._sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
            failed = [part[int(each["Id"])] for each in answer.get("Failed", [])]
            for letter in part:
                if letter not in failed:
                    self._hidden.pop(letter.message_id, None)
            left += failed
        return left

    def _receive(self, size: int) -> list[Letter]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=size,
            VisibilityTimeout=LOOK_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        seen_at = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return [_letter(message, seen_at) for message in answer.get("Messages", [])]


def dead_letters(target: Target) -> dict[QueueName, DeadLetters]:
    """Both dead-letter queues of a deployment."""
    urls = {
        QueueName.REQUESTS: (target.request_dlq_url, target.request_queue_url),
        QueueName.DOWNLOADS: (target.download_dlq_url, target.download_queue_url),
    }
    return {name: DeadLetters(target.sqs, name, *pair) for name, pair in urls.items()}


def hidden_by_others(queues: Collection[DeadLetters]) -> int:
    """How many letters could not be seen, once this command itself hides none."""
    end = time.monotonic() + BELIEVED_SECONDS
    while (hidden := sum(queue.depth().hidden for queue in queues)) and time.monotonic() < end:
        # SQS says nothing when its number is right at last.
        time.sleep(BELIEVED_SECONDS / 10)
    return hidden


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """Roughly how many messages a queue holds."""
    told = sqs.get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return Depth(
        int(told["ApproximateNumberOfMessages"]),
        int(told["ApproximateNumberOfMessagesNotVisible"]),
        int(told["ApproximateNumberOfMessagesDelayed"]),
    )


def _hex(attribute: "MessageAttributeValueTypeDef") -> str:
    value = attribute.get("BinaryValue")
    return value.hex() if isinstance(value, bytes) else ""


def _letter(message: "MessageTypeDef", seen_at: datetime) -> Letter:
    attributes: dict[str, Any] = {
        name: {key: value for key, value in attribute.items() if isinstance(value, str | bytes)}
        for name, attribute in message.get("MessageAttributes", {}).items()
    }
    sent = int(message["Attributes"]["SentTimestamp"]) / 1000
    return Letter(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at=datetime.fromtimestamp(sent, UTC),
        seen_at=seen_at,
        attributes=attributes,
    )
