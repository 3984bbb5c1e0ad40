"""A program that drives the system from outside: it knows the state file, and nothing else."""

import json
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import boto3

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

INVOICE = "550e8400-e29b-41d4-a716-446655440000"
ENDED = ("ARCHIVED", "FAILED")


def body(job_id: str | None = None, **changes: Any) -> dict[str, Any]:
    """A good message; `changes` replace its fields."""
    message: dict[str, Any] = {
        "designId": INVOICE,
        "version": 1,
        "content": {"fileName": "invoice.pdf", "params": {"customerName": job_id, "amount": 10}},
        **changes,
    }
    return message if job_id is None else {"jobId": job_id, **message}


def new_id(label: str) -> str:
    """A job id that no other test has."""
    return f"{label}-{uuid4().hex[:12]}"


def until[T](look: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first thing that `look` finds; fails when there is none in time.

    The time is for a machine that is busy with other things, and no test waits for its end.
    """
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


class Driver:
    """What upstream systems and operators can do with what the state file says."""

    def __init__(self, state: Mapping[str, str]) -> None:
        self.state = state
        self.sqs: SQSClient = self._client("sqs")
        self.s3: S3Client = self._client("s3")
        self.dynamodb: DynamoDBClient = self._client("dynamodb")
        self.events: EventBridgeClient = self._client("events")

    def _client(self, service: Literal["sqs", "s3", "dynamodb", "events"]) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.state["aws_endpoint_url"],
            region_name=self.state["region"],
            aws_access_key_id="driver",
            aws_secret_access_key="driver",
        )

    def close(self) -> None:
        for client in (self.sqs, self.s3, self.dynamodb, self.events):
            client.close()

    def send(self, message: Mapping[str, Any] | str) -> str:
        """Send a message; its SQS message id."""
        text = message if isinstance(message, str) else json.dumps(message)
        queue = self.state["request_queue_url"]
        return self.sqs.send_message(QueueUrl=queue, MessageBody=text)["MessageId"]

    def job(self, job_id: str) -> dict[str, str] | None:
        """The job's record as text, None where there is none."""
        item = self.dynamodb.get_item(
            TableName=self.state["jobs_table"], Key={"jobId": {"S": job_id}}, ConsistentRead=True
        ).get("Item")
        if item is None:
            return None
        return {name: str(next(iter(value.values()))) for name, value in item.items()}

    def ended(
        self, job_id: str, seconds: float = 180, ends: Collection[str] = ENDED
    ) -> dict[str, str]:
        """The job's record once it has ended in one of these ways and that was published."""

        def look() -> dict[str, str] | None:
            job = self.job(job_id)
            ended = job and job["status"] in ends and "unannouncedAt" not in job
            return job if ended else None

        return until(look, seconds, f"the end of {job_id}, now {self.job(job_id)}")

    def dead_letter(
        self, queue: str, job_id: str, error_code: str | None = None, seconds: float = 60
    ) -> "MessageTypeDef":
        """The job's message in a dead-letter queue; it and the others stay there.

        With an `error_code` the one for this reason: a job whose function died before it wrote the
        table has one for each attempt.
        """

        def look() -> "MessageTypeDef | None":
            received = self.sqs.receive_message(
                QueueUrl=self.state[queue],
                MaxNumberOfMessages=10,
                VisibilityTimeout=1,
                MessageAttributeNames=["All"],
            )
            for message in received.get("Messages", []):
                reason = {n: a["StringValue"] for n, a in message["MessageAttributes"].items()}
                if reason["jobId"] == job_id and error_code in {None, reason["errorCode"]}:
                    return message
            return None

        return until(look, seconds, f"{job_id} in {queue}")

    def messages_left(self, queue: str) -> int:
        """How many messages a queue holds: to be received, in flight or delayed."""
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.state[queue], AttributeNames=["All"]
        )["Attributes"]
        counts = (
            attributes["ApproximateNumberOfMessages"],
            attributes["ApproximateNumberOfMessagesNotVisible"],
            attributes["ApproximateNumberOfMessagesDelayed"],
        )
        return sum(map(int, counts))

    def redrive(self, dead_letter_queue: str, queue: str, job_id: str) -> str:
        """Send a job's dead letter back as SQS's redrive does; its new message id."""
        dead = self.dead_letter(dead_letter_queue, job_id)
        attributes = dead["MessageAttributes"]
        sent = self.sqs.send_message(
            QueueUrl=self.state[queue], MessageBody=dead["Body"], MessageAttributes=attributes
        )
        self.sqs.delete_message(
            QueueUrl=self.state[dead_letter_queue], ReceiptHandle=dead["ReceiptHandle"]
        )
        return sent["MessageId"]

    def objects(self, job_id: str) -> list[str]:
        """All versions of all objects of a job: an object written twice counts twice."""
        pages = self.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.state["archive_bucket"]
        )
        keys = [version["Key"] for page in pages for version in page.get("Versions", [])]
        return [key for key in keys if key.split("/")[4] == job_id]


def descendants(pid: int) -> set[int]:
    """The ids of all processes that a process has started, directly or not."""
    found = set[int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found |= {child} | descendants(child)
    return found
