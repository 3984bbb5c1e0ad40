"""Reads SQS events, delays and dead-letters messages, and sends messages to the downloader."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import batched
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from reportflow import aws
from reportflow.combining import Combined
from reportflow.contract.files import CompletedFile
from reportflow.errors import PipelineError, Retryable
from reportflow.messages import Check

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from reportflow.jobs import Step

MAX_MESSAGE_ATTRIBUTES: Final = 10
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""SQS's limit for a message, including its attributes."""

MAX_BATCH: Final = 10


@dataclass(frozen=True)
class Record:
    """One SQS message of a Lambda event.

    `attributes` are in the event's form. `sent_at` is when SQS accepted the message.
    """

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int
    sent_at: datetime
    attributes: Mapping[str, Mapping[str, Any]]


def records(event: Mapping[str, Any]) -> list[Record]:
    """Return the records of a Lambda event from SQS."""
    return [
        Record(
            message_id=record["messageId"],
            receipt_handle=record["receiptHandle"],
            body=record["body"],
            receive_count=int(record["attributes"]["ApproximateReceiveCount"]),
            sent_at=datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, UTC),
            attributes=record.get("messageAttributes", {}),
        )
        for record in event["Records"]
    ]


class SqsQueue:
    """The queue that a function consumes, with its dead-letter queue."""

    def __init__(self, client: "SQSClient", queue_url: str, dlq_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._dlq_url = dlq_url

    def return_after(self, record: Record, seconds: float) -> None:
        """Make the message visible again after `seconds`, rounded up; SQS takes twelve hours."""
        with aws.translated("sqs:ChangeMessageVisibility"):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=ceil(seconds),
            )

    def waiting(self) -> int:
        """Return about how many messages can be received now, without those in flight."""
        with aws.translated("sqs:GetQueueAttributes"):
            answer = self._client.get_queue_attributes(
                QueueUrl=self._queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def dead_letter(self, record: Record, error: PipelineError, step: "Step", job_id: str) -> None:
        """Copy the message to the dead-letter queue: body unchanged, the reason as attributes.

        SQS limits a message's size and the number of its attributes. Attributes that do not fit are
        left out, the sender's own first. The job's record has the whole reason.
        """
        reason = {
            "jobId": job_id,
            "errorCode": error.code,
            "failedStep": step,
            "errorMessage": _printable(error.message),
        }
        wanted = {name: _text_attribute(value) for name, value in reason.items()}
        for name, value in record.attributes.items():
            wanted.setdefault(name, _attribute(value))
        attributes: dict[str, MessageAttributeValueTypeDef] = {}
        room = MAX_MESSAGE_BYTES - len(record.body.encode())
        for name, attribute in wanted.items():
            size = _size(name, attribute)
            if len(attributes) < MAX_MESSAGE_ATTRIBUTES and size <= room:
                attributes[name] = attribute
                room -= size
        with aws.translated("sqs:SendMessage"):
            self._client.send_message(
                QueueUrl=self._dlq_url, MessageBody=record.body, MessageAttributes=attributes
            )


class Downloads:
    """Sends messages to the download queue, for the webhook and the submitter."""

    def __init__(
        self, client: "SQSClient", queue_url: str, *, check_delay_seconds: int = 0
    ) -> None:
        """Delay each completion check by `check_delay_seconds`; SQS allows 900 at most."""
        self._client = client
        self._queue_url = queue_url
        self._send_checks = Combined(partial(self._send, delay_seconds=check_delay_seconds))

    def order(self, job_id: str) -> None:
        """Queue a completion check of the job, with those of other threads in one call.

        Raises:
            Retryable: SQS did not accept it; a second check does no harm.
        """
        if not self._send_checks(Check(job_id)):
            raise Retryable("QUEUE_INCOMPLETE", "SQS did not accept the completion check")

    def send(self, files: Sequence[CompletedFile]) -> None:
        """Queue one message per file.

        Raises:
            Retryable: SQS did not accept all of them; sending all of them again does no harm.
        """
        accepted = self._send(files).count(True)
        if accepted < len(files):
            raise Retryable("QUEUE_INCOMPLETE", f"SQS accepted {accepted} of {len(files)} messages")

    def _send(
        self, messages: Sequence[Check | CompletedFile], *, delay_seconds: int = 0
    ) -> list[bool]:
        """Send the messages, and return for each whether SQS accepted it."""
        failed: set[str] = set()
        for some in batched(enumerate(messages), MAX_BATCH, strict=False):
            with aws.translated("sqs:SendMessageBatch"):
                answer = self._client.send_message_batch(
                    QueueUrl=self._queue_url,
                    Entries=[
                        {
                            "Id": str(number),
                            "MessageBody": msgspec.json.encode(message).decode(),
                            "DelaySeconds": delay_seconds,
                        }
                        for number, message in some
                    ],
                )
            failed |= {entry["Id"] for entry in answer.get("Failed", [])}
        return [str(number) not in failed for number in range(len(messages))]


def _printable(text: str) -> str:
    """The text without what SQS refuses: control characters and halves of surrogate pairs."""
    return "".join(
        each if each.isprintable() or each in "\t\n\r\u3000" else "\N{REPLACEMENT CHARACTER}"
        for each in text
    )


def _text_attribute(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}


def _size(name: str, attribute: "MessageAttributeValueTypeDef") -> int:
    """Return the bytes that SQS counts for an attribute: its name, type and value."""
    text = name + attribute["DataType"] + attribute.get("StringValue", "")
    return len(text.encode()) + len(cast("bytes", attribute.get("BinaryValue", b"")))


def _attribute(value: Mapping[str, Any]) -> "MessageAttributeValueTypeDef":
    """Convert a Lambda event's attribute to the form for SendMessage."""
    if "binaryValue" in value:
        return {"DataType": value["dataType"], "BinaryValue": b64decode(value["binaryValue"])}
    return {"DataType": value["dataType"], "StringValue": value["stringValue"]}
