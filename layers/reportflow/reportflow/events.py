"""`PDF Archived` and `PDF Failed` on EventBridge: each final state of a job, at least once."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from reportflow import aws
from reportflow.contract.document import JsonObject
from reportflow.errors import Retryable
from reportflow.jobs import Job, JobStatus, published
from reportflow.jobs_table import JobsTable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "reportflow"

_EVENT_IDS: Final = uuid.UUID("7d8a2c52-6f0e-4d55-9d0b-2f6f1c0e8b1a")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class FinalState(msgspec.Struct, frozen=True, rename="camel"):
    """What both details have."""

    event_id: str
    job_id: str
    design_id: str
    version: int
    file_name: str
    metadata: JsonObject
    passthrough: JsonObject
    requested_at: Moment
    possible_duplicates: int


class PdfArchived(FinalState, frozen=True, rename="camel"):
    """Detail of `PDF Archived`: the PDF is in the archive.

    `event_id` is the same whenever this state is published again. `metadata` and `passthrough` are
    what upstream sent. `possible_duplicates` counts submissions whose answer was lost and which
    were repeated.
    """

    archived_at: Moment
    bucket: str
    key: str
    version_id: str
    size: int
    sha256: str


class PdfFailed(FinalState, frozen=True, rename="camel"):
    """Detail of `PDF Failed`: the message is in a dead-letter queue, with the same reason.

    What could not be read of a message is empty. A job that is sent again may fail again, with
    another `event_id`, or be archived.
    """

    failed_at: Moment
    error_code: str
    error_message: str
    failed_step: str


DETAIL_TYPES: Final[dict[type[FinalState], str]] = {
    PdfArchived: "PDF Archived",
    PdfFailed: "PDF Failed",
}


class Outbox:
    """Publishes a job's final state once its record has it.

    The record keeps `unannounced_at` until the event bus has taken the event; the message that
    brought the job to its final state is not acknowledged before.
    """

    def __init__(
        self,
        jobs: JobsTable,
        client: "Callable[[], EventBridgeClient]",
        bus_name: str,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """`client` is called when the first job reaches its final state."""
        self._jobs = jobs
        self._client = client
        self._bus_name = bus_name
        self._clock = clock

    def publish(self, job: Job) -> None:
        """Publish the job's final state, unless its record says that it was done.

        Raises:
            Retryable: the bus or the table did not answer; publishing twice does no harm.
        """
        if job.unannounced_at is not None:
            self._send(detail_of(job), job.unannounced_at)
            # The job is as it was. An unchanged time leaves an index as it is: two writes less.
            now = job.updated_at or self._clock()
            self._jobs.change(job.job_id, job, partial(published, read=job), now)

    def _send(self, detail: PdfArchived | PdfFailed, at: datetime) -> None:
        with aws.translated("events:PutEvents"):
            answer = self._client().put_events(
                Entries=[
                    {
                        "EventBusName": self._bus_name,
                        "Source": SOURCE,
                        "DetailType": DETAIL_TYPES[type(detail)],
                        "Detail": msgspec.json.encode(detail).decode(),
                        "Time": at,
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "Unknown")
            raise Retryable(f"AWS_{code}", f"events:PutEvents was refused with {code}")


def detail_of(job: Job) -> PdfArchived | PdfFailed:
    """The event of a job's final state; the same state has the same `event_id`."""
    at = (job.unannounced_at or job.created_at).astimezone(UTC)
    common: dict[str, Any] = {
        "event_id": str(uuid.uuid5(_EVENT_IDS, f"{job.job_id}/{job.status}/{at.isoformat()}")),
        "job_id": job.job_id,
        "design_id": job.design_id,
        "version": job.version,
        "file_name": job.file_name,
        "metadata": msgspec.Raw((job.metadata or "{}").encode()),
        "passthrough": msgspec.Raw((job.passthrough or "{}").encode()),
        "requested_at": job.created_at,
        "possible_duplicates": job.possible_duplicates,
    }
    if job.status is JobStatus.ARCHIVED:
        return PdfArchived(
            **common,
            archived_at=at,
            bucket=job.archive_bucket,
            key=job.archive_key,
            version_id=job.archive_version_id,
            size=job.size,
            sha256=job.sha256,
        )
    return PdfFailed(
        **common,
        failed_at=at,
        error_code=job.error_code,
        error_message=job.error_message,
        failed_step=job.failed_step,
    )
