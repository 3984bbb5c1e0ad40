"""A job's life: its states, the moves between them, and what stands on its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

from reportflow.errors import PipelineError
from reportflow.messages import GenerationRequest


class JobStatus(StrEnum):
    """Where a job stands; `ARCHIVED` and `FAILED` are ends."""

    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    ARCHIVED = "ARCHIVED"
    FAILED = "FAILED"


TRANSITIONS: Final[Mapping[JobStatus | None, frozenset[JobStatus]]] = {
    None: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED}),
    JobStatus.SUBMITTING: frozenset({JobStatus.SUBMITTING, JobStatus.SUBMITTED, JobStatus.FAILED}),
    JobStatus.SUBMITTED: frozenset({JobStatus.ARCHIVED, JobStatus.FAILED}),
    # A late webhook or a redriven message may still bring the PDF of a job that had a file.
    JobStatus.FAILED: frozenset({JobStatus.SUBMITTING, JobStatus.ARCHIVED, JobStatus.FAILED}),
    JobStatus.ARCHIVED: frozenset(),
}
"""Every legal move; `None` is a job that has no record yet."""


class Step(StrEnum):
    """The function at work when a job failed."""

    SUBMIT = "submit"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class Lease:
    """Who may submit a job, and until when.

    No two deliveries are the same `owner`. The lease lasts as long as that invocation can: when it
    is over and was not given back, the owner died and whether it had submitted is not known.
    """

    owner: str
    expires_at: datetime


@dataclass(frozen=True)
class Job:
    """A job's record as far as decisions need it.

    `message_id` is the message that began it last; `error_code` is why it failed last; `announced`
    is false while nobody outside has been told of its end. `failed_attempts` counts towards the
    retry budget of the state it is in. A file has the `url` of its 202 or, where that was lost, the
    `uuid` of its webhook. `webhook_came` is true where one came that could not be worked on at
    once. `doubtful_file_id` is a file of which a webhook said that it holds another document.
    """

    job_id: str
    status: JobStatus
    created_at: datetime
    message_id: str = ""
    design_id: str = ""
    version: int = 0
    file_name: str = ""
    request_digest: str = ""
    file_id: str | None = None
    url: str = ""
    uuid: str = ""
    submitted_at: datetime | None = None
    failed_at: datetime | None = None
    error_code: str = ""
    lease: Lease | None = None
    failed_attempts: int = 0
    possible_duplicates: int = 0
    webhook_came: bool = False
    announced: bool = True
    doubtful_file_id: str = ""

    @property
    def file_is_in_doubt(self) -> bool:
        """Whether a webhook has said that the job's file holds another document."""
        return bool(self.doubtful_file_id) and self.file_id == self.doubtful_file_id

    def archive_key(self) -> str:
        """`designId/yyyy/mm/dd/jobId/fileName`, by the UTC day of the job's first claim.

        The day never changes, so that every attempt at a job writes to the same key.
        """
        day = self.created_at.astimezone(UTC)
        return f"{self.design_id}/{day:%Y/%m/%d}/{self.job_id}/{self.file_name}"


@dataclass(frozen=True)
class ArchivedFile:
    """Where the PDF lies and what it is; `size` in bytes, `sha256` in hex.

    `file_id` is the ReportFlow file that the bytes are of.
    """

    file_id: str
    bucket: str
    key: str
    version_id: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Failure:
    """Why a job failed, and in which function."""

    code: str
    message: str
    step: str


@dataclass(frozen=True)
class Ending:
    """A job's end that nobody outside has been told of yet; `metadata` is upstream's, as JSON.

    A job that is sent again can end several times, each at its own time.
    """

    job: Job
    ended_at: datetime
    metadata: str
    result: ArchivedFile | Failure


class Announce(Protocol):
    """Tells the outside of a job's end."""

    def __call__(self, job_id: str, /) -> None:
        """Announce the job's end, unless that was done. Raises `Retryable`."""


class Jobs(Protocol):
    """The record of all jobs. Every write is conditional on the state it leaves."""

    def claim(
        self, job_id: str, request: GenerationRequest, message_id: str, lease: Lease, now: datetime
    ) -> Job:
        """Take the job into `SUBMITTING`: new, given back by `give_back`, or failed before.

        A failed job begins again with another message only: a redriven one has a new id, and the
        one that failed may just have been delivered twice.

        Returns the record as it now stands. The job is ours if the lease's owner is; if not, the
        record is what stands in the way.
        """

    def take_over(self, job: Job, lease: Lease, now: datetime) -> bool:
        """Take a job whose lease ran out, and count a possible duplicate on it.

        False: another attempt was faster.
        """

    def give_back(self, job: Job, now: datetime, *, costs_retry: bool) -> None:
        """End the lease after a failure that may be retried; nothing if the lease is lost."""

    def unanswered(self, job: Job, now: datetime) -> None:
        """Record that the submission's answer was lost, and end the lease's time at once.

        From now on a webhook may settle it; nothing if the lease is lost.
        """

    def submitted(self, job: Job, file_id: str, url: str, now: datetime) -> bool:
        """Record the 202. False: the lease was lost to another attempt."""

    def get(self, job_id: str) -> Job | None:
        """The job's record as it stands, or None."""

    def find_unanswered(self, request_digest: str, now: datetime) -> Job | None:
        """A job whose submission may have been taken without an answer that said so.

        Its lease has run out, and its document has this digest. None while such a job's lease is
        alive: its answer may be on the way.
        """

    def find_begun(self, message_id: str, since: datetime) -> Job | None:
        """The job that this message began: in `SUBMITTING`, or `SUBMITTED` or `FAILED` `since`."""

    def adopt(self, job: Job, file_id: str, uuid: str, now: datetime) -> bool:
        """Record that an unanswered submission has made this file. False: it was settled before."""

    def find_by_file_id(self, file_id: str, request_digest: str = "") -> Job | None:
        """The job that ReportFlow's file belongs to, or None while no record says so.

        Of several, the one whose document has this digest: an answer may have gone to another job.
        """

    def shares_file(self, job: Job) -> bool:
        """Whether the record of another document's job names the same file."""

    def doubt_file(self, job: Job, now: datetime) -> None:
        """Record that a webhook said that the job's file holds another document."""

    def count_retry(self, job: Job, now: datetime) -> None:
        """Count a failed attempt at archiving a job's file.

        Attempts that failed side by side, and a write that was repeated, count once.
        """

    def webhook_waits(self, job: Job, now: datetime) -> None:
        """Record that the webhook of a submitted job's file came, and will be tried again."""

    def archived(self, job: Job, file: ArchivedFile, now: datetime) -> bool:
        """Record the archive's copy. False: the job is archived already, or has another file."""

    def rejected(self, job_id: str, error: PipelineError, now: datetime) -> bool:
        """End a job that never began. False: the id has a record, which is left as it is."""

    def failed(self, job: Job, error: PipelineError, step: Step, now: datetime) -> bool:
        """End the job with its reason.

        False: it is no longer in the state, or under the lease, that was read.
        """

    def unannounced(self, job_id: str) -> Ending | None:
        """The job's end, if it has one that was not announced."""

    def announced(self, ending: Ending, now: datetime) -> None:
        """Record that the end was announced; nothing if the job has ended anew since."""
