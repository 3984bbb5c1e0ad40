"""The submitter's work: one message becomes one request to ReportFlow."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from reportflow.consumer import Invocation, Outcome, Patience
from reportflow.errors import (
    Held,
    OutcomeUnknown,
    PayloadMissing,
    Permanent,
    PipelineError,
    Retryable,
)
from reportflow.jobs import Announce, Job, Jobs, JobStatus, Lease, Step
from reportflow.messages import GenerationRequest, named_job_id, parse_request, salvage_job_id
from reportflow.observability import count, expect_webhook, logger
from reportflow.payloads import is_pointer
from reportflow.queues import Queue, Record
from reportflow.service import Accepted

LEASE_MARGIN: Final = timedelta(seconds=2)
"""Added to the invocation's deadline, for clocks that differ."""

REDELIVERED_WITHIN: Final = timedelta(days=1)
"""A message whose job has failed comes again much sooner, if it comes at all."""

PAYLOAD_RECEIVES: Final = 5
"""So often a payload is looked for: it may be written a moment after its message."""

MAX_UNKNOWN_OUTCOMES: Final = 3
"""After so many repeated submissions a person decides: each may have made a PDF."""


@dataclass(frozen=True)
class SubmissionPolicy:
    """How patient the submitter is.

    `max_attempts` is a job's retry budget. `outcome_grace` is how long an unanswered submission
    may still be settled by its webhook, before it is repeated.
    """

    max_attempts: int
    patience: Patience
    outcome_grace: timedelta


class Service(Protocol):
    """ReportFlow, as far as the submitter needs it."""

    def await_slot(self, deadline: datetime) -> None:
        """Wait until one more request keeps the rate limit, with time to make it by `deadline`."""

    def submit(self, request: GenerationRequest, deadline: datetime) -> Accepted:
        """Ask for one PDF, by `deadline` or not at all."""


class Bodies(Protocol):
    """Where a message's body is when the message only points to it."""

    def resolve(self, body: str) -> bytes:
        """The body itself."""


class Checks(Protocol):
    """Where a check for a webhook that never comes is ordered."""

    def order(self, job_id: str) -> None:
        """Have the job looked at some time later."""


class Submission:
    """Turns a record of the request queue into a submitted job, or a failed one."""

    def __init__(
        self,
        jobs: Jobs,
        service: Service,
        bodies: Bodies,
        queue: Queue,
        checks: Checks,
        announce: Announce,
        *,
        policy: SubmissionPolicy,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._service = service
        self._bodies = bodies
        self._queue = queue
        self._checks = checks
        self._announce = announce
        self._policy = policy
        self._clock = clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        own_id = _job_id_of(record)
        if (end := self._policy.patience.ends(record, self._clock())) is not None:
            return self._reject(record, salvage_job_id(record.body.encode(), own_id), end)
        body = b""
        try:
            body = self._bodies.resolve(record.body)
            request = parse_request(body)
        except PayloadMissing as error:
            if record.receive_count < PAYLOAD_RECEIVES:
                raise Held.of(error) from error
            return self._reject(record, own_id, error)
        except Permanent as error:
            return self._reject(record, salvage_job_id(body, own_id), error)
        job_id = request.job_id or own_id
        standing = self._jobs.get(job_id)
        if standing is not None and not self._may_begin(standing, record, request):
            return self._turn_away(record, request, standing)
        # Before the claim: whoever dies while waiting leaves no request behind that may have gone.
        self._await_slot(job_id, invocation)
        lease = Lease(_owner(record, invocation), invocation.deadline + LEASE_MARGIN)
        job = self._jobs.claim(job_id, request, record.message_id, lease, self._clock())
        if job.lease is not None and job.lease.owner == lease.owner:
            return self._submit(record, request, job, invocation)
        if not self._may_begin(job, record, request):
            return self._turn_away(record, request, job)
        if not self._jobs.take_over(job, lease, self._clock()):
            raise _being_submitted()
        job = replace(job, lease=lease, possible_duplicates=job.possible_duplicates + 1)
        return self._submit_again(record, request, job, invocation)

    def _may_begin(self, job: Job, record: Record, request: GenerationRequest) -> bool:
        """Whether the job may be had for a submission: a slot for any other would be wasted."""
        if job.status is JobStatus.SUBMITTING:
            return job.request_digest == request.digest and not self._is_at_work(job)
        return job.status is JobStatus.FAILED and job.message_id != record.message_id

    def _turn_away(self, record: Record, request: GenerationRequest, job: Job) -> Outcome:
        """Nothing is to be submitted, or not now."""
        if job.request_digest != request.digest:
            return self._refuse_reuse(record, job.job_id)
        if job.status is JobStatus.SUBMITTING:
            raise _being_submitted()
        return self._duplicate(record, job)

    def _await_slot(self, job_id: str, invocation: Invocation) -> None:
        try:
            self._service.await_slot(invocation.deadline - invocation.store_time)
        except Retryable as error:
            error.job_id = job_id
            raise

    def _is_at_work(self, job: Job) -> bool:
        """Whether another delivery holds the job, or its webhook may still settle it."""
        return (
            job.lease is not None
            and job.lease.expires_at + self._policy.outcome_grace > self._clock()
        )

    def _duplicate(self, record: Record, job: Job) -> Outcome:
        """The message's work is done; what is never to be told is a dead letter's reason."""
        try:
            if job.status is JobStatus.SUBMITTED:
                # Whoever submitted it may have died before ordering the check.
                self._checks.order(job.job_id)
            if not job.announced:
                self._announce(job.job_id)
        except Retryable as error:
            if not self._policy.patience.is_over(record, self._clock()):
                error.job_id = job.job_id
                raise
            self._queue.dead_letter(record, error, Step.SUBMIT, job.job_id)
            return _log_failure(job.job_id, error)
        logger().info("duplicate", extra={"job_id": job.job_id, "status": job.status})
        return Outcome.DUPLICATE

    def _submit_again(
        self, record: Record, request: GenerationRequest, job: Job, invocation: Invocation
    ) -> Outcome:
        """Go on where another attempt died or lost the answer, and no webhook settled it."""
        count(PossibleDuplicates=1)
        if job.possible_duplicates <= MAX_UNKNOWN_OUTCOMES:
            return self._submit(record, request, job, invocation)
        return self._fail(
            record,
            job,
            Permanent(
                "OUTCOME_UNKNOWN",
                f"submitted {job.possible_duplicates} times and never answered: look in ReportFlow "
                "for the PDF before you redrive the message",
            ),
        )

    def _submit(
        self, record: Record, request: GenerationRequest, job: Job, invocation: Invocation
    ) -> Outcome:
        try:
            accepted = self._service.submit(request, invocation.deadline - invocation.store_time)
        except Permanent as error:
            return self._fail(record, job, error)
        except Retryable as error:
            if error.costs_retry and job.failed_attempts + 1 >= self._policy.max_attempts:
                return self._fail(record, job, error)
            self._jobs.give_back(job, self._clock(), costs_retry=error.costs_retry)
            error.job_id = job.job_id
            raise
        except OutcomeUnknown as error:
            raise self._wait_out(job, error) from error
        stored = self._jobs.submitted(job, accepted.file_id, accepted.url, self._clock())
        if not stored and not self._has_file(job, accepted.file_id):
            logger().error(
                "submitted twice: the lease was lost",
                extra={"job_id": job.job_id, "file_id": accepted.file_id},
            )
            return Outcome.DUPLICATE
        self._checks.order(job.job_id)
        logger().info("submitted", extra={"job_id": job.job_id, "file_id": accepted.file_id})
        expect_webhook()
        return Outcome.SUBMITTED

    def _wait_out(self, job: Job, error: OutcomeUnknown) -> Held:
        """Let a webhook settle what became of the request, and look again after the grace."""
        logger().warning("outcome unknown", extra={"job_id": job.job_id, "error_code": error.code})
        self._jobs.unanswered(job, self._clock())
        wait = self._policy.outcome_grace + timedelta(seconds=1)
        held = Held.of(error, delay_seconds=wait.total_seconds())
        held.job_id = job.job_id
        return held

    def _has_file(self, job: Job, file_id: str) -> bool:
        """Whether the refused write had been made: its answer was lost, and it was repeated."""
        standing = self._jobs.get(job.job_id)
        return standing is not None and standing.file_id == file_id

    def _reject(self, record: Record, job_id: str, error: PipelineError) -> Outcome:
        """End a message that is not submitted, and the job that it may have begun before."""
        job = self._begun_by(record, job_id)
        if job is not None:
            if job.status is not JobStatus.SUBMITTING:
                return self._duplicate(record, job)
            if self._is_at_work(job):
                raise _being_submitted()
            return self._fail(record, job, error)
        self._queue.dead_letter(record, error, Step.SUBMIT, job_id)
        self._jobs.rejected(job_id, error, self._clock())
        self._announce(job_id)
        return _log_failure(job_id, error)

    def _begun_by(self, record: Record, job_id: str) -> Job | None:
        """The job of an earlier delivery of this message."""
        if record.receive_count == 1:
            return None
        named = self._jobs.get(job_id)
        if named is not None and named.message_id == record.message_id:
            return named
        if not is_pointer(record.body):
            return None
        # Where a payload is gone, so is the id that stood in it.
        return self._jobs.find_begun(record.message_id, self._clock() - REDELIVERED_WITHIN)

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
        try:
            self._queue.dead_letter(record, error, Step.SUBMIT, job.job_id)
        except Retryable:
            # Not a crash: the next delivery need not wait for the lease, nor suspect a second PDF.
            self._jobs.give_back(job, self._clock(), costs_retry=False)
            raise
        self._jobs.failed(job, error, Step.SUBMIT, self._clock())
        self._announce(job.job_id)
        return _log_failure(job.job_id, error)


def _being_submitted() -> Held:
    return Held("BEING_SUBMITTED", "another delivery of this job is at work")


def _job_id_of(record: Record) -> str:
    """The job of a message that names none: the message's id, or the job it had before a redrive.

    A redriven message has a new message id, and still the attributes of its dead letter.
    """
    return (
        named_job_id(lambda name: record.attributes.get(name, {}).get("stringValue", ""))
        or record.message_id
    )


def _owner(record: Record, invocation: Invocation) -> str:
    """Unlike any other delivery's, even of the same message in the same batch."""
    delivery = hashlib.sha256(record.receipt_handle.encode()).hexdigest()[:12]
    return f"{invocation.request_id}/{delivery}"


def _log_failure(job_id: str, error: PipelineError) -> Outcome:
    logger().error(
        "failed",
        extra={"job_id": job_id, "error_code": error.code, "error_message": error.loggable},
    )
    count(error.code, Failed=1)
    return Outcome.FAILED
