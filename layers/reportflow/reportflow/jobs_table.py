"""The jobs table in DynamoDB: one item a job, and one kind of write."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from botocore.exceptions import ClientError

from reportflow import aws
from reportflow.contract.workspace import former_reference
from reportflow.jobs import Job, JobStatus, Verdict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = Mapping[str, Mapping[str, Any]]

type Rule = Callable[[Job | None], Job | Verdict]
"""One of `reportflow.jobs`' rules with its fact."""

BY_FILE_ID: Final = "byFileId"
BY_STATUS: Final = "byStatus"

_ATTRIBUTES: Final = {
    field.name: "".join(
        part if number == 0 else part.capitalize()
        for number, part in enumerate(field.name.split("_"))
    )
    for field in fields(Job)
}
_MOMENTS: Final = {field.name for field in fields(Job) if "datetime" in str(field.type)}


class JobsTable:
    """Reads consistently, and writes only on what was read (compare-and-set).

    Times are ISO 8601 in UTC with milliseconds, so that they sort as text; `expiresAt`, the TTL,
    is in epoch seconds. Attributes that this version does not know stay as they are.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, ttl_days: int) -> None:
        self._client = client
        self._table = table
        self._ttl = timedelta(days=ttl_days)

    def expiry(self, now: datetime) -> int:
        """When DynamoDB may delete a job that reaches its final state now."""
        return int((now + self._ttl).timestamp())

    def get(self, job_id: str) -> Job | None:
        """The job's record, or None.

        Raises:
            Retryable: DynamoDB does not answer, or refuses.
        """
        with aws.translated("dynamodb:GetItem"):
            item = self._client.get_item(
                TableName=self._table, Key={"jobId": {"S": job_id}}, ConsistentRead=True
            ).get("Item")
        return None if item is None else _job(item)

    def change(
        self, job_id: str, read: Job | None, rule: Rule, now: datetime
    ) -> tuple[Job | None, Verdict | None]:
        """Apply the rule to the record as `read`, or as it is if somebody has written since.

        Returns the record as it now is, and the rule's verdict if it changed nothing.

        Raises:
            Retryable: DynamoDB does not answer, or refuses.
        """
        while True:
            wanted = rule(read)
            if isinstance(wanted, Verdict):
                return read, wanted
            if wanted == read:
                return read, None
            # As DynamoDB keeps it, with milliseconds.
            wanted = _job(_item(replace(wanted, write_id=uuid4().hex, updated_at=now)))
            current = self._write(job_id, read, wanted)
            # If the SDK repeated a write whose answer was lost, the record is what it wrote.
            if current is not None and current.write_id == wanted.write_id:
                return current, None
            read = current

    def _write(self, job_id: str, read: Job | None, wanted: Job) -> Job | None:
        """Write what changed, unless the record is no longer as `read`; returns it as it now is."""
        before, after = _item(read) if read else {}, _item(wanted)
        changed = [name for name in after if after[name] != before.get(name) and name != "jobId"]
        removed = [name for name in before if name not in after]
        condition, values = _as_read(read)
        update = "SET " + ", ".join(f"#{name} = :{name}" for name in changed)
        if removed:
            update += " REMOVE " + ", ".join(f"#{name}" for name in removed)
        with aws.translated("dynamodb:UpdateItem"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key={"jobId": {"S": job_id}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={f"#{name}": name for name in [*changed, *removed]},
                    ExpressionAttributeValues={
                        **{f":{name}": after[name] for name in changed},
                        **values,
                    },
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if aws.code_of(error) != "ConditionalCheckFailedException":
                    raise
                item = cast("Item", error.response.get("Item", {}))
                return _job(item) if item else None
        return wanted

    def find_by_file_id(self, file_id: str, request_digest: str = "") -> Job | None:
        """The job that ReportFlow's file belongs to, or None while no record says so.

        Of several, the one whose document has this digest: an answer may have gone to another job.
        """
        named = self._with_file(file_id)
        return max(named, key=lambda job: job.request_digest == request_digest, default=None)

    def shares_file(self, job: Job) -> bool:
        """Whether the record of another document's job names the same file."""
        named = self._with_file(job.file_id)
        return any(other.request_digest != job.request_digest for other in named)

    def _with_file(self, file_id: str) -> list[Job]:
        """The index lags behind the table; the records themselves are read consistently."""
        with aws.translated("dynamodb:Query"):
            found = self._client.query(
                TableName=self._table,
                IndexName=BY_FILE_ID,
                KeyConditionExpression="fileId = :file",
                ExpressionAttributeValues={":file": {"S": file_id}},
            )["Items"]
        jobs = [self.get(item["jobId"]["S"]) for item in found]
        return [job for job in jobs if job is not None and job.file_id == file_id]

    def find_unanswered(self, request_digest: str, now: datetime) -> Job | None:
        """A job of this document whose submission may have been taken without an answer.

        None while such a job's lease is alive: its answer may still come. All jobs that are being
        submitted are read: those of this moment, and the unanswered.
        """
        with aws.translated("dynamodb:Query"):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=BY_STATUS,
                KeyConditionExpression="#status = :status",
                FilterExpression="requestDigest = :digest",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":status": {"S": JobStatus.SUBMITTING},
                    ":digest": {"S": request_digest},
                },
            )
            found = [item["jobId"]["S"] for page in pages for item in page["Items"]]
        leased = [
            job
            for job in map(self.get, found)
            if job is not None
            and job.status is JobStatus.SUBMITTING
            and job.request_digest == request_digest
            and job.lease_owner
        ]
        if any(job.is_leased(now) for job in leased):
            return None
        return leased[0] if leased else None


def _as_read(read: Job | None) -> tuple[str, dict[str, dict[str, str]]]:
    """The condition of a write: the record is still the one that was read."""
    if read is None:
        return "attribute_not_exists(jobId)", {}
    if read.write_id:
        return "writeId = :read", {":read": {"S": read.write_id}}
    # A version before 1.0 wrote it last.
    updated = _text(read.updated_at) if read.updated_at else ""
    return "attribute_not_exists(writeId) AND updatedAt = :read", {":read": {"S": updated}}


def _item(job: Job) -> dict[str, dict[str, str]]:
    item = {}
    for name, attribute in _ATTRIBUTES.items():
        value = getattr(job, name)
        if isinstance(value, datetime):
            item[attribute] = {"S": _text(value)}
        elif isinstance(value, str) and value:
            item[attribute] = {"S": str(value)}
        elif value:
            item[attribute] = {"N": str(value)}
    return item


def _job(item: Item) -> Job:
    values: dict[str, Any] = {}
    for name, attribute in _ATTRIBUTES.items():
        if attribute in item:
            [(kind, text)] = item[attribute].items()
            values[name] = int(text) if kind == "N" else text
            if name in _MOMENTS:
                values[name] = datetime.fromisoformat(text)
    if values.get("file_id") and "file_reference" not in values:
        # A version before 1.0 wrote it.
        values["file_reference"] = former_reference(item)
    return Job(**{**values, "status": JobStatus(values["status"])})


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
