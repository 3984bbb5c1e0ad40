"""The submitter's work: one message becomes one request to ReportFlow.

What a message leads to, by what its job's record says (`jobs.begin`):

    no record, or FAILED by another message   submit
    SUBMITTING, given back                    submit
    SUBMITTING, in flight or unanswered       come again later (BEING_SUBMITTED)
    SUBMITTING, its answer long lost          submit again, counted as a possible duplicate; after
                                              jobs.MAX_UNKNOWN_OUTCOMES of them dead letter
                                              OUTCOME_UNKNOWN, FAILED
    another document                          dead letter JOB_ID_REUSED; the job stays as it is
    anything else                             done: a missing check or event is made up for

What ReportFlow's answer leads to:

    202                                       SUBMITTED, and a completion check is queued
    Permanent                                 dead letter, FAILED
    Retryable                                 given back, and comes again; with the last attempt of
                                              the retry budget dead letter, FAILED
    OutcomeUnknown                            comes again after the grace; a webhook may bring the
                                              answer until then
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Final

from reportflow import jobs
from reportflow.consumer import Invocation, Outcome
from reportflow.contract import Contract
from reportflow.contract.client import ReportFlow
from reportflow.errors import (
    Held,
    OutcomeUnknown,
    PayloadMissing,
    Permanent,
    PipelineError,
    Retryable,
    concerning,
)
from reportflow.finishing import Finisher
from reportflow.jobs import Job, JobStatus, Lease, Verdict
from reportflow.messages import GenerationRequest, named_job_id, parse_request, salvage_job_id
from reportflow.observability import count, expect_webhook, logger
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, Record
from reportflow.salvage import salvage

LEASE_MARGIN: Final = timedelta(seconds=2)
"""Added to the invocation's deadline, for clocks that differ."""

PAYLOAD_RECEIVES: Final = 5
"""A payload is read at most this often: it may be written a moment after its message."""

RANDOM_BYTES: Final = 16
"""Of a job's tag and of a lease's owner. The tag must be unguessable: `rng` is the system's in a
deployed function."""


@dataclass
class Submission:
    """Turns a record of the request queue into a submitted job, or a failed one.

    For `outcome_grace` a webhook may bring the answer of an unanswered submission, before it is
    repeated.
    """

    finisher: Finisher
    service: ReportFlow
    bodies: Payloads
    checks: Downloads
    contract: Contract
    rng: Random
    outcome_grace: timedelta

    def __post_init__(self) -> None:
        """Take the parts that `finisher` has, too."""
        self.jobs, self.clock = self.finisher.jobs, self.finisher.clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        own_id = _job_id_of(record)
        end = self.finisher.limits.reached(record, self.clock())
        body = b""
        try:
            body = self.bodies.resolve(record.body)
            if end is not None:
                raise end
            request = parse_request(body, self.contract)
        except PipelineError as error:
            if end is not None:
                # A message that cannot come again does not wait for the payload that names its job.
                return self._reject(record, body or record.body.encode(), end)
            if isinstance(error, PayloadMissing) and record.receive_count < PAYLOAD_RECEIVES:
                raise Held.of(error) from error
            if isinstance(error, Permanent):
                return self._reject(record, body, error)
            raise
        job_id = request.job_id or own_id
        with concerning(job_id):
            return self._begin(record, job_id, request, invocation)

    def _begin(
        self, record: Record, job_id: str, request: GenerationRequest[Any], invocation: Invocation
    ) -> Outcome:
        rule = partial(
            jobs.begin,
            request=request,
            job_id=job_id,
            message_id=record.message_id,
            lease=Lease(self._random(), invocation.deadline + LEASE_MARGIN),
            tag=self._random(),
            grace=self.outcome_grace,
        )
        # A message's first delivery is usually its job's, too. If not, the claim finds the record.
        read = self.jobs.get(job_id) if record.receive_count > 1 else None
        wanted = rule(read, now=self.clock())
        if isinstance(wanted, Verdict):
            return self._turn_away(record, read, wanted)
        # Before the claim: a crash while waiting must not look like a request that was sent.
        self.service.await_slot(invocation.deadline - invocation.store_time)
        now = self.clock()

        def claim(current: Job | None) -> Job | Verdict:
            nonlocal read
            read = current
            return rule(current, now=now)

        job, verdict = self.jobs.change(job_id, read, claim, now)
        if verdict is not None or job is None:
            return self._turn_away(record, job, verdict)
        if repeated := job.possible_duplicates - (read.possible_duplicates if read else 0):
            count(PossibleDuplicates=repeated)
        return self._submit(record, request, job, invocation)

    def _turn_away(self, record: Record, job: Job | None, verdict: Verdict | None) -> Outcome:
        if job is None or verdict is Verdict.BUSY:
            raise Held("BEING_SUBMITTED", "another delivery of this job is in flight")
        if verdict is Verdict.REUSED:
            return self.finisher.dead_letter(record, job.job_id, _reused())
        if verdict is Verdict.UNANSWERED:
            return self.finisher.fail(record, job, _never_answered(job))
        return self._done(record, job)

    def _done(self, record: Record, job: Job) -> Outcome:
        """The message's work was done, except for the check or the event perhaps."""
        if job.status is JobStatus.SUBMITTED:
            self.checks.order(job.job_id)
        return self.finisher.done(record, job)

    def _submit(
        self, record: Record, request: GenerationRequest[Any], job: Job, invocation: Invocation
    ) -> Outcome:
        about = {"job_id": job.job_id}
        try:
            by = invocation.deadline - invocation.store_time
            accepted = self.service.submit(request, job.mark, by)
        except Permanent as error:
            return self._fail(record, job, error)
        except Retryable as error:
            if self.finisher.is_last(job, error):
                return self._fail(record, job, error)
            self._give_back(job, costs_retry=error.costs_retry)
            raise
        except OutcomeUnknown as error:
            logger().warning("outcome unknown", extra=about | {"error_code": error.code})
            lost = partial(jobs.unanswered, owner=job.lease_owner, now=self.clock())
            self.finisher.change(job, lost)
            wait = self.outcome_grace + timedelta(seconds=1)
            raise Held.of(error, delay_seconds=wait.total_seconds()) from error
        about["file_id"] = accepted.file_id
        stored = partial(jobs.submitted, owner=job.lease_owner, file=accepted, now=self.clock())
        _, verdict = self.finisher.change(job, stored)
        if verdict is not None:
            logger().error("submitted twice: the lease was lost", extra=about)
            return Outcome.DUPLICATE
        self.checks.order(job.job_id)
        logger().info("submitted", extra=about)
        expect_webhook()
        return Outcome.SUBMITTED

    def _reject(self, record: Record, body: bytes, error: PipelineError) -> Outcome:
        """Finish a message that is not submitted, and the job that it may have begun before."""
        job_id = salvage_job_id(body, _job_id_of(record))
        job = self.jobs.get(job_id)
        if job is not None and job.message_id == record.message_id:
            if job.status is not JobStatus.SUBMITTING:
                return self._done(record, job)
            if job.is_leased(self.clock(), self.outcome_grace):
                return self._turn_away(record, job, Verdict.BUSY)
            return self.finisher.fail(record, job, error)
        outcome = self.finisher.dead_letter(record, job_id, error)
        now = self.clock()
        rule = partial(
            jobs.rejected,
            job_id=job_id,
            message_id=record.message_id,
            salvaged=salvage(body, self.contract),
            error=error,
            now=now,
        )
        current, _ = self.jobs.change(job_id, job, rule, now)
        # Another delivery of the message may have written the record, and not published it.
        if current is not None and current.message_id == record.message_id:
            self.finisher.publish(record, current)
        return outcome

    def _fail(self, record: Record, job: Job, error: PipelineError) -> Outcome:
        try:
            return self.finisher.fail(record, job, error)
        except Retryable:
            # The next delivery need not wait for the lease, nor suspect a second PDF.
            self._give_back(job, costs_retry=False)
            raise

    def _give_back(self, job: Job, *, costs_retry: bool) -> None:
        back = partial(jobs.given_back, owner=job.lease_owner, costs_retry=costs_retry)
        self.finisher.change(job, back)

    def _random(self) -> str:
        return self.rng.randbytes(RANDOM_BYTES).hex()


def _reused() -> Permanent:
    return Permanent(
        "JOB_ID_REUSED",
        "this jobId was sent before with another design, version, file name or params: give each "
        "document a jobId of its own",
    )


def _never_answered(job: Job) -> Permanent:
    return Permanent(
        "OUTCOME_UNKNOWN",
        f"submitted {job.possible_duplicates + 1} times and never answered: look in ReportFlow for "
        "the PDF before you redrive the message",
    )


def _job_id_of(record: Record) -> str:
    """The job of a message that names none: the message's id, or the job it had before a redrive.

    A redriven message has a new message id, and still the attributes of its dead letter.
    """
    return (
        named_job_id(lambda name: record.attributes.get(name, {}).get("stringValue", ""))
        or record.message_id
    )
