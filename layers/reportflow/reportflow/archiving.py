"""The downloader's work: one finished file becomes one object in the archive.

Whose file a webhook brings:

    the job that has it, for its document     archive it; if jobs share it, the webhook's mark or
                                              digest says which
    a job that has it, for another document   the job's file is in doubt, and as for no job; once
                                              it is archived, dead letter FILE_MISMATCH
    a job whose file is in doubt              archive it if the webhook names the job or its
                                              document; else as for no job
    a job whose mark it returns               the job adopts it, even before its 202
    a job of its document without an answer   the job adopts it
    no job                                    come again for the grace, then end quietly, or as
                                              FILE_MISMATCH if it put a job's file in doubt

What a completion check finds:

    the job is final                          done: a missing event is made up for
    messages wait in the queue                come again behind them: one may be the webhook
    the file is in doubt                      come again; at the deadline FILE_MISMATCH
    anything else                             archive the file by what the record says

What a failed attempt leads to:

    failure                                   of a webhook               of a check
    no such file (FileMissing, Held)          come again for the grace,  come again later; at the
                                              then end quietly           deadline NO_COMPLETION
    ReportFlow failed                         come again, on the budget  come again later; after the
                                                                         deadline on the budget
    AWS, rate limit or time                   come again, on the budget  come again, on the budget
    Permanent                                 dead letter, FAILED        dead letter, FAILED

On the budget: a failure that costs a retry is counted; with the last one of the budget dead
letter and FAILED. A failed job's webhook that was redriven and finds no file ends as FILE_GONE.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Final

import requests

from reportflow import jobs, pdf
from reportflow.archive import S3Archive
from reportflow.consumer import Invocation, Outcome
from reportflow.contract.client import ReportFlow, content_of
from reportflow.contract.files import CompletedFile
from reportflow.errors import (
    FileMissing,
    Held,
    OutOfTime,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
    Unavailable,
    concerning,
)
from reportflow.finishing import Finisher
from reportflow.jobs import ArchivedFile, Job, JobStatus, Verdict
from reportflow.messages import Check, parse_download
from reportflow.observability import count, logger, measure
from reportflow.queues import Record

MEMORY_BYTES: Final = 1024 * 1024
"""A file up to this size stays in memory; a larger one is spooled to the function's disk."""

ADOPTION_AGE: Final = timedelta(seconds=2)
"""A younger file may belong to a job whose 202 is just being stored, or is not indexed yet."""

LONGEST_CHECK_INTERVAL: Final = timedelta(minutes=30)
"""However old a job is, a completion check asks for its file this often."""

WAIT_PER_MESSAGE: Final = timedelta(seconds=1)
"""A completion check waits this long for each message that waits in the queue."""

DOWNLOAD_SHARE: Final = 0.75
"""Of the time an invocation has; the rest is kept for the archive and the record."""

type Opened = AbstractContextManager[requests.Response]
type Open = Callable[[datetime], Opened]
"""Opens a file by a deadline."""


@dataclass
class Archiving:
    """Turns a record of the download queue into an archived job, or a failed one.

    A file without a job may become one's within `orphan_grace`. A job without a webhook is first
    checked after `check_interval`, then each time after as long again as it has waited, and given
    up `completion_deadline` after its submission.
    """

    finisher: Finisher
    files: ReportFlow
    archive: S3Archive
    max_file_bytes: int
    orphan_grace: timedelta
    check_interval: timedelta
    completion_deadline: timedelta

    def __post_init__(self) -> None:
        """Take the parts that `finisher` has, too."""
        self.jobs, self.clock = self.finisher.jobs, self.finisher.clock

    def __call__(self, record: Record, invocation: Invocation) -> Outcome:
        """See `reportflow.consumer.Work`."""
        try:
            message = parse_download(record.body.encode())
        except Permanent as error:
            return self.finisher.dead_letter(record, record.message_id, error)
        if isinstance(message, Check):
            with concerning(message.job_id):
                return self._check(record, message, invocation)
        return self._complete(record, message, invocation)

    def _complete(self, record: Record, file: CompletedFile, invocation: Invocation) -> Outcome:
        """ReportFlow says that a file is done."""
        marked = self._marked(file)
        # An answer may have gone to another job, and the index of the files lags behind the table.
        is_its_own = marked is not None and marked.file_id == file.file_id
        job = marked if is_its_own else self.jobs.find_by_file_id(file.file_id, file.request_digest)
        contradicted = None
        if job is not None and not job.is_document_of(file):
            if job.status is JobStatus.ARCHIVED:
                return self.finisher.dead_letter(record, job.job_id, _mismatch())
            self.finisher.change(job, partial(jobs.doubted, read=job))
            job, contradicted = None, job
        job = job or self._adopt(record, file, marked)
        if job is None:
            return self._unknown(record, file, contradicted)
        if job.status is JobStatus.ARCHIVED:
            return self.finisher.done(record, job)
        if job.file_is_in_doubt and not job.is_named_by(file):
            return self._unproven(record, file, job)
        with concerning(job.job_id):
            try:
                open_file = partial(self.files.open, file.file_id, file.reference)
                stored = self._fetch(record, job, open_file, invocation)
            except Permanent as error:
                return self._fail(record, job, error)
            except FileMissing as error:
                return self._missing(record, file, job, error)
            except Retryable as error:
                return self._try_again(record, job, error, by_webhook=True)
            return self._record(record, job, stored)

    def _marked(self, file: CompletedFile) -> Job | None:
        """The job whose mark the webhook returns, if it asks for such a document."""
        job = self.jobs.get(file.mark.job_id) if file.mark is not None else None
        return job if job is not None and job.is_document_of(file) else None

    def _adopt(self, record: Record, file: CompletedFile, marked: Job | None) -> Job | None:
        """The job whose answer was lost, and whose document this file is.

        So a lost answer costs no second PDF. If two such jobs ask for the same document, either may
        have it.
        """
        now = self.clock()
        job = marked
        if file.mark is None and file.request_digest and now - record.sent_at >= ADOPTION_AGE:
            job = self.jobs.find_unanswered(file.request_digest, now)
        if job is None:
            return None
        current, verdict = self.finisher.change(job, partial(jobs.adopted, file=file, now=now))
        if verdict is not None:
            return None
        logger().info(
            "unanswered submission reconciled by its webhook",
            extra={"job_id": job.job_id, "file_id": file.file_id},
        )
        return current

    def _unknown(
        self, record: Record, file: CompletedFile, contradicted: Job | None = None
    ) -> Outcome:
        """A file that no job has, or that is not there: either may come, or it is not ours."""
        if self.clock() - record.sent_at < self.orphan_grace:
            raise Held("FILE_UNKNOWN", "no job has this file yet, or ReportFlow has not")
        if contradicted is not None:
            return self.finisher.dead_letter(record, contradicted.job_id, _mismatch())
        logger().info("not ours", extra={"file_id": file.file_id})
        return Outcome.NOT_OURS

    def _unproven(self, record: Record, file: CompletedFile, job: Job) -> Outcome:
        """The job's file is in doubt, and the webhook does not say what it holds."""
        outcome = self._unknown(record, file)
        if not _is_last_of(record, job):
            return outcome
        same = Permanent.again(job.error_code, job.error_message)
        return self.finisher.dead_letter(record, job.job_id, same)

    def _missing(
        self, record: Record, file: CompletedFile, job: Job, error: FileMissing
    ) -> Outcome:
        """ReportFlow has no such file as the webhook names.

        A webhook alone never fails a job: its ids can be forged, and the job's check decides.
        """
        if (found := self.archive.find(job)) is not None:
            return self._record(record, job, found)
        outcome = self._unknown(record, file)
        if not _is_last_of(record, job):
            return outcome
        if error.code == "NOT_READY":
            raise error
        gone = Permanent(
            "FILE_GONE",
            "ReportFlow has deleted the job's file: have upstream send the message again, with the "
            "same jobId, for a new PDF",
        )
        return self._fail(record, job, gone)

    def _check(self, record: Record, check: Check, invocation: Invocation) -> Outcome:
        """Poll for the file of a job whose webhook should have come by now."""
        job = self.jobs.get(check.job_id)
        if job is None:
            logger().info("not ours", extra={"job_id": check.job_id})
            return Outcome.NOT_OURS
        redriven = _is_redriven(record)
        if job.status is not JobStatus.SUBMITTED and not (
            redriven and job.status is JobStatus.FAILED and job.file_id
        ):
            return self.finisher.done(record, job)
        submitted_at = record.sent_at if redriven else job.submitted_at or record.sent_at
        if not redriven:
            self._let_messages_pass(record, job, submitted_at)
        try:
            if job.file_is_in_doubt:
                raise _in_doubt()
            stored = self._fetch(record, job, partial(self._open, job), invocation)
        except Permanent as error:
            return self._fail(record, job, error)
        except Retryable as error:
            return self._after_check(record, job, submitted_at, error)
        return self._record(record, job, stored, by_check=True)

    def _let_messages_pass(self, record: Record, job: Job, submitted_at: datetime) -> None:
        """Let the waiting messages go first: one of them may be the webhook of the job.

        SQS keeps no order. Without this, a check overtakes a webhook that waits in a long queue,
        counts it as lost, and takes its slot of the rate limit. The place in the queue decides how
        long each check waits, so that a crowd of checks does not come back as a crowd. A webhook
        that came and has to come again, as without a slot, is hidden and still goes first.

        Raises:
            Held: the check comes again; never after the job's deadline.
        """
        wait = self._next_check(submitted_at)
        over = self.finisher.limits.reached(record, self.clock()) is not None
        if wait is None or over:
            return
        waiting = self.finisher.queue.waiting()
        came = job.webhook_at is not None and self.clock() - job.webhook_at < self.orphan_grace
        if waiting or came:
            raise Held(
                "QUEUE_BEHIND",
                "the job's webhook may be among the messages that wait in the queue",
                delay_seconds=(wait + waiting * WAIT_PER_MESSAGE).total_seconds(),
            )

    def _after_check(
        self, record: Record, job: Job, submitted_at: datetime, error: Retryable
    ) -> Outcome:
        if isinstance(error, (Unavailable, Throttled, OutOfTime)):
            return self._try_again(record, job, error)
        if (wait := self._next_check(submitted_at)) is not None:
            raise Held.of(error, delay_seconds=wait.total_seconds()) from error
        # Whether there is a PDF is for ReportFlow to say, not for its outage.
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

    def _next_check(self, submitted_at: datetime) -> timedelta | None:
        """How long from now; None once the job's time is over.

        Each check takes a slot of the rate limit: rendering that takes hours may not use it up.
        """
        age = self.clock() - submitted_at
        remaining = self.completion_deadline - age
        if remaining <= timedelta():
            return None
        return min(max(self.check_interval, min(age, LONGEST_CHECK_INTERVAL)), remaining)

    def _open(self, job: Job, deadline: datetime) -> Opened:
        """Open the job's file by what its record says, if the job still waits for it.

        Called once the check has its slot. The job's webhook may have done the work by then.
        """
        current = self.jobs.get(job.job_id)
        if current is None or (current.status, current.file_id) != (job.status, job.file_id):
            raise Held("JOB_CHANGED", "the job went on while its check waited for a slot")
        if current.webhook_at is None and self.jobs.shares_file(current):
            # One of the two has the other's answer. Only the job's own webhook can decide.
            self.finisher.change(current, partial(jobs.doubted, read=current))
            raise _in_doubt()
        if current.file_is_in_doubt:
            raise _in_doubt()
        return self.files.open(current.file_id, current.file_reference, deadline)

    def _try_again(
        self, record: Record, job: Job, error: Retryable, *, by_webhook: bool = False
    ) -> Outcome:
        """Count the failure and let the message come again, or fail the job at its last retry."""
        if self.finisher.is_last(job, error):
            return self._fail(record, job, error)
        rule = partial(
            jobs.postponed,
            read=job,
            now=self.clock(),
            costs_retry=error.costs_retry,
            by_webhook=by_webhook,
        )
        self.finisher.change(job, rule)
        raise error

    def _fetch(
        self, record: Record, job: Job, open_file: Open, invocation: Invocation
    ) -> ArchivedFile:
        """Bring the whole file here, and only when it is known to be right, to the archive."""
        if (end := self.finisher.limits.reached(record, self.clock())) is not None:
            raise end
        self.files.await_slot(invocation.deadline)
        now = self.clock()
        deadline = now + (invocation.deadline - now) * DOWNLOAD_SHARE
        with SpooledTemporaryFile(max_size=MEMORY_BYTES) as spool, open_file(deadline) as response:
            received = pdf.receive(
                content_of(response),
                spool,
                content_type=response.headers.get("Content-Type"),
                max_bytes=self.max_file_bytes,
            )
            spool.seek(0)
            return self.archive.store(job, received, spool)

    def _record(
        self, record: Record, job: Job, stored: ArchivedFile, *, by_check: bool = False
    ) -> Outcome:
        now = self.clock()
        rule = partial(jobs.archived, read=job, file=stored, now=now)
        current, verdict = self.finisher.change(job, rule)
        if verdict is Verdict.IN_DOUBT:
            raise _in_doubt()
        if verdict is not None or current is None:
            return self.finisher.done(record, current or job)
        logger().info(
            "archived",
            extra={
                "job_id": job.job_id,
                "archive_key": stored.archive_key,
                "size": stored.size,
            },
        )
        measure(ArchiveSeconds=(now - job.created_at).total_seconds())
        if by_check and current.webhook_at is None:
            about = {"job_id": job.job_id, "file_id": job.file_id}
            logger().warning("webhook lost", extra=about)
            count(LostWebhooks=1)
        self.finisher.publish(record, current)
        return Outcome.ARCHIVED

    def _fail(self, record: Record, job: Job, error: PipelineError) -> Outcome:
        """Dead letter first, then the record: no job is `FAILED` without one."""
        current = self.jobs.get(job.job_id) or job
        if current.status is JobStatus.ARCHIVED:
            return self.finisher.done(record, current)
        if (found := self._stored(record, current)) is not None:
            return self._record(record, current, found)
        return self.finisher.fail(record, job, error, current)

    def _stored(self, record: Record, job: Job) -> ArchivedFile | None:
        """The job's PDF, if an attempt stored it and died before the record said so.

        A message that cannot come again does not wait for S3: redriven, it finds the PDF.
        """
        try:
            return self.archive.find(job)
        except Retryable:
            if self.finisher.limits.reached(record, self.clock()) is None:
                raise
            return None


def _in_doubt() -> Held:
    return Held("FILE_MISMATCH", "the job's file seems to hold another document")


def _mismatch() -> Permanent:
    return Permanent(
        "FILE_MISMATCH",
        "the file that ReportFlow named for the job holds another document: look at it in "
        "ReportFlow, and in the archive if the job is there, then have upstream send the message "
        "again",
    )


def _is_redriven(record: Record) -> bool:
    """Whether it was a dead letter, whose reason it still carries."""
    return "errorCode" in record.attributes


def _is_last_of(record: Record, job: Job) -> bool:
    """Whether it is a failed job's redriven dead letter, which may not end without another one."""
    return _is_redriven(record) and job.status is JobStatus.FAILED
