"""A real queue and its dead-letter queue, as a test sees them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import uuid4

from local.sqs_event import batches
from reportflow.queues import Record, SqsQueue, records

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, MessageTypeDef

ARN = "arn:aws:sqs:ap-northeast-1:123456789012:requests"


@dataclass(frozen=True)
class QueuePair:
    """`queue` is what the functions use; the rest is for the test's own eyes and hands."""

    client: "SQSClient"
    url: str
    dlq_url: str

    @classmethod
    def made_with(cls, client: "SQSClient") -> Self:
        """A new pair of empty queues."""
        name = uuid4()
        url = client.create_queue(QueueName=f"queue-{name}")["QueueUrl"]
        return cls(client, url, client.create_queue(QueueName=f"dlq-{name}")["QueueUrl"])

    @property
    def queue(self) -> SqsQueue:
        return SqsQueue(self.client, self.url, self.dlq_url)

    def send(
        self, body: str, attributes: "Mapping[str, MessageAttributeValueTypeDef] | None" = None
    ) -> None:
        self.client.send_message(
            QueueUrl=self.url, MessageBody=body, MessageAttributes=attributes or {}
        )

    def receive(self) -> list[Record]:
        """What is visible, ten at most, as Lambda would hand it over; it is in flight then."""
        return records(self.receive_event())

    def receive_event(self) -> dict[str, Any]:
        event: dict[str, Any] = {"Records": []}
        for batch in batches(self._messages(self.url), ARN, 6 * 1024 * 1024):
            event = json.loads(batch.event)
        return event

    def deliver(self, body: str) -> Record:
        """Send a message and receive it."""
        self.send(body)
        (record,) = self.receive()
        return record

    def redrive(self) -> Record:
        """The only dead letter as it comes back: the same attributes, another message id."""
        (letter,) = self.dead_letters()
        self.send(letter["Body"], cast("Any", letter["MessageAttributes"]))
        (record,) = self.receive()
        return record

    def dead_letters(self) -> list["MessageTypeDef"]:
        return self._messages(self.dlq_url)

    def dead_letter_reasons(self) -> list[dict[str, str]]:
        """The String attributes of each dead letter."""
        return [
            {
                name: value["StringValue"]
                for name, value in letter["MessageAttributes"].items()
                if "StringValue" in value
            }
            for letter in self.dead_letters()
        ]

    @contextmanager
    def visibility_changes(self) -> Iterator[list[int]]:
        """The seconds that messages are returned for, as they are sent to SQS."""
        seconds: list[int] = []

        def note(params: Mapping[str, Any], **_: object) -> None:
            seconds.append(params["VisibilityTimeout"])

        event = "provide-client-params.sqs.ChangeMessageVisibility"
        self.client.meta.events.register(event, note)
        try:
            yield seconds
        finally:
            self.client.meta.events.unregister(event, note)

    def _messages(self, url: str) -> list["MessageTypeDef"]:
        received = self.client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=600,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return received.get("Messages", [])
