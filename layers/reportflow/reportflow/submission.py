"""The submitter's work: one message becomes one request to ReportFlow."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Held, OutcomeUnknown, Permanent, PipelineError, Retryable
from reportflow.jobs import Job, Jobs, JobStatus, Lease, Step
from reportflow.messages import GenerationRequest, parse_request, salvage_job_id
from reportflow.observability import logger
from reportflow.queues import Queue, Record
from reportflow.service import Accepted

LEASE_MARGIN: Final = timedelta(seconds=2)
"""Added to the invocation's deadline, for clocks that differ."""

CONTENDED_SECONDS: Final = 5.0
"""How soon to look again at a job that another delivery is submitting."""

MAX_UNKNOWN_OUTCOMES: Final = 3
"""After so many repeated submissions a person decides: each may have made a PDF."""


class Service(Protocol):
    """ReportFlow, as far as the submitter needs it."""

    def submit(self, request: GenerationRequest) -> Accepted:
        """Ask for one PDF."""


class Bodies(Protocol):
    """Where a message's body is when the message only points to it."""

    def resolve(self, body: str) -> bytes:
        """The body itself."""


class Submission:
    """Turns a record of the request queue into a submitted job, or a failed one."""

    def __init__(
        self,
        jobs: Jobs,
        service: Service,
        bodies: Bodies,
        queue: Queue,
        *,
        max_attempts: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._service = service
        self._bodies = bodies
        self._queue = queue
        self._max_attempts = max_attempts
        self._clock = clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        body = b""
        try:
            body = self._bodies.resolve(record.body)
            request = parse_request(body)
        except Permanent as error:
            return self._reject(record, salvage_job_id(body, record.message_id), error)
        except Retryable as error:
            # There is no job yet to count on.
            if record.receive_count < self._max_attempts:
                raise
            return self._reject(record, record.message_id, error)
        job_id = request.job_id or record.message_id
        lease = Lease(_owner(record, invocation), invocation.deadline + LEASE_MARGIN)
        job = self._jobs.claim(job_id, request, record.message_id, lease, self._clock())
        if job.lease is not None and job.lease.owner == lease.owner:
            return self._submit(record, request, job)
        if job.request_digest != request.digest:
            return self._refuse_reuse(record, job_id)
        if job.status is not JobStatus.SUBMITTING:
            logger().info("duplicate", extra={"job_id": job_id, "status": job.status})
            return Outcome.DUPLICATE
        return self._take_over(record, request, job, lease)

    def _take_over(
        self, record: Record, request: GenerationRequest, job: Job, lease: Lease
    ) -> Outcome:
        """Go on where another attempt died or lost the answer, once its lease has run out."""
        now = self._clock()
        taken = (
            job.lease is not None
            and job.lease.expires_at <= now
            and self._jobs.take_over(job, lease, now)
        )
        if not taken:
            raise Held(
                "BEING_SUBMITTED",
                "another delivery of this job is at work",
                delay_seconds=CONTENDED_SECONDS,
            )
        job = replace(job, lease=lease, possible_duplicates=job.possible_duplicates + 1)
        if job.possible_duplicates <= MAX_UNKNOWN_OUTCOMES:
            return self._submit(record, request, job)
        return self._fail(
            record,
            job,
            Permanent(
                "OUTCOME_UNKNOWN",
                f"submitted {job.possible_duplicates} times and never answered: look in ReportFlow "
                "for the PDF before you redrive the message",
            ),
        )

    def _submit(self, record: Record, request: GenerationRequest, job: Job) -> Outcome:
        try:
            accepted = self._service.submit(request)
        except Permanent as error:
            return self._fail(record, job, error)
        except Retryable as error:
            if error.costs_retry and job.failed_attempts + 1 >= self._max_attempts:
                return self._fail(record, job, error)
            self._jobs.give_back(job, self._clock(), costs_retry=error.costs_retry)
            error.job_id = job.job_id
            raise
        except OutcomeUnknown as error:
            raise self._wait_out(job, error) from error
        if not self._jobs.submitted(job, accepted.file_id, accepted.url, self._clock()):
            logger().error(
                "submitted twice: the lease was lost",
                extra={"job_id": job.job_id, "file_id": accepted.file_id},
            )
            return Outcome.DUPLICATE
        logger().info("submitted", extra={"job_id": job.job_id, "file_id": accepted.file_id})
        return Outcome.SUBMITTED

    def _wait_out(self, job: Job, error: OutcomeUnknown) -> Held:
        """Keep the lease: the next attempt begins when it has run out, as after a crash."""
        logger().warning("outcome unknown", extra={"job_id": job.job_id, "error_code": error.code})
        remaining = timedelta()
        if job.lease is not None:
            remaining = job.lease.expires_at - self._clock()
        held = Held(error.code, error.message, delay_seconds=remaining.total_seconds() + 1)
        held.job_id = job.job_id
        return held

    def _reject(self, record: Record, job_id: str, error: PipelineError) -> Outcome:
        """End a message that never became a job."""
        self._queue.dead_letter(record, error, Step.SUBMIT, job_id)
        self._jobs.rejected(job_id, error, self._clock())
        return _log_failure(job_id, error)

    def _refuse_reuse(self, record: Record, job_id: str) -> Outcome:
        """End a message whose job id stands for another document, and leave that job alone."""
        error = Permanent(
            "JOB_ID_REUSED",
            "this jobId was sent before with another design, version, file name or params: "
            "give each document a jobId of its own",
        )
        self._queue.dead_letter(record, error, Step.SUBMIT, job_id)
        return _log_failure(job_id, error)

    def _fail(self, record: Record, job: Job, error: PipelineError) -> Outcome:
        self._queue.dead_letter(record, error, Step.SUBMIT, job.job_id)
        self._jobs.failed(job, error, Step.SUBMIT, self._clock())
        return _log_failure(job.job_id, error)


def _owner(record: Record, invocation: Invocation) -> str:
    """Unlike any other delivery's, even of the same message in the same batch."""
    delivery = hashlib.sha256(record.receipt_handle.encode()).hexdigest()[:12]
    return f"{invocation.request_id}/{delivery}"


def _log_failure(job_id: str, error: PipelineError) -> Outcome:
    logger().error(
        "failed",
        extra={"job_id": job_id, "error_code": error.code, "error_message": error.message},
    )
    return Outcome.FAILED
