"""The jobs table in DynamoDB: one item a job, and one kind of write."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

import msgspec
from botocore.exceptions import ClientError
from msgspec.structs import replace

from reportflow import aws
from reportflow.contract.workspace import former_reference
from reportflow.jobs import FINAL, Job, Verdict

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = Mapping[str, Mapping[str, Any]]

type Rule = Callable[[Job | None], Job | Verdict]
"""One of `reportflow.jobs`' rules with its fact."""

BY_FILE_ID: Final = "byFileId"
BY_LEASED_DIGEST: Final = "byLeasedDigest"
BY_STATUS: Final = "byStatus"

MAX_FOUND: Final = 25
"""Jobs that one search looks at: so many share a file or a lost document's digest at most."""


class JobsTable:
    """Reads consistently, and writes only on what was read (compare-and-set).

    Times are ISO 8601 in UTC with milliseconds, so that they sort as text; `expiresAt`, the TTL,
    is in epoch seconds. Attributes that this version does not know stay as they are.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, ttl_days: int) -> None:
        self._client = client
        self._table = table
        self._ttl = timedelta(days=ttl_days)

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
            expiry = int((now + self._ttl).timestamp()) if wanted.status in FINAL else 0
            wanted = replace(wanted, write_id=uuid4().hex, updated_at=now, expires_at=expiry)
            current = self._write(job_id, read, wanted)
            # If the SDK repeated a write whose answer was lost, the record is what it wrote.
            if current is not None and current.write_id == wanted.write_id:
                return current, None
            read = current

    def _write(self, job_id: str, read: Job | None, wanted: Job) -> Job | None:
        """Write what changed, unless the record is no longer as `read`; returns it as it now is."""
        before, after = _item(read) if read else {}, _item(wanted)
        changed = {name: value for name, value in after.items() if value != before.get(name)}
        # A key is never written.
        changed.pop("jobId", None)
        removed = before.keys() - after.keys()
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
                    ExpressionAttributeValues=values
                    | {f":{name}": value for name, value in changed.items()},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if aws.code_of(error) != "ConditionalCheckFailedException":
                    raise
                item = cast("Item", error.response.get("Item", {}))
                return _job(item) if item else None
        # As DynamoDB keeps it, with milliseconds.
        return _job(after)

    def find_by_file_id(self, file_id: str, request_digest: str = "") -> Job | None:
        """The job that ReportFlow's file belongs to, or None while no record says so.

        Of several, the one whose document has this digest: an answer may have gone to another job.
        """
        named = self._with("fileId", file_id, BY_FILE_ID)
        return max(named, key=lambda job: job.request_digest == request_digest, default=None)

    def shares_file(self, job: Job) -> bool:
        """Whether the record of another document's job names the same file."""
        named = self._with("fileId", job.file_id, BY_FILE_ID)
        return any(other.request_digest != job.request_digest for other in named)

    def find_unanswered(self, request_digest: str, now: datetime) -> Job | None:
        """A job of this document whose submission may have been taken without an answer.

        None while such a job's lease is alive: its answer may still come.
        """
        leased = self._with("leasedDigest", request_digest, BY_LEASED_DIGEST)
        return leased[0] if leased and not any(job.is_leased(now) for job in leased) else None

    def _with(self, attribute: str, value: str, index: str) -> list[Job]:
        """The jobs that the index finds, as far as it has them: it lags behind the table."""
        with aws.translated("dynamodb:Query"):
            found = self._client.query(
                TableName=self._table,
                IndexName=index,
                KeyConditionExpression="#name = :value",
                ExpressionAttributeNames={"#name": attribute},
                ExpressionAttributeValues={":value": {"S": value}},
                Limit=MAX_FOUND,
            )["Items"]
        jobs = [self.get(item["jobId"]["S"]) for item in found]
        return [job for job in jobs if job and _item(job).get(attribute) == {"S": value}]


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
    plain = msgspec.to_builtins(job, builtin_types=(datetime,))
    return {name: _value(value) for name, value in plain.items()}


def _value(plain: str | int | datetime) -> dict[str, str]:
    if isinstance(plain, int):
        return {"N": str(plain)}
    return {"S": _text(plain) if isinstance(plain, datetime) else plain}


def _job(item: Item) -> Job:
    plain = {name: next(iter(value.values())) for name, value in item.items()}
    if "fileId" in plain and "fileReference" not in plain:
        # A version before 1.0 wrote it.
        plain["fileReference"] = former_reference(item)
    return msgspec.convert(plain, Job, strict=False)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
