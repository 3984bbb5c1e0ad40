"""SQS: records of an event, visibility, dead letters, messages to the downloader."""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from reportflow import aws
from reportflow.contract.files import CompletedFile
from reportflow.errors import PipelineError, Retryable
from reportflow.jobs import Step
from reportflow.messages import Check

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

MAX_MESSAGE_ATTRIBUTES: Final = 10
MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""SQS's limit of a message, its attributes included."""

MAX_BATCH: Final = 10
MAX_VISIBILITY_SECONDS: Final = 11 * 3600
"""SQS counts its twelve hours from the receive; no invocation lasts the one that is left."""

MAX_ERROR_CHARACTERS: Final = 1000

_NOT_TAKEN: Final = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that SQS refuses in a message and its attributes."""


@dataclass(frozen=True)
class Record:
    """One SQS message as Lambda's event source hands it over.

    `attributes` are the message attributes in the event's form; `sent_at` is when SQS took it.
    """

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int
    sent_at: datetime
    attributes: Mapping[str, Mapping[str, Any]]


def records(event: Mapping[str, Any]) -> list[Record]:
    """The records of an SQS event of Lambda."""
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
    """What a function does to the queue it consumes, beyond deleting what is done."""

    def __init__(self, client: "SQSClient", queue_url: str, dlq_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._dlq_url = dlq_url

    def return_after(self, record: Record, seconds: float) -> None:
        """Let the message come back in so many seconds: whole ones, at most eleven hours."""
        with aws.translated("sqs:ChangeMessageVisibility"):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=min(max(ceil(seconds), 0), MAX_VISIBILITY_SECONDS),
            )

    def waiting(self) -> int:
        """About how many messages could be received now; those in flight do not count."""
        with aws.translated("sqs:GetQueueAttributes"):
            answer = self._client.get_queue_attributes(
                QueueUrl=self._queue_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def dead_letter(self, record: Record, error: PipelineError, step: Step, job_id: str) -> None:
        """Copy the message to the dead-letter queue: body unchanged, the reason as attributes.

        The body comes first: beside one that fills the message there is room for part of the
        reason only, which stands on the job all the same. Upstream's own attributes go along as
        far as SQS's ten and its size allow.
        """
        reason = {
            "jobId": job_id,
            "errorCode": error.code,
            "failedStep": step,
            "errorMessage": _NOT_TAKEN.sub("\N{REPLACEMENT CHARACTER}", error.message)[
                :MAX_ERROR_CHARACTERS
            ],
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
    """The download queue, as the webhook and the submitter fill it."""

    def __init__(
        self, client: "SQSClient", queue_url: str, *, check_delay_seconds: int = 0
    ) -> None:
        """A check comes `check_delay_seconds` after it was ordered; SQS takes 900 at most."""
        self._client = client
        self._queue_url = queue_url
        self._check_delay_seconds = check_delay_seconds

    def order(self, job_id: str) -> None:
        """Queue a check of the job.

        Raises:
            Retryable: the queue did not take it; ordering it twice does no harm.
        """
        with aws.translated("sqs:SendMessage"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=msgspec.json.encode(Check(job_id)).decode(),
                DelaySeconds=self._check_delay_seconds,
            )

    def send(self, files: Sequence[CompletedFile]) -> None:
        """Queue one message a file.

        Raises:
            Retryable: not all of them were taken; sending all again does no harm.
        """
        refused = sum(self._send_batch(batch) for batch in batched(files, MAX_BATCH, strict=False))
        if refused:
            raise Retryable(
                "QUEUE_INCOMPLETE", f"the queue took {len(files) - refused} of {len(files)} files"
            )

    def _send_batch(self, files: Iterable[CompletedFile]) -> int:
        with aws.translated("sqs:SendMessageBatch"):
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(number), "MessageBody": msgspec.json.encode(file).decode()}
                    for number, file in enumerate(files)
                ],
            )
        return len(answer.get("Failed", []))


def _text_attribute(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}


def _size(name: str, attribute: "MessageAttributeValueTypeDef") -> int:
    """What SQS counts of an attribute: its name, its type and its value, in bytes."""
    text = name + attribute["DataType"] + attribute.get("StringValue", "")
    return len(text.encode()) + len(cast("bytes", attribute.get("BinaryValue", b"")))


def _attribute(value: Mapping[str, Any]) -> "MessageAttributeValueTypeDef":
    """An attribute of a Lambda event in the form that SendMessage takes."""
    if "binaryValue" in value:
        return {"DataType": value["dataType"], "BinaryValue": b64decode(value["binaryValue"])}
    return {"DataType": value["dataType"], "StringValue": value["stringValue"]}
