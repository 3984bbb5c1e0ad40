"""The downloader's work: one finished file becomes one object in the archive."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Final, Protocol

import requests
from urllib3.exceptions import HTTPError

from reportflow import pdf
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Held, Permanent, PipelineError, Retryable
from reportflow.jobs import ArchivedFile, Job, Jobs, JobStatus, Step
from reportflow.messages import CompletedFile, parse_completed
from reportflow.observability import logger
from reportflow.queues import Queue, Record

CHUNK_BYTES: Final = 64 * 1024
MEMORY_BYTES: Final = 1024 * 1024
"""A file up to this size stays in memory; a larger one is spooled to the function's disk."""

DOWNLOAD_SHARE: Final = 0.75
"""Of the time an invocation has; the rest is kept for the archive and the record."""


class Files(Protocol):
    """ReportFlow, as far as the downloader needs it."""

    def download(self, uuid: str, file_id: str) -> AbstractContextManager[requests.Response]:
        """Open a finished file."""


class Archive(Protocol):
    """Where the PDFs are kept."""

    def store(self, job: Job, pdf: pdf.ReceivedPdf, content: IO[bytes]) -> ArchivedFile:
        """Write the job's PDF once, or find it there."""


class Archiving:
    """Turns a record of the download queue into an archived job, or a failed one."""

    def __init__(
        self,
        jobs: Jobs,
        files: Files,
        archive: Archive,
        queue: Queue,
        *,
        max_file_bytes: int,
        orphan_grace: timedelta,
        max_attempts: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._files = files
        self._archive = archive
        self._queue = queue
        self._max_file_bytes = max_file_bytes
        self._orphan_grace = orphan_grace
        self._max_attempts = max_attempts
        self._clock = clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        try:
            file = parse_completed(record.body.encode())
        except Permanent as error:
            return self._dead_letter(record, record.message_id, error)
        job = self._jobs.find_by_file_id(file.file_id)
        if job is None:
            return self._orphan(record, file)
        if job.status is not JobStatus.SUBMITTED:
            logger().info("duplicate", extra={"job_id": job.job_id, "status": job.status})
            return Outcome.DUPLICATE
        try:
            _check_same_document(job, file)
            archived = self._fetch(job, file, invocation)
        except Permanent as error:
            return self._fail(record, job, error)
        except Retryable as error:
            if error.costs_retry:
                if job.failed_attempts + 1 >= self._max_attempts:
                    return self._fail(record, job, error)
                self._jobs.count_retry(job, self._clock())
            error.job_id = job.job_id
            raise
        if not self._jobs.archived(job, archived, self._clock()):
            logger().info("duplicate", extra={"job_id": job.job_id})
            return Outcome.DUPLICATE
        logger().info(
            "archived",
            extra={"job_id": job.job_id, "archive_key": archived.key, "size": archived.size},
        )
        return Outcome.ARCHIVED

    def _orphan(self, record: Record, file: CompletedFile) -> Outcome:
        """A file without a job: its 202 may still be on the way, or nobody here asked for it."""
        age = self._clock() - record.sent_at
        if age < self._orphan_grace:
            raise Held("FILE_UNKNOWN", "no job has this file yet")
        logger().info("not ours", extra={"file_id": file.file_id})
        return Outcome.NOT_OURS

    def _fetch(self, job: Job, file: CompletedFile, invocation: Invocation) -> ArchivedFile:
        """Bring the whole file here, and only when it is known to be right, to the archive."""
        now = self._clock()
        deadline = now + (invocation.deadline - now) * DOWNLOAD_SHARE
        with (
            SpooledTemporaryFile(max_size=MEMORY_BYTES) as spool,
            self._files.download(file.uuid, file.file_id) as response,
        ):
            pdf.check_content_type(response.headers.get("Content-Type"))
            received = pdf.receive(
                self._until(deadline, response),
                spool,
                promised_length=_promised_length(response),
                max_bytes=self._max_file_bytes,
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
        except HTTPError as error:
            raise Retryable(
                "TRUNCATED", f"the download was cut off ({type(error).__name__})"
            ) from error

    def _fail(self, record: Record, job: Job, error: PipelineError) -> Outcome:
        outcome = self._dead_letter(record, job.job_id, error)
        self._jobs.failed(job, error, Step.ARCHIVE, self._clock())
        return outcome

    def _dead_letter(self, record: Record, job_id: str, error: PipelineError) -> Outcome:
        self._queue.dead_letter(record, error, Step.ARCHIVE, job_id)
        logger().error(
            "failed",
            extra={"job_id": job_id, "error_code": error.code, "error_message": error.message},
        )
        return Outcome.FAILED


def _check_same_document(job: Job, file: CompletedFile) -> None:
    if (file.design_id.lower(), file.version) != (job.design_id.lower(), job.version):
        raise Permanent(
            "FILE_MISMATCH", "the webhook names another design or version than the job asked for"
        )


def _promised_length(response: requests.Response) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None
