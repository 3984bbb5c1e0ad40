"""How a job or a message ends: the dead letter first, then the record, then the event.

In this order a crash leaves no job `FAILED` without a dead letter, and no event without a record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from reportflow.consumer import GiveUpLimits, Outcome
from reportflow.errors import PipelineError, Retryable
from reportflow.events import Outbox
from reportflow.jobs import Job, Step, Verdict, failed
from reportflow.jobs_table import JobsTable, Rule
from reportflow.observability import count, logger
from reportflow.queues import Record, SqsQueue


@dataclass(frozen=True)
class Finisher:
    """Ends jobs for one function, the one that runs `step`; `max_attempts` is a retry budget."""

    step: Step
    jobs: JobsTable
    queue: SqsQueue
    outbox: Outbox
    limits: GiveUpLimits
    max_attempts: int
    clock: Callable[[], datetime]

    def change(self, job: Job, rule: Rule) -> tuple[Job | None, Verdict | None]:
        """See `JobsTable.change`."""
        return self.jobs.change(job.job_id, job, rule, self.clock())

    def is_last(self, job: Job, error: Retryable) -> bool:
        """Whether the failure uses up the job's retry budget."""
        return error.costs_retry and job.failed_attempts + 1 >= self.max_attempts

    def fail(
        self, record: Record, job: Job, error: PipelineError, current: Job | None = None
    ) -> Outcome:
        """Give the job up: `job` is as the failed attempt saw it, `current` as it was read last.

        Raises:
            Retryable: AWS does not answer; the message comes again.
        """
        outcome = self.dead_letter(record, job.job_id, error)
        rule = partial(failed, read=job, error=error, step=self.step, now=self.clock())
        ended, _ = self.change(current or job, rule)
        self.publish(record, ended or job)
        return outcome

    def done(self, record: Record, job: Job) -> Outcome:
        """An earlier delivery did the message's work, except perhaps for the event.

        Raises:
            Retryable: see `publish`.
        """
        self.publish(record, job)
        logger().info("duplicate", extra={"job_id": job.job_id, "status": job.status})
        return Outcome.DUPLICATE

    def publish(self, record: Record, job: Job) -> None:
        """Publish the job's final state. After the message's last delivery, its redrive does that.

        Raises:
            Retryable: the message comes again.
        """
        try:
            self.outbox.publish(job)
        except Retryable as error:
            if self.limits.reached(record, self.clock()) is None:
                raise
            self.dead_letter(record, job.job_id, error)

    def dead_letter(self, record: Record, job_id: str, error: PipelineError) -> Outcome:
        """Copy the message to the dead-letter queue and report the failure.

        Raises:
            Retryable: the queue does not answer; the message comes again.
        """
        self.queue.dead_letter(record, error, self.step, job_id)
        about = {"job_id": job_id, "error_code": error.code, "error_message": error.loggable}
        logger().error("failed", extra=about)
        count(error.code, Failed=1)
        return Outcome.FAILED
