"""A job's life as data: its record, and every rule that changes it.

A rule is a pure function: given the record as it is and a fact, it returns the new record, or a
verdict that says why the fact changes nothing. The table writes what a rule returned unless
somebody else has written meanwhile; then the rule decides again on what is there.

    fact                                   rule            from                     to
    a message asks for the document        begin           none, FAILED, SUBMITTING  SUBMITTING
    ReportFlow surely has nothing          given_back      SUBMITTING               SUBMITTING
    ReportFlow's answer is lost            unanswered      SUBMITTING               SUBMITTING
    ReportFlow answered 202                submitted       SUBMITTING               SUBMITTED
    a webhook brings the lost answer       adopted         SUBMITTING               SUBMITTED
    a download failed and is tried again   postponed       SUBMITTED, FAILED        the same
    the file holds another document        doubted         SUBMITTED, FAILED        the same
    the PDF is in the archive              archived        SUBMITTED, FAILED        ARCHIVED
    the job is given up                    failed          any but ARCHIVED         FAILED
    a message could never be a job         rejected        none                     FAILED
    the final state was published          published       ARCHIVED, FAILED         the same
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace

from reportflow.contract.document import normal_design
from reportflow.contract.files import Accepted, CompletedFile, Mark
from reportflow.errors import PipelineError
from reportflow.messages import GenerationRequest
from reportflow.salvage import Salvaged

MAX_UNKNOWN_OUTCOMES: Final = 3
"""After so many repeated submissions a person decides: each may have made a PDF."""


class JobStatus(StrEnum):
    """Where a job is; `ARCHIVED` and `FAILED` are final."""

    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    ARCHIVED = "ARCHIVED"
    FAILED = "FAILED"


FINAL: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})
_WITH_FILE: Final = frozenset({JobStatus.SUBMITTED, JobStatus.FAILED})


class Step(StrEnum):
    """The function that was running when a job failed."""

    SUBMIT = "submit"
    ARCHIVE = "archive"


class Verdict(StrEnum):
    """Why a fact changes nothing."""

    BUSY = "another delivery is submitting the job, or its webhook may still bring the answer"
    REUSED = "the job id stands for another document"
    UNANSWERED = "one more submission without an answer would be too many: a person decides"
    DONE = "an earlier delivery has done it"
    SUPERSEDED = "the job went on since it was read"
    IN_DOUBT = "a webhook has said since that the job's file holds another document"


class Lease(msgspec.Struct, frozen=True):
    """Who may submit a job, and until when.

    No two deliveries share an `owner`. The lease lasts as long as its invocation can: if it expired
    and was not given back, the owner died, and it is unknown whether it had submitted the job.
    """

    owner: str
    expires_at: datetime


class ArchivedFile(msgspec.Struct, frozen=True):
    """The archived object, as the job's record names it: `size` in bytes, `sha256` in hex.

    `file_id` is the ReportFlow file whose bytes it holds.
    """

    file_id: str
    archive_bucket: str
    archive_key: str
    archive_version_id: str
    size: int
    sha256: str


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A job's record; each field is an attribute of its item, in camel case, absent if empty.

    `message_id` is the message that began it last. `failed_attempts` counts towards the retry
    budget of the status it is in. `begun_at` is when this life of the job began, `created_at` when
    its first did. `tag` is random, and stays the same while the job stands for the same document.
    `leased_digest` is the `request_digest` of a leased job: an index finds lost answers by it.
    `file_id` is ReportFlow's name for the file, and `file_reference` says how to get it; only the
    contract reads them. `doubtful_file_id` is a file of which a webhook said that it holds another
    document. `webhook_at` is when a webhook for the file came, unless it archived the file at once.
    `passthrough` is the caller's object that ReportFlow returns. `unannounced_at` is when the job
    reached a final state that is not published yet. `write_id` and `updated_at` are those of the
    last write, `expires_at` (in epoch seconds) is when DynamoDB may delete the record after it.
    """

    job_id: str
    status: JobStatus
    created_at: datetime
    message_id: str = ""
    design_id: str = ""
    version: int = 0
    file_name: str = ""
    request_digest: str = ""
    tag: str = ""
    passthrough: str = ""
    metadata: str = ""
    begun_at: datetime | None = None
    submitting_at: datetime | None = None
    lease_owner: str = ""
    lease_expires_at: datetime | None = None
    leased_digest: str = ""
    outcome_unknown_at: datetime | None = None
    possible_duplicates: int = 0
    failed_attempts: int = 0
    submitted_at: datetime | None = None
    file_id: str = ""
    file_reference: str = ""
    webhook_at: datetime | None = None
    doubtful_file_id: str = ""
    archived_at: datetime | None = None
    archive_bucket: str = ""
    archive_key: str = ""
    archive_version_id: str = ""
    size: int = 0
    sha256: str = ""
    failed_at: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    failed_step: str = ""
    unannounced_at: datetime | None = None
    expires_at: int = 0
    updated_at: datetime | None = None
    write_id: str = ""

    def key(self) -> str:
        """Where its PDF belongs: `designId/yyyy/mm/dd/jobId/fileName`.

        The day is the UTC day of the job's first claim. It never changes, so that every attempt at
        a job writes to the same key.
        """
        day = self.created_at.astimezone(UTC)
        return f"{self.design_id}/{day:%Y/%m/%d}/{self.job_id}/{self.file_name}"

    @property
    def mark(self) -> Mark:
        """What its submission carries so that the webhook finds the job."""
        return Mark(self.job_id, self.tag)

    def is_document_of(self, file: CompletedFile) -> bool:
        """Whether the file holds the job's document, as far as the webhook says what it holds."""
        return (
            normal_design(file.design_id) == normal_design(self.design_id)
            and file.version == self.version
            and file.request_digest in ("", self.request_digest)
            and file.mark in (None, self.mark)
        )

    def is_named_by(self, file: CompletedFile) -> bool:
        """Whether the webhook says that the file is the job's, and not only of such a design."""
        return file.mark == self.mark or file.request_digest == self.request_digest

    @property
    def file_is_in_doubt(self) -> bool:
        """Whether a webhook has said that its file holds another document."""
        return bool(self.file_id) and self.file_id == self.doubtful_file_id

    @property
    def is_unanswered(self) -> bool:
        """Whether the answer to its last submission is lost: nobody knows of its PDF."""
        lost, sent = self.outcome_unknown_at, self.submitting_at
        return not self.file_id and lost is not None and sent is not None and lost >= sent

    def is_leased(self, now: datetime, grace: timedelta = timedelta()) -> bool:
        """Whether a delivery holds it, or did until less than `grace` ago."""
        return self.lease_expires_at is not None and self.lease_expires_at + grace > now


def begin(
    job: Job | None,
    request: GenerationRequest[Any],
    *,
    job_id: str,
    message_id: str,
    lease: Lease,
    tag: str,
    grace: timedelta,
    now: datetime,
) -> Job | Verdict:
    """The job as this delivery of a message may submit it.

    A failed job begins again with another message only: a redriven message has a new id, and the
    one that failed may just have been delivered twice. For `grace` after an answer was lost, the
    job waits for its webhook. The message that began a job never brings another document, although
    the digest changes with the file name if the deployment has moved to the other contract.
    """
    new = Job(job_id=job_id, status=JobStatus.SUBMITTING, created_at=now, begun_at=now)
    if job is None:
        taken = new
    elif job.status is JobStatus.FAILED and job.message_id != message_id:
        if job.failed_at is not None and job.failed_at > now:
            # Since this delivery began. Its message may have ended with another delivery.
            return Verdict.BUSY
        taken = replace(
            new,
            created_at=job.created_at,
            outcome_unknown_at=job.outcome_unknown_at,
            possible_duplicates=job.possible_duplicates + job.is_unanswered,
            doubtful_file_id=job.doubtful_file_id,
        )
    elif job.request_digest != request.digest and job.message_id != message_id:
        return Verdict.REUSED
    elif job.status is not JobStatus.SUBMITTING:
        return Verdict.DONE
    elif not job.lease_owner:
        taken = job
    elif job.is_leased(now, grace):
        return Verdict.BUSY
    elif job.possible_duplicates >= MAX_UNKNOWN_OUTCOMES:
        return Verdict.UNANSWERED
    else:
        # Its owner died, or ReportFlow's answer was lost: a PDF may be in the making.
        taken = replace(job, possible_duplicates=job.possible_duplicates + 1)
    same_document = job is not None and job.request_digest == request.digest
    return replace(
        taken,
        tag=(job.tag if job and same_document else "") or tag,
        message_id=message_id,
        design_id=request.design_id,
        version=request.version,
        file_name=request.content.file_name,
        request_digest=request.digest,
        passthrough=request.content.passthrough_json(),
        metadata=request.metadata_json(),
        submitting_at=now,
        lease_owner=lease.owner,
        lease_expires_at=lease.expires_at,
        leased_digest=request.digest,
    )


def given_back(job: Job | None, owner: str, *, costs_retry: bool) -> Job | Verdict:
    """Free for the next delivery, after an attempt that surely left nothing at ReportFlow."""
    if job is None or not _is_held_by(job, owner):
        return Verdict.SUPERSEDED
    return replace(_unleased(job), failed_attempts=job.failed_attempts + costs_retry)


def unanswered(job: Job | None, owner: str, now: datetime) -> Job | Verdict:
    """ReportFlow's answer was lost: from now on a webhook may bring it."""
    if job is None or not _is_held_by(job, owner):
        return Verdict.SUPERSEDED
    return replace(job, lease_expires_at=now, outcome_unknown_at=now)


def submitted(job: Job | None, owner: str, file: Accepted, now: datetime) -> Job | Verdict:
    """ReportFlow's 202 is stored. A webhook may have brought the same file before."""
    if job is not None and job.file_id == file.file_id:
        return job
    if job is None or not _is_held_by(job, owner):
        return Verdict.SUPERSEDED
    return _with_file(job, file.file_id, file.reference, now)


def adopted(job: Job | None, file: CompletedFile, now: datetime) -> Job | Verdict:
    """A webhook brought the file of a submission whose answer was lost, or is not stored yet.

    A webhook that returns the job's mark can belong to no other job. Without the mark, the
    answer's owner must be gone: the file may be the answer to another job's submission.
    """
    if job is None or job.status is not JobStatus.SUBMITTING or not job.is_document_of(file):
        return Verdict.SUPERSEDED
    if file.mark is None and (not job.lease_owner or job.is_leased(now)):
        return Verdict.SUPERSEDED
    return replace(_with_file(job, file.file_id, file.reference, now), webhook_at=now)


def postponed(
    job: Job | None, read: Job, now: datetime, *, costs_retry: bool, by_webhook: bool
) -> Job | Verdict:
    """An attempt at archiving failed and is tried again.

    Attempts that failed side by side count once. An attempt that began before the job failed does
    not count towards the retry budget of its redrive. A webhook that has come is not lost, although
    the job's check may find the PDF first.
    """
    if job is None or job.status not in _WITH_FILE or _life(job) != _life(read):
        return Verdict.SUPERSEDED
    came = now if by_webhook and job.status is JobStatus.SUBMITTED else None
    attempts = max(job.failed_attempts, read.failed_attempts + costs_retry)
    return replace(job, failed_attempts=attempts, webhook_at=job.webhook_at or came)


def doubted(job: Job | None, read: Job) -> Job | Verdict:
    """The job's file seems to hold another document."""
    if job is None or job.status not in _WITH_FILE or job.file_id != read.file_id:
        return Verdict.SUPERSEDED
    return replace(job, doubtful_file_id=job.file_id)


def archived(job: Job | None, read: Job, file: ArchivedFile, now: datetime) -> Job | Verdict:
    """The PDF is in the archive.

    An attempt that began before the file was in doubt cannot know whose document it has stored.
    """
    if job is None or job.status not in _WITH_FILE or job.file_id != read.file_id:
        return Verdict.SUPERSEDED
    if job.file_is_in_doubt and not read.file_is_in_doubt:
        return Verdict.IN_DOUBT
    return replace(
        job,
        status=JobStatus.ARCHIVED,
        archived_at=now,
        unannounced_at=now,
        failed_attempts=0,
        failed_at=None,
        error_code="",
        error_message="",
        failed_step="",
        **asdict(file),
    )


def failed(
    job: Job | None, read: Job, error: PipelineError, step: Step, now: datetime
) -> Job | Verdict:
    """The job is given up. Of deliveries that fail side by side, one ends it."""
    if job is None or _life(job) != _life(read) or job.status is JobStatus.ARCHIVED:
        return Verdict.SUPERSEDED
    return _failure(job, error, step, now)


def rejected(
    job: Job | None,
    job_id: str,
    message_id: str,
    salvaged: Salvaged,
    error: PipelineError,
    now: datetime,
) -> Job | Verdict:
    """A message that could never be a job failed. A record that has the id stays as it is."""
    if job is not None:
        return Verdict.SUPERSEDED
    never_begun = Job(
        job_id=job_id,
        status=JobStatus.FAILED,
        created_at=now,
        message_id=message_id,
        **asdict(salvaged),
    )
    return _failure(never_begun, error, Step.SUBMIT, now)


def published(job: Job | None, read: Job) -> Job | Verdict:
    """The final state was published; a job that was sent again may have another one since."""
    if job is None or job.unannounced_at != read.unannounced_at:
        return Verdict.SUPERSEDED
    return replace(job, unannounced_at=None)


def _is_held_by(job: Job, owner: str) -> bool:
    return job.status is JobStatus.SUBMITTING and job.lease_owner == owner != ""


def _unleased(job: Job) -> Job:
    return replace(job, lease_owner="", lease_expires_at=None, leased_digest="")


def _with_file(job: Job, file_id: str, reference: str, now: datetime) -> Job:
    return replace(
        _unleased(job),
        status=JobStatus.SUBMITTED,
        file_id=file_id,
        file_reference=reference,
        submitted_at=now,
        failed_attempts=0,
    )


def _life(job: Job) -> tuple[object, ...]:
    return job.status, job.file_id, job.failed_at, job.lease_owner, job.lease_expires_at


def _failure(job: Job, error: PipelineError, step: Step, now: datetime) -> Job:
    return replace(
        _unleased(job),
        status=JobStatus.FAILED,
        error_code=error.code,
        error_message=error.message,
        failed_step=step,
        failed_at=now,
        unannounced_at=now,
        failed_attempts=0,
        begun_at=None,
    )
