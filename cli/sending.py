"""Sends messages to a queue: in batches, and large ones by their pointer to S3."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Final, cast

from botocore.exceptions import ClientError

from cli.documents import Document
from cli.failures import CliError, aws_code
from cli.target import Target
from reportflow.backoff import full_jitter
from reportflow.messages import OWN_JOB_ID
from reportflow.queues import MAX_BATCH, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

REASON_BYTES: Final = 16 * 1024
"""Left free beside a body, so that its dead letter has room for upstream's and our attributes."""

MAX_BODY_BYTES: Final = MAX_MESSAGE_BYTES - REASON_BYTES
MAX_TRIES: Final = 6

_POINTER: Final = "software.amazon.payloadoffloading.PayloadS3Pointer"


@dataclass(frozen=True)
class Outgoing:
    """A message for SQS; `key` is the sender's name for it."""

    key: str
    body: str
    attributes: "dict[str, MessageAttributeValueTypeDef]"

    @property
    def size(self) -> int:
        """The bytes that SQS counts."""
        size = len(self.body.encode())
        for name, value in self.attributes.items():
            size += len((name + value["DataType"] + value.get("StringValue", "")).encode())
            size += len(cast("bytes", value.get("BinaryValue", b"")))
        return size


@dataclass(frozen=True)
class Sent:
    """What became of a message; `refused` says why SQS did not take it."""

    key: str
    refused: str | None = None


def batches(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Return the messages in their order, in batches that SQS takes: ten, and 1 MiB together."""
    batch: list[Outgoing] = []
    room = MAX_MESSAGE_BYTES
    for message in messages:
        if batch and (len(batch) == MAX_BATCH or message.size > room):
            yield batch
            batch, room = [], MAX_MESSAGE_BYTES
        batch.append(message)
        room -= message.size
    if batch:
        yield batch


def send(sqs: "SQSClient", queue_url: str, messages: Iterable[Outgoing]) -> Iterator[Sent]:
    """Send all messages. If SQS fails for a fault of its own, a message is sent again."""
    for batch in batches(messages):
        yield from _send_batch(sqs, queue_url, batch)


def _send_batch(sqs: "SQSClient", queue_url: str, batch: Sequence[Outgoing]) -> Iterator[Sent]:
    waiting = {str(number): message for number, message in enumerate(batch)}
    reason = ""
    for attempt in range(MAX_TRIES):
        if attempt:
            time.sleep(full_jitter(attempt, SystemRandom(), base=0.4))
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": number, "MessageBody": message.body, "MessageAttributes": message.attributes}
            for number, message in waiting.items()
        ]
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        for taken in answer.get("Successful", []):
            yield Sent(waiting.pop(taken["Id"]).key)
        for failed in answer.get("Failed", []):
            reason = f"{failed['Code']}: {failed.get('Message', '')}"
            if failed["SenderFault"]:
                yield Sent(waiting.pop(failed["Id"]).key, refused=reason)
        if not waiting:
            return
    for message in waiting.values():
        yield Sent(message.key, refused=reason)


def is_large(document: Document) -> bool:
    """Return whether the body is sent as a pointer."""
    return len(document.body.encode()) > MAX_BODY_BYTES


class Payloads:
    """Stores bodies that are too large for SQS in a bucket that the functions may read."""

    def __init__(self, target: Target, bucket: str | None = None) -> None:
        """`bucket` is one of the deployment's `payload_buckets`; the default is the first.

        Raises:
            CliError: the functions could not read the bucket.
        """
        if bucket is not None and bucket not in target.payload_buckets:
            there = ", ".join(target.payload_buckets) or "none"
            raise CliError(
                f"The bucket {bucket} is not among this deployment's payload_buckets ({there}), "
                "so the functions cannot read it: add it and deploy, or name another."
            )
        self._target = target
        self._named = bucket

    @property
    def _bucket(self) -> str | None:
        return self._named or next(iter(self._target.payload_buckets), None)

    def store(self, document: Document) -> None:
        """Store a large body under a key made from it: stored twice, it exists once.

        Raises:
            CliError: there is no bucket, or it does not take the body.
        """
        if not is_large(document):
            return
        content = document.body.encode()
        if self._bucket is None:
            raise CliError(
                f"{document.place} has {len(content)} bytes, too many for SQS, and this deployment "
                "names no payload_buckets: add one and deploy."
            )
        try:
            self._target.s3.put_object(
                Bucket=self._bucket, Key=_key(content), Body=content, ContentType="application/json"
            )
        except ClientError as error:
            raise CliError(
                f"{document.place}: the bucket {self._bucket} does not take its body: "
                f"{aws_code(error)}."
            ) from error

    def outgoing(self, document: Document) -> Outgoing:
        """Return the document as a message: itself, or the pointer to what was stored."""
        if not is_large(document):
            return Outgoing(document.job_id, document.body, {})
        location = {"s3BucketName": self._bucket, "s3Key": _key(document.body.encode())}
        # If the body cannot be read, the submitter finds the job by this.
        job_id: MessageAttributeValueTypeDef = {
            "DataType": "String",
            "StringValue": document.job_id,
        }
        return Outgoing(document.job_id, json.dumps([_POINTER, location]), {OWN_JOB_ID: job_id})


def _key(content: bytes) -> str:
    return f"reportflow-payloads/{hashlib.sha256(content).hexdigest()}.json"
