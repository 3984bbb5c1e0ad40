"""The events of Lambda's SQS event source, and how it reads the response."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef


@dataclass(frozen=True)
class Batch:
    """The messages of one invocation and the event made of them."""

    messages: tuple["MessageTypeDef", ...]
    event: bytes


def batches(
    messages: Sequence["MessageTypeDef"], queue_arn: str, max_bytes: int
) -> Iterator[Batch]:
    """Makes one event of the messages, or several if one would be above `max_bytes`."""
    frame = len(_event([]))
    included: list[MessageTypeDef] = []
    records: list[bytes] = []
    size = frame
    for message in messages:
        record = _record(message, queue_arn)
        if records and size + len(record) + 1 > max_bytes:
            yield Batch(tuple(included), _event(records))
            included, records, size = [], [], frame
        included.append(message)
        records.append(record)
        size += len(record) + 1
    if records:
        yield Batch(tuple(included), _event(records))


def failed_messages(response: bytes, sent: frozenset[str]) -> frozenset[str]:
    """Reads a partial batch response: which of the message ids `sent` have failed.

    No list, or an empty one, means that none has. A malformed response fails the whole batch, for
    instance if it names a message that was not in it.
    """
    try:
        answer = json.loads(response)
    except ValueError:
        return sent
    match answer:
        case None | {"batchItemFailures": None}:
            return frozenset()
        case {"batchItemFailures": [*items]}:
            failed = [_item_identifier(item) for item in items]
            return frozenset(failed) if sent.issuperset(failed) else sent
        case {"batchItemFailures": _}:
            return sent
        case {}:
            return frozenset()
        case _:
            return sent


def _item_identifier(item: object) -> str:
    """The message id that an item names, or an empty text if it names none."""
    match item:
        case {"itemIdentifier": str(identifier)}:
            return identifier
        case _:
            return ""


def _event(records: Sequence[bytes]) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"


def _record(message: "MessageTypeDef", queue_arn: str) -> bytes:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    if digest := message.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = digest
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _attribute(value: "MessageAttributeValueOutputTypeDef") -> dict[str, object]:
    attribute: dict[str, object] = {"dataType": value["DataType"]}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    # SQS has no lists, and Lambda shows them as empty.
    return {**attribute, "stringListValues": [], "binaryListValues": []}
