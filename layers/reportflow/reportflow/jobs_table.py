"""The jobs table in DynamoDB."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from reportflow import aws
from reportflow.errors import PipelineError
from reportflow.jobs import ArchivedFile, Ending, Failure, Job, JobStatus, Lease, Step
from reportflow.messages import GenerationRequest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Item = Mapping[str, Mapping[str, Any]]

BY_FILE_ID: Final = "byFileId"
BY_STATUS: Final = "byStatus"
MAX_REASON_CHARACTERS: Final = 1000

_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)

_LEASE: Final = "leaseOwner, leaseExpiresAt"
_UNDER_LEASE: Final = "#status = :submitting AND leaseOwner = :owner AND leaseExpiresAt = :lease"
_UNLEASED: Final = "#status = :submitting AND attribute_not_exists(leaseOwner)"
_NOT_DOUBTFUL: Final = "(attribute_not_exists(doubtfulFileId) OR doubtfulFileId <> :file)"
_AS_DOUBTFUL: Final = "doubtfulFileId = :file"
_WITH_FILE: Final = "#status IN (:submitted, :failed) AND fileId = :file"


class _ConditionFailed(Exception):
    """The record is not in the state that the write leaves; `item` is what stands there."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


class JobsTable:
    """`reportflow.jobs.Jobs` on one DynamoDB table.

    Times are ISO 8601 in UTC with milliseconds, so that they sort as text; `expiresAt`, the TTL,
    is in epoch seconds and stands on ended jobs only.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, ttl_days: int) -> None:
        self._client = client
        self._table = table
        self._ttl = timedelta(days=ttl_days)

    def claim(
        self, job_id: str, request: GenerationRequest, message_id: str, lease: Lease, now: datetime
    ) -> Job:
        """See `Jobs.claim`."""
        try:
            item = self._update(
                job_id,
                now,
                "SET #status = :submitting, designId = :design, version = :version,"
                " fileName = :file, requestDigest = :digest, metadata = :metadata,"
                " messageId = :message, leaseOwner = :owner, leaseExpiresAt = :lease,"
                " createdAt = if_not_exists(createdAt, :now),"
                " begunAt = if_not_exists(begunAt, :now), submittingAt = :now"
                " REMOVE errorCode, errorMessage, failedStep, failedAt, expiresAt, unannouncedAt,"
                " fileId, #url, #uuid, submittedAt, webhookAt",
                "attribute_not_exists(jobId)"
                " OR (#status = :failed"
                " AND (attribute_not_exists(messageId) OR messageId <> :message))"
                " OR (#status = :submitting"
                " AND attribute_not_exists(leaseOwner) AND requestDigest = :digest)",
                {
                    ":submitting": JobStatus.SUBMITTING,
                    ":failed": JobStatus.FAILED,
                    ":design": request.design_id,
                    ":version": request.version,
                    ":file": request.content.file_name,
                    ":digest": request.digest,
                    ":metadata": request.metadata_json(),
                    ":message": message_id,
                    ":owner": lease.owner,
                    ":lease": _text(lease.expires_at),
                },
                names={"#url": "url", "#uuid": "uuid"},
            )
        except _ConditionFailed as refused:
            item = refused.item
        return _job(item)

    def take_over(self, job: Job, lease: Lease, now: datetime) -> bool:
        """See `Jobs.take_over`."""
        return self._try_update(
            job.job_id,
            now,
            "SET leaseOwner = :new_owner, leaseExpiresAt = :new_lease, submittingAt = :now"
            " ADD possibleDuplicates :one",
            _UNDER_LEASE,
            {
                **_under_lease(job),
                ":new_owner": lease.owner,
                ":new_lease": _text(lease.expires_at),
                ":one": 1,
            },
        )

    def give_back(self, job: Job, now: datetime, *, costs_retry: bool) -> None:
        """See `Jobs.give_back`."""
        self._try_update(
            job.job_id,
            now,
            f"ADD failedAttempts :count REMOVE {_LEASE}",
            _UNDER_LEASE,
            {**_under_lease(job), ":count": int(costs_retry)},
        )

    def unanswered(self, job: Job, now: datetime) -> None:
        """See `Jobs.unanswered`."""
        self._try_update(
            job.job_id,
            now,
            "SET leaseExpiresAt = :now, outcomeUnknownAt = :now",
            _UNDER_LEASE,
            _under_lease(job),
        )

    def submitted(self, job: Job, file_id: str, url: str, now: datetime) -> bool:
        """See `Jobs.submitted`."""
        return self._try_update(
            job.job_id,
            now,
            "SET #status = :submitted, fileId = :file, #url = :url, submittedAt = :now"
            f" REMOVE failedAttempts, {_LEASE}",
            _UNDER_LEASE,
            {
                **_under_lease(job),
                ":submitted": JobStatus.SUBMITTED,
                ":file": file_id,
                ":url": url,
            },
            names={"#url": "url"},
        )

    def find_by_file_id(self, file_id: str, request_digest: str = "") -> Job | None:
        """See `Jobs.find_by_file_id`."""
        named = self._with_file(file_id)
        return max(named, key=lambda job: job.request_digest == request_digest, default=None)

    def shares_file(self, job: Job) -> bool:
        """See `Jobs.shares_file`."""
        named = self._with_file(job.file_id or "")
        return any(other.request_digest != job.request_digest for other in named)

    def _with_file(self, file_id: str) -> list[Job]:
        """The jobs with this file: one, unless an answer went to another job.

        The index lags behind the table; the records themselves are read consistently.
        """
        with aws.translated("dynamodb:Query"):
            found = self._client.query(
                TableName=self._table,
                IndexName=BY_FILE_ID,
                KeyConditionExpression="fileId = :file",
                ExpressionAttributeValues={":file": {"S": file_id}},
            )["Items"]
        jobs = [self.get(item["jobId"]["S"]) for item in found]
        return [job for job in jobs if job is not None and job.file_id == file_id]

    def get(self, job_id: str) -> Job | None:
        """See `Jobs.get`."""
        item = self._get(job_id)
        return None if item is None else _job(item)

    def _get(self, job_id: str) -> Item | None:
        with aws.translated("dynamodb:GetItem"):
            return self._client.get_item(
                TableName=self._table, Key={"jobId": {"S": job_id}}, ConsistentRead=True
            ).get("Item")

    def find_unanswered(self, request_digest: str, now: datetime) -> Job | None:
        """See `Jobs.find_unanswered`.

        The index lags behind the table; the records themselves are read consistently.
        """
        leased = [
            (job, job.lease.expires_at)
            for job in self._find(JobStatus.SUBMITTING, "requestDigest", request_digest)
            if job.request_digest == request_digest and job.lease is not None
        ]
        if any(expires_at > now for _, expires_at in leased):
            return None
        return leased[0][0] if leased else None

    def find_begun(self, message_id: str, since: datetime) -> Job | None:
        """See `Jobs.find_begun`. The index lags behind the table."""
        found = chain(
            self._find(JobStatus.SUBMITTING, "messageId", message_id),
            self._find(JobStatus.SUBMITTED, "messageId", message_id, since),
            self._find(JobStatus.FAILED, "messageId", message_id, since),
        )
        return next((job for job in found if job.message_id == message_id), None)

    def _find(
        self,
        status: JobStatus,
        attribute: str,
        value: str,
        since: datetime = _EVER,
    ) -> Iterator[Job]:
        """The jobs in this state with this value that were written `since`, as they stand.

        All jobs in the state are looked through: in `SUBMITTING` those of this very moment, and the
        unanswered.
        """
        with aws.translated("dynamodb:Query"):
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=BY_STATUS,
                KeyConditionExpression="#status = :status AND updatedAt >= :since",
                FilterExpression=f"{attribute} = :value",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":status": {"S": status},
                    ":since": {"S": _text(since)},
                    ":value": {"S": value},
                },
            )
            found = [item["jobId"]["S"] for page in pages for item in page["Items"]]
        for job_id in found:
            job = self.get(job_id)
            if job is not None and job.status is status:
                yield job

    def adopt(self, job: Job, file_id: str, uuid: str, now: datetime) -> bool:
        """See `Jobs.adopt`."""
        return self._try_update(
            job.job_id,
            now,
            "SET #status = :submitted, fileId = :file, #uuid = :uuid, submittedAt = :now"
            f" REMOVE failedAttempts, {_LEASE}",
            _UNDER_LEASE,
            {
                **_under_lease(job),
                ":submitted": JobStatus.SUBMITTED,
                ":file": file_id,
                ":uuid": uuid,
            },
            names={"#uuid": "uuid"},
        )

    def count_retry(self, job: Job, now: datetime) -> None:
        """See `Jobs.count_retry`."""
        unchanged = "failedAttempts = :before"
        if not job.failed_attempts:
            unchanged = f"(attribute_not_exists(failedAttempts) OR {unchanged})"
        self._try_update(
            job.job_id,
            now,
            "SET failedAttempts = :after",
            f"{_WITH_FILE} AND {unchanged}",
            {
                **_with_file(job),
                ":before": job.failed_attempts,
                ":after": job.failed_attempts + 1,
            },
        )

    def doubt_file(self, job: Job, now: datetime) -> None:
        """See `Jobs.doubt_file`."""
        self._try_update(job.job_id, now, "SET doubtfulFileId = :file", _WITH_FILE, _with_file(job))

    def webhook_waits(self, job: Job, now: datetime) -> None:
        """See `Jobs.webhook_waits`."""
        self._try_update(
            job.job_id,
            now,
            "SET webhookAt = :now",
            "#status = :submitted AND fileId = :file AND attribute_not_exists(webhookAt)",
            {":submitted": JobStatus.SUBMITTED, ":file": job.file_id or ""},
        )

    def archived(self, job: Job, file: ArchivedFile, now: datetime) -> bool:
        """See `Jobs.archived`."""
        return self._try_update(
            job.job_id,
            now,
            "SET #status = :archived, archiveBucket = :bucket, archiveKey = :key,"
            " archiveVersionId = :version, #size = :size, sha256 = :sha256, archivedAt = :now,"
            " unannouncedAt = :now, expiresAt = :expires, fileId = :stored"
            " REMOVE failedAttempts, errorCode, errorMessage, failedStep, failedAt",
            f"{_WITH_FILE} AND {_AS_DOUBTFUL if job.file_is_in_doubt else _NOT_DOUBTFUL}",
            {
                **_with_file(job),
                ":archived": JobStatus.ARCHIVED,
                ":bucket": file.bucket,
                ":key": file.key,
                ":version": file.version_id,
                ":size": file.size,
                ":sha256": file.sha256,
                ":stored": file.file_id,
                ":expires": self._expiry(now),
            },
            names={"#size": "size"},
        )

    def rejected(self, job_id: str, error: PipelineError, now: datetime) -> bool:
        """See `Jobs.rejected`."""
        return self._fail(job_id, error, Step.SUBMIT, now, "attribute_not_exists(jobId)", {})

    def failed(self, job: Job, error: PipelineError, step: Step, now: datetime) -> bool:
        """See `Jobs.failed`."""
        if job.status is JobStatus.SUBMITTED:
            condition = "#status = :submitted AND fileId = :file"
            values = {":submitted": JobStatus.SUBMITTED, ":file": job.file_id or ""}
            return self._fail(job.job_id, error, step, now, condition, values)
        if job.status is JobStatus.FAILED:
            # Of deliveries that fail side by side, one ends the job: each end is announced.
            condition = "#status = :failed AND fileId = :file AND failedAt = :before"
            before = _text(job.failed_at) if job.failed_at else ""
            values = {":file": job.file_id or "", ":before": before}
            return self._fail(job.job_id, error, step, now, condition, values)
        if job.lease is not None:
            return self._fail(job.job_id, error, step, now, _UNDER_LEASE, _under_lease(job))
        return self._fail(
            job.job_id, error, step, now, _UNLEASED, {":submitting": JobStatus.SUBMITTING}
        )

    def unannounced(self, job_id: str) -> Ending | None:
        """See `Jobs.unannounced`."""
        item = self._get(job_id)
        return _ending(item) if item is not None and "unannouncedAt" in item else None

    def announced(self, ending: Ending, now: datetime) -> None:
        """See `Jobs.announced`."""
        self._try_update(
            ending.job.job_id,
            now,
            "REMOVE unannouncedAt",
            "#status = :status AND unannouncedAt = :ended",
            {":status": ending.job.status, ":ended": _text(ending.ended_at)},
        )

    def _fail(
        self,
        job_id: str,
        error: PipelineError,
        step: Step,
        now: datetime,
        condition: str,
        values: Mapping[str, str],
    ) -> bool:
        return self._try_update(
            job_id,
            now,
            "SET #status = :failed, errorCode = :code, errorMessage = :message,"
            " failedStep = :step, failedAt = :now, unannouncedAt = :now, expiresAt = :expires,"
            " createdAt = if_not_exists(createdAt, :now)"
            f" REMOVE failedAttempts, begunAt, {_LEASE}",
            condition,
            {
                ":failed": JobStatus.FAILED,
                ":code": error.code,
                ":message": error.message[:MAX_REASON_CHARACTERS],
                ":step": step,
                ":expires": self._expiry(now),
                **values,
            },
        )

    def _expiry(self, now: datetime) -> int:
        return int((now + self._ttl).timestamp())

    def _try_update(
        self,
        job_id: str,
        now: datetime,
        update: str,
        condition: str,
        values: Mapping[str, str | int],
        names: Mapping[str, str] | None = None,
    ) -> bool:
        try:
            self._update(job_id, now, update, condition, values, names)
        except _ConditionFailed:
            return False
        return True

    def _update(
        self,
        job_id: str,
        now: datetime,
        update: str,
        condition: str,
        values: Mapping[str, str | int],
        names: Mapping[str, str] | None = None,
    ) -> Item:
        """One conditional write; `:now` and `updatedAt` are added to what is given.

        Raises:
            _ConditionFailed: with the record as it stands.
        """
        set_clause = (
            "SET updatedAt = :now, " if update.startswith("SET ") else "SET updatedAt = :now "
        )
        with aws.translated("dynamodb:UpdateItem"):
            try:
                return self._client.update_item(
                    TableName=self._table,
                    Key={"jobId": {"S": job_id}},
                    UpdateExpression=set_clause + update.removeprefix("SET "),
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#status": "status", **(names or {})},
                    ExpressionAttributeValues={
                        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
                        for name, value in {**values, ":now": _text(now)}.items()
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )["Attributes"]
            except ClientError as error:
                if aws.code_of(error) != "ConditionalCheckFailedException":
                    raise
                raise _ConditionFailed(cast("Item", error.response.get("Item", {}))) from None


def _under_lease(job: Job) -> dict[str, str]:
    """Values of `_UNDER_LEASE`; a job without a lease meets no condition on one."""
    return {
        ":submitting": JobStatus.SUBMITTING,
        ":owner": job.lease.owner if job.lease else "",
        ":lease": _text(job.lease.expires_at) if job.lease else "",
    }


def _with_file(job: Job) -> dict[str, str]:
    """Values of `_WITH_FILE`."""
    return {
        ":submitted": JobStatus.SUBMITTED,
        ":failed": JobStatus.FAILED,
        ":file": job.file_id or "",
    }


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _string(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _number(item: Item, name: str) -> int:
    return int(item.get(name, {}).get("N", 0))


def _moment(item: Item, name: str) -> datetime:
    return datetime.fromisoformat(_string(item, name))


def _job(item: Item) -> Job:
    owner = _string(item, "leaseOwner")
    return Job(
        job_id=_string(item, "jobId"),
        status=JobStatus(_string(item, "status")),
        created_at=_moment(item, "createdAt"),
        message_id=_string(item, "messageId"),
        design_id=_string(item, "designId"),
        version=_number(item, "version"),
        file_name=_string(item, "fileName"),
        request_digest=_string(item, "requestDigest"),
        file_id=_string(item, "fileId") or None,
        url=_string(item, "url"),
        uuid=_string(item, "uuid"),
        submitted_at=_moment(item, "submittedAt") if "submittedAt" in item else None,
        failed_at=_moment(item, "failedAt") if "failedAt" in item else None,
        error_code=_string(item, "errorCode"),
        lease=Lease(owner, _moment(item, "leaseExpiresAt")) if owner else None,
        failed_attempts=_number(item, "failedAttempts"),
        possible_duplicates=_number(item, "possibleDuplicates"),
        webhook_came="webhookAt" in item or "uuid" in item,
        announced="unannouncedAt" not in item,
        doubtful_file_id=_string(item, "doubtfulFileId"),
    )


def _ending(item: Item) -> Ending:
    job = _job(item)
    result: ArchivedFile | Failure
    if job.status is JobStatus.ARCHIVED:
        result = ArchivedFile(
            job.file_id or "",
            _string(item, "archiveBucket"),
            _string(item, "archiveKey"),
            _string(item, "archiveVersionId"),
            _number(item, "size"),
            _string(item, "sha256"),
        )
    else:
        result = Failure(
            _string(item, "errorCode"), _string(item, "errorMessage"), _string(item, "failedStep")
        )
    metadata = _string(item, "metadata") or "{}"
    return Ending(job, _moment(item, "unannouncedAt"), metadata, result)
