"""`PDF Archived` and `PDF Failed` on EventBridge: each end of a job, at least once."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from reportflow import aws
from reportflow.errors import Retryable
from reportflow.jobs import ArchivedFile, Ending, Jobs
from reportflow.messages import JsonObject

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "reportflow"

_EVENT_IDS: Final = uuid.UUID("7d8a2c52-6f0e-4d55-9d0b-2f6f1c0e8b1a")


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class PdfArchived(msgspec.Struct, frozen=True, rename="camel"):
    """Detail of `PDF Archived`: the PDF lies in the archive.

    `event_id` is the same whenever this end is announced again. `metadata` is what upstream sent.
    `possible_duplicates` counts submissions whose answer was lost and which were repeated.
    """

    event_id: str
    job_id: str
    design_id: str
    version: int
    file_name: str
    metadata: JsonObject
    requested_at: Moment
    archived_at: Moment
    bucket: str
    key: str
    version_id: str
    size: int
    sha256: str
    possible_duplicates: int


class PdfFailed(msgspec.Struct, frozen=True, rename="camel"):
    """Detail of `PDF Failed`: the message lies in a dead-letter queue, with the same reason.

    What could not be read of a message is empty. A job that is sent again may fail again, with
    another `event_id`, or be archived.
    """

    event_id: str
    job_id: str
    design_id: str
    version: int
    file_name: str
    metadata: JsonObject
    requested_at: Moment
    failed_at: Moment
    error_code: str
    error_message: str
    failed_step: str
    possible_duplicates: int


DETAIL_TYPES: Final[dict[type[msgspec.Struct], str]] = {
    PdfArchived: "PDF Archived",
    PdfFailed: "PDF Failed",
}


class Bus(Protocol):
    """Where ends are announced."""

    def send(self, ending: Ending) -> None:
        """Announce the end, or raise `Retryable`."""


class Announcer:
    """Announces a job's end once its record says so.

    The record keeps the announcement until the bus has taken it; the message that brought the job
    to its end is not acknowledged before.
    """

    def __init__(self, jobs: Jobs, bus: Bus, *, clock: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._bus = bus
        self._clock = clock

    def announce(self, job_id: str) -> None:
        """Announce the job's end, unless that was done.

        Raises:
            Retryable: the bus or the table did not answer; announcing twice does no harm.
        """
        ending = self._jobs.unannounced(job_id)
        if ending is not None:
            self._bus.send(ending)
            self._jobs.announced(ending, self._clock())


class EventBridgeBus:
    """`Bus` on an event bus of EventBridge."""

    def __init__(self, client: "Callable[[], EventBridgeClient]", bus_name: str) -> None:
        """`client` is called when the first job ends."""
        self._client = client
        self._bus_name = bus_name

    def send(self, ending: Ending) -> None:
        """See `Bus.send`."""
        detail = detail_of(ending)
        with aws.translated("events:PutEvents"):
            answer = self._client().put_events(
                Entries=[
                    {
                        "EventBusName": self._bus_name,
                        "Source": SOURCE,
                        "DetailType": DETAIL_TYPES[type(detail)],
                        "Detail": msgspec.json.encode(detail).decode(),
                        "Time": ending.ended_at,
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            code = answer["Entries"][0].get("ErrorCode", "Unknown")
            raise Retryable(f"AWS_{code}", f"events:PutEvents was refused with {code}")


def detail_of(ending: Ending) -> PdfArchived | PdfFailed:
    """What is said of a job's end; the same end has the same `event_id`."""
    job, result = ending.job, ending.result
    ended_at = ending.ended_at.astimezone(UTC)
    event_id = str(uuid.uuid5(_EVENT_IDS, f"{job.job_id}/{job.status}/{ended_at.isoformat()}"))
    metadata = msgspec.Raw(ending.metadata.encode())
    if isinstance(result, ArchivedFile):
        return PdfArchived(
            event_id=event_id,
            job_id=job.job_id,
            design_id=job.design_id,
            version=job.version,
            file_name=job.file_name,
            metadata=metadata,
            requested_at=job.created_at,
            archived_at=ended_at,
            bucket=result.bucket,
            key=result.key,
            version_id=result.version_id,
            size=result.size,
            sha256=result.sha256,
            possible_duplicates=job.possible_duplicates,
        )
    return PdfFailed(
        event_id=event_id,
        job_id=job.job_id,
        design_id=job.design_id,
        version=job.version,
        file_name=job.file_name,
        metadata=metadata,
        requested_at=job.created_at,
        failed_at=ended_at,
        error_code=result.code,
        error_message=result.message,
        failed_step=result.step,
        possible_duplicates=job.possible_duplicates,
    )
