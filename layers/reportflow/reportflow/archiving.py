"""The downloader's work: one finished file becomes one object in the archive."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Final, Protocol

import requests
from urllib3.exceptions import DecodeError, HTTPError

from reportflow import pdf
from reportflow.consumer import Invocation, Outcome, Patience
from reportflow.errors import (
    FileMissing,
    Held,
    OutOfTime,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
    Unavailable,
)
from reportflow.jobs import Announce, ArchivedFile, Job, Jobs, JobStatus, Step
from reportflow.messages import Check, CompletedFile, parse_download, same_design
from reportflow.observability import count, logger, measure
from reportflow.queues import Queue, Record

CHUNK_BYTES: Final = 64 * 1024
MEMORY_BYTES: Final = 1024 * 1024
"""A file up to this size stays in memory; a larger one is spooled to the function's disk."""

ADOPTION_AGE: Final = timedelta(seconds=2)
"""So long a file may be another job's whose 202 is just being stored, or not yet in the index."""

RAREST_LOOK: Final = timedelta(minutes=30)
"""However old a job is, its file is looked for this often."""

TURN: Final = timedelta(seconds=1)
"""A check that waits its turn waits this long for each message in front of it."""

DOWNLOAD_SHARE: Final = 0.75
"""Of the time an invocation has; the rest is kept for the archive and the record."""


type Opened = AbstractContextManager[requests.Response]
type Download = Callable[[datetime], Opened]
"""Opens a file by a deadline."""


class Files(Protocol):
    """ReportFlow, as far as the downloader needs it."""

    def await_slot(self, deadline: datetime) -> None:
        """Wait until one more request keeps the rate limit, with time to make it by `deadline`."""

    def download(self, uuid: str, file_id: str, deadline: datetime) -> Opened:
        """Open a finished file by `deadline`."""

    def fetch(self, url: str, deadline: datetime) -> Opened:
        """Open the file under a 202's URL by `deadline`; `FileMissing` if there is none."""


class Archive(Protocol):
    """Where the PDFs are kept."""

    def store(self, job: Job, pdf: pdf.ReceivedPdf, content: IO[bytes]) -> ArchivedFile:
        """Write the job's PDF once, or find it there."""

    def find(self, job: Job) -> ArchivedFile | None:
        """The job's PDF, where an attempt stored it and died before it said so."""


@dataclass(frozen=True)
class ArchivingPolicy:
    """How patient the downloader is.

    `max_attempts` is a job's retry budget. A file without a job may become one's within
    `orphan_grace`. A job without a webhook is first looked at after `check_interval`, then each
    time after as long again as it has waited, and given up `completion_deadline` after its
    submission.
    """

    max_file_bytes: int
    max_attempts: int
    patience: Patience
    orphan_grace: timedelta
    check_interval: timedelta
    completion_deadline: timedelta


class Archiving:
    """Turns a record of the download queue into an archived job, or a failed one."""

    def __init__(
        self,
        jobs: Jobs,
        files: Files,
        archive: Archive,
        queue: Queue,
        announce: Announce,
        *,
        policy: ArchivingPolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._files = files
        self._archive = archive
        self._queue = queue
        self._announce = announce
        self._policy = policy
        self._clock = clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        try:
            message = parse_download(record.body.encode())
        except Permanent as error:
            return self._dead_letter(record, record.message_id, error)
        if isinstance(message, Check):
            return self._check(record, message, invocation)
        return self._complete(record, message, invocation)

    def _complete(self, record: Record, file: CompletedFile, invocation: Invocation) -> Outcome:
        """ReportFlow says that a file is done."""
        job = self._jobs.find_by_file_id(file.file_id, file.request_digest)
        if job is not None and not _is_document_of(job, file):
            return self._contradict(record, file, job, invocation)
        job = job or self._adopt(record, file)
        if job is None:
            return self._orphan(record, file)
        return self._deliver(record, file, job, invocation)

    def _contradict(
        self, record: Record, file: CompletedFile, job: Job, invocation: Invocation
    ) -> Outcome:
        """The webhook says that the job's file holds another document.

        ReportFlow's answer to another request went to the job, or the webhook is forged. It ends no
        job, but from now on only a webhook that names the job's own document brings this file into
        the archive. The document may be that of a job whose answer was lost.
        """
        if job.status is JobStatus.ARCHIVED:
            return self._dead_letter(record, job.job_id, _mismatch())
        self._jobs.doubt_file(job, self._clock())
        owner = self._adopt(record, file)
        if owner is not None:
            return self._deliver(record, file, owner, invocation)
        if self._is_young(record):
            raise Held("FILE_UNKNOWN", "no job has asked for this document yet")
        return self._dead_letter(record, job.job_id, _mismatch())

    def _deliver(
        self, record: Record, file: CompletedFile, job: Job, invocation: Invocation
    ) -> Outcome:
        """Archive the file that the webhook names, which holds the job's document."""
        if job.status is JobStatus.ARCHIVED:
            return self._finished(record, job)
        try:
            download = partial(self._files.download, file.uuid, file.file_id)
            outcome = self._archive_file(record, job, download, invocation)
        except FileMissing:
            if archived := self._archive.find(job):
                outcome = self._record(job, archived)
            else:
                outcome = self._missing(record, file, job)
        except Retryable as error:
            outcome = self._try_again(record, self._with_webhook(job), error)
        return self._announced(record, job, outcome)

    def _with_webhook(self, job: Job) -> Job:
        """The job with word for its check, which may be the first to find the PDF now."""
        if job.webhook_came or job.status is not JobStatus.SUBMITTED:
            return job
        self._jobs.webhook_waits(job, self._clock())
        return replace(job, webhook_came=True)

    def _adopt(self, record: Record, file: CompletedFile) -> Job | None:
        """The job whose submission was never answered, and whose document this file is.

        So a lost answer costs no second PDF. Where two such jobs ask for the same document, either
        may have it.
        """
        if not file.request_digest or self._clock() - record.sent_at < ADOPTION_AGE:
            return None
        job = self._jobs.find_unanswered(file.request_digest, self._clock())
        if job is None or not self._jobs.adopt(job, file.file_id, file.uuid, self._clock()):
            return None
        logger().info(
            "unanswered submission settled by its webhook",
            extra={"job_id": job.job_id, "file_id": file.file_id},
        )
        return replace(
            job, status=JobStatus.SUBMITTED, file_id=file.file_id, lease=None, webhook_came=True
        )

    def _orphan(self, record: Record, file: CompletedFile) -> Outcome:
        """A file that no job has, or not there: either may come, or nobody here asked for it."""
        if self._is_young(record):
            raise Held("FILE_UNKNOWN", "no job has this file yet, or ReportFlow has not")
        logger().info("not ours", extra={"file_id": file.file_id})
        return Outcome.NOT_OURS

    def _is_young(self, record: Record) -> bool:
        """Whether the file's job may still come to be known."""
        return self._clock() - record.sent_at < self._policy.orphan_grace

    def _missing(self, record: Record, file: CompletedFile, job: Job) -> Outcome:
        """ReportFlow has no such file under the webhook's uuid.

        Whoever knows the token could name any: the job's check decides. Of a job that has failed
        before, a redriven letter is all that is left, and must not end without another.
        """
        outcome = self._orphan(record, file)
        if not (_is_redriven(record) and job.status is JobStatus.FAILED):
            return outcome
        gone = Permanent(
            "FILE_GONE",
            "ReportFlow has the job's file no longer: have upstream send the message again, with "
            "the same jobId, for a new PDF",
        )
        return self._fail(record, job, gone)

    def _check(self, record: Record, check: Check, invocation: Invocation) -> Outcome:
        """Look for the file of a job whose webhook should have come by now."""
        job = self._jobs.get(check.job_id)
        if job is None:
            logger().info("not ours", extra={"job_id": check.job_id})
            return Outcome.NOT_OURS
        redriven = _is_redriven(record)
        if job.status is not JobStatus.SUBMITTED and not (
            redriven and job.status is JobStatus.FAILED and job.file_id
        ):
            return self._finished(record, job)
        submitted_at = record.sent_at if redriven else job.submitted_at or record.sent_at
        if not redriven:
            self._wait_its_turn(record, job, submitted_at)
        try:
            _refuse_doubtful(job)
            outcome = self._archive_file(record, job, partial(self._look, job), invocation)
            lost = outcome is Outcome.ARCHIVED and not job.webhook_came
            if lost:
                about = {"job_id": job.job_id, "file_id": job.file_id}
                logger().warning("webhook lost", extra=about)
            count(LostWebhooks=int(lost))
        except (Unavailable, Throttled, OutOfTime) as error:
            outcome = self._try_again(record, job, error)
        except Retryable as error:
            if (wait := self._next_look(submitted_at)) is not None:
                held = Held.of(error, delay_seconds=wait.total_seconds())
                held.job_id = job.job_id
                raise held from error
            outcome = self._too_late(record, job, error)
        return self._announced(record, job, outcome)

    def _wait_its_turn(self, record: Record, job: Job, submitted_at: datetime) -> None:
        """Let the messages in front go first: one of them may be the webhook of the job.

        SQS keeps no order. Without this, a check overtakes a webhook that waits in a long queue,
        counts it as lost, and takes its slot of the rate limit. The place in the queue decides how
        long each check waits, so that a crowd of checks does not come back as a crowd.

        Raises:
            Held: the check comes again; never after the job's deadline.
        """
        wait = self._next_look(submitted_at)
        over = self._policy.patience.ends(record, self._clock()) is not None
        if wait is None or over:
            return
        if waiting := self._queue.waiting():
            held = Held(
                "QUEUE_BEHIND",
                "the job's webhook may be among the messages that wait in the queue",
                delay_seconds=(wait + waiting * TURN).total_seconds(),
            )
            held.job_id = job.job_id
            raise held

    def _too_late(self, record: Record, job: Job, error: Retryable) -> Outcome:
        """The job's time is over; whether it has a PDF is for ReportFlow to say, not its outage."""
        if not isinstance(error, (FileMissing, Held)):
            return self._try_again(record, job, error)
        if error.code == "FILE_MISMATCH":
            return self._fail(record, job, _mismatch())
        late = Permanent(
            "NO_COMPLETION",
            "ReportFlow never said that the PDF is done, and has none under the job's URL "
            f"({error.code}): ask its support for the file, then redrive the message",
        )
        return self._fail(record, job, late)

    def _next_look(self, submitted_at: datetime) -> timedelta | None:
        """How long from now; None once the job's time is over.

        Each look takes a slot of the rate limit: rendering that takes hours may not use it up.
        """
        age = self._clock() - submitted_at
        remaining = self._policy.completion_deadline - age
        if remaining <= timedelta():
            return None
        return min(max(self._policy.check_interval, min(age, RAREST_LOOK)), remaining)

    def _look(self, job: Job, deadline: datetime) -> Opened:
        """Open the job's file by what its record says, if the job still waits for it.

        Called once the check has its slot. The job's webhook may have done the work by then.
        """
        standing = self._jobs.get(job.job_id)
        if standing is None or (standing.status, standing.file_id) != (job.status, job.file_id):
            raise Held("JOB_CHANGED", "the job went on while its check waited for a slot")
        if not standing.uuid and self._jobs.shares_file(standing):
            # One of the two has the answer of the other. The job's own webhook can tell.
            self._jobs.doubt_file(standing, self._clock())
            raise _in_doubt()
        _refuse_doubtful(standing)
        if job.uuid and job.file_id:
            return self._files.download(job.uuid, job.file_id, deadline)
        return self._files.fetch(job.url, deadline)

    def _try_again(self, record: Record, job: Job, error: Retryable) -> Outcome:
        """Count the failure and let the message come again, or fail the job at its last retry."""
        error.job_id = job.job_id
        if error.costs_retry:
            last = job.failed_attempts + 1 >= self._policy.max_attempts
            if last or self._is_told(record, job, job, error):
                return self._fail(record, job, error)
            self._jobs.count_retry(job, self._clock())
        raise error

    def _archive_file(
        self, record: Record, job: Job, download: Download, invocation: Invocation
    ) -> Outcome:
        """Archive the job's file and say so, or fail the job for good.

        Raises:
            Retryable: not now.
        """
        if (end := self._policy.patience.ends(record, self._clock())) is not None:
            return self._fail(record, job, end)
        try:
            archived = self._fetch(job, download, invocation)
        except Permanent as error:
            return self._fail(record, job, error)
        return self._record(job, archived)

    def _record(self, job: Job, archived: ArchivedFile) -> Outcome:
        if not self._jobs.archived(job, archived, self._clock()):
            standing = self._jobs.get(job.job_id)
            if standing is not None and standing.status is JobStatus.SUBMITTED:
                _refuse_doubtful(standing)
            return _duplicate(job)
        logger().info(
            "archived",
            extra={"job_id": job.job_id, "archive_key": archived.key, "size": archived.size},
        )
        measure(ArchiveSeconds=(self._clock() - job.created_at).total_seconds())
        return Outcome.ARCHIVED

    def _fetch(self, job: Job, download: Download, invocation: Invocation) -> ArchivedFile:
        """Bring the whole file here, and only when it is known to be right, to the archive."""
        self._files.await_slot(invocation.deadline)
        now = self._clock()
        deadline = now + (invocation.deadline - now) * DOWNLOAD_SHARE
        with SpooledTemporaryFile(max_size=MEMORY_BYTES) as spool, download(deadline) as response:
            # The length on the wire: of a coded answer it says less than the file has.
            pdf.check_size(response.raw.length_remaining or 0, self._policy.max_file_bytes)
            received = pdf.receive(
                self._until(deadline, response),
                spool,
                content_type=response.headers.get("Content-Type"),
                max_bytes=self._policy.max_file_bytes,
            )
            spool.seek(0)
            return self._archive.store(job, received, spool)

    def _until(self, deadline: datetime, response: requests.Response) -> Iterator[bytes]:
        """The body as it comes; a read time-out alone would let a trickle go on for ever.

        `iter_content` would wait for a whole chunk, and with it pass the deadline.
        """
        try:
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                if self._clock() > deadline:
                    raise Retryable("DOWNLOAD_TOO_SLOW", "the file did not arrive in time")
                yield chunk
        except DecodeError as error:
            raise Retryable(
                "UNREADABLE_CODING", "the file is not coded as its Content-Encoding says"
            ) from error
        except HTTPError as error:
            raise Retryable(
                "TRUNCATED", f"the download was cut off ({type(error).__name__})"
            ) from error

    def _fail(self, record: Record, job: Job, error: PipelineError) -> Outcome:
        standing = self._jobs.get(job.job_id) or job
        if standing.status is JobStatus.ARCHIVED or self._is_told(record, job, standing, error):
            return _duplicate(standing)
        if archived := self._stored(record, standing):
            return self._record(job, archived)
        outcome = self._dead_letter(record, job.job_id, error)
        self._jobs.failed(job, error, Step.ARCHIVE, self._clock())
        return outcome

    def _stored(self, record: Record, job: Job) -> ArchivedFile | None:
        """The job's PDF, where an attempt stored it and died before it said so.

        A message that cannot come again does not wait for an answer: redriven, it finds the PDF.
        """
        try:
            return self._archive.find(job)
        except Retryable:
            if self._policy.patience.ends(record, self._clock()) is None:
                raise
            return None

    def _is_told(self, record: Record, job: Job, standing: Job, error: PipelineError) -> bool:
        """Whether another message's dead letter tells of the job's failure already.

        It does where another delivery has failed the job meanwhile, or for the same reason before.
        A redriven message is itself the letter that tells, and leaves another.
        """
        return (
            standing.status is JobStatus.FAILED
            and not _is_redriven(record)
            and (standing != job or standing.error_code == error.code)
        )

    def _finished(self, record: Record, job: Job) -> Outcome:
        """The message's work was done before, all but the announcement perhaps."""
        outcome = _duplicate(job)
        return outcome if job.announced else self._announced(record, job, outcome)

    def _announced(self, record: Record, job: Job, outcome: Outcome) -> Outcome:
        """Tell the outside of the job's end; what is never to be told is a dead letter's reason."""
        try:
            self._announce(job.job_id)
        except Retryable as error:
            if not self._policy.patience.is_over(record, self._clock()):
                error.job_id = job.job_id
                raise
            return self._dead_letter(record, job.job_id, error)
        return outcome

    def _dead_letter(self, record: Record, job_id: str, error: PipelineError) -> Outcome:
        self._queue.dead_letter(record, error, Step.ARCHIVE, job_id)
        logger().error(
            "failed",
            extra={"job_id": job_id, "error_code": error.code, "error_message": error.loggable},
        )
        count(error.code, Failed=1)
        return Outcome.FAILED


def _refuse_doubtful(job: Job) -> None:
    if job.file_is_in_doubt:
        raise _in_doubt()


def _in_doubt() -> Held:
    return Held("FILE_MISMATCH", "the job's file seems to hold another document")


def _mismatch() -> Permanent:
    return Permanent(
        "FILE_MISMATCH",
        "the file that ReportFlow named for the job holds another document: look at it in "
        "ReportFlow, and in the archive if the job is there, then have upstream send the message "
        "again",
    )


def _is_document_of(job: Job, file: CompletedFile) -> bool:
    """Whether the file holds the job's document, as far as the webhook says what it holds."""
    return (
        same_design(file.design_id, job.design_id)
        and file.version == job.version
        and file.request_digest in ("", job.request_digest)
    )


def _is_redriven(record: Record) -> bool:
    """Whether it was a dead letter, whose reason it still carries."""
    return "errorCode" in record.attributes


def _duplicate(job: Job) -> Outcome:
    logger().info("duplicate", extra={"job_id": job.job_id, "status": job.status})
    return Outcome.DUPLICATE
