"""The shipped code, each time broken in one small way that somebody could think harmless."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from http.client import HTTPResponse
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

from reportflow import http_session, jobs, jobs_table, pdf, submission
from reportflow.archiving import Archiving
from reportflow.consumer import GiveUpLimits, Outcome
from reportflow.contract import client
from reportflow.contract.files import CompletedFile
from reportflow.errors import Held, Permanent, PipelineError, Retryable
from reportflow.events import Outbox
from reportflow.jobs import Job, JobStatus, Step, Verdict, failed, submitted
from reportflow.jobs_table import JobsTable, Rule
from reportflow.queues import Downloads, Record, SqsQueue
from reportflow.submission import Submission
from tests.simulation.storage import S3Client
from tests.simulation.world import World

type Break = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Variant:
    """A defect: `caught_within` so many seeds."""

    name: str
    broken: Break
    caught_within: int

    def change(self, _: World) -> AbstractContextManager[object]:
        """See `run.Change`."""
        return self.broken()


def _wrapped(owner: object, name: str, make: Callable[[Any], Any]) -> Break:
    """Patch a method with what `make` makes of it."""
    return lambda: patch.object(owner, name, make(getattr(owner, name)))


def _unconditional(_: object) -> Any:
    return lambda _read: ("attribute_exists(jobId) OR attribute_not_exists(jobId)", {})


def _decided_once(_: object) -> Any:
    """A conflict is not decided again: what the stale record led to is written over the new one."""

    def change(
        self: JobsTable, job_id: str, read: Job | None, rule: Rule, now: Any
    ) -> tuple[Job | None, Verdict | None]:
        wanted = rule(read)
        if isinstance(wanted, Verdict):
            return read, wanted
        wanted = replace(wanted, write_id=uuid4().hex, updated_at=now)
        while (current := self._write(job_id, read, wanted)) != wanted:
            read = current
        return wanted, None

    return change


def _as_if_given_back(original: Any) -> Any:
    def begin(job: Job | None, *arguments: Any, **options: Any) -> Job | Verdict:
        submitting = job is not None and job.status is JobStatus.SUBMITTING
        free = replace(job, lease_owner="", lease_expires_at=None) if job and submitting else job
        return cast("Job | Verdict", original(free, *arguments, **options))

    return begin


def _uncounted_take_over(original: Any) -> Any:
    def begin(job: Job | None, *arguments: Any, **options: Any) -> Job | Verdict:
        begun = original(job, *arguments, **options)
        if isinstance(begun, Job) and job is not None:
            return replace(begun, possible_duplicates=job.possible_duplicates)
        return cast("Job | Verdict", begun)

    return begin


def _success_unless_refused(original: Any) -> Any:
    def change(self: JobsTable, job_id: str, read: Job | None, rule: Any, now: Any) -> Any:
        try:
            return original(self, job_id, read, rule, now)
        except Retryable:
            if getattr(rule, "func", None) is not submitted:
                raise
            return read, None

    return change


def _costs_nothing(original: Any) -> Any:
    return lambda *arguments, **options: original(*arguments, **{**options, "costs_retry": False})


def _overwriting(original: Any) -> Any:
    def put_object(self: S3Client, **call: Any) -> Any:
        del call["IfNoneMatch"]
        return original(self, **call)

    return put_object


def _unverified(chunks: Any, spool: Any, **_: Any) -> pdf.ReceivedPdf:
    content = b"".join(chunks)
    spool.write(content)
    return pdf.ReceivedPdf(len(content), hashlib.sha256(content).digest())


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _without_reason(self: SqsQueue, record: Any, *_: Any) -> None:
    self._client.send_message(QueueUrl=self._dlq_url, MessageBody=record.body)


def _failed_first(self: Archiving, record: Record, job: Job, error: PipelineError) -> Outcome:
    now = self.clock()
    options: Any = {"now": now, "expires_at": self.jobs.expiry(now)}
    self.finisher.change(job, partial(failed, read=job, error=error, step=Step.ARCHIVE, **options))
    return self.finisher.dead_letter(record, job.job_id, error)


def _refusal_as(kind: type[PipelineError], statuses: frozenset[int]) -> Break:
    def make(original: Any) -> Any:
        def translate(status: int, message: str, **options: Any) -> PipelineError:
            if status in statuses:
                return kind(f"HTTP_{status}", message)
            translated: PipelineError = original(status, message, **options)
            return translated

        return translate

    return _wrapped(client, "translate_status", make)


def _silent(self: Submission, _: Record, job: Job) -> Outcome:
    if job.status is JobStatus.SUBMITTED:
        self.checks.order(job.job_id)
    return Outcome.DUPLICATE


def _sent_anyway(original: Any) -> Any:
    def send(self: Outbox, *event: Any) -> None:
        with suppress(Retryable):
            original(self, *event)

    return send


def _patient(*_: Any) -> None:
    """However often it came, it may come again."""


def _nobodys(*_: Any) -> Outcome:
    return Outcome.NOT_OURS


def _kept_connection(original: Any) -> Any:
    def begin(self: http_session._Answer) -> None:
        original(self)
        self.will_close = False

    return begin


def _same_design(job: Job, file: CompletedFile) -> bool:
    return (file.design_id, file.version) == (job.design_id, job.version)


BROKEN_SESSIONS = (
    Variant(
        "a connection is used again",
        _wrapped(http_session._Answer, "begin", _kept_connection),
        50,
    ),
    Variant(
        "an interim answer is taken for the answer",
        lambda: patch.object(http_session._Answer, "begin", HTTPResponse.begin),
        20,
    ),
)
"""What they break is repaired by webhooks: `test_wire` counts the answers that are lost."""

VARIANTS = (
    Variant(
        "a webhook's digest is not compared",
        lambda: patch.object(Job, "is_document_of", _same_design),
        300,
    ),
    Variant(
        "a check takes a file that another job has",
        lambda: patch.object(JobsTable, "shares_file", lambda *_: False),
        200,
    ),
    Variant("a write is unconditional", _wrapped(jobs_table, "_as_read", _unconditional), 20),
    Variant("a conflict is not decided again", _wrapped(JobsTable, "change", _decided_once), 50),
    Variant(
        "the 202 counts as stored when its write failed",
        _wrapped(JobsTable, "change", _success_unless_refused),
        300,
    ),
    Variant(
        "no lease: whoever comes submits", _wrapped(submission, "begin", _as_if_given_back), 50
    ),
    Variant(
        "a lease never runs out",
        lambda: patch.object(submission, "LEASE_MARGIN", timedelta(days=3650)),
        20,
    ),
    Variant("taking over is not counted", _wrapped(submission, "begin", _uncounted_take_over), 20),
    Variant(
        "a final job keeps its lease", lambda: patch.object(jobs, "_unleased", lambda job: job), 20
    ),
    Variant(
        "an archived file is archived again",
        lambda: patch.object(jobs, "_WITH_FILE", frozenset(JobStatus)),
        100,
    ),
    Variant("the archive is written over", _wrapped(S3Client, "put_object", _overwriting), 50),
    Variant(
        "bytes are archived unverified",
        lambda: patch.object(pdf, "receive", _unverified),
        20,
    ),
    Variant("the check is never ordered", lambda: patch.object(Downloads, "order", _nothing), 20),
    Variant(
        "the webhook answers before it stores",
        lambda: patch.object(Downloads, "send", _nothing),
        20,
    ),
    Variant(
        "a dead letter carries no reason",
        lambda: patch.object(SqsQueue, "dead_letter", _without_reason),
        20,
    ),
    Variant(
        "a failed job has no dead letter",
        lambda: patch.object(SqsQueue, "dead_letter", _nothing),
        20,
    ),
    Variant(
        "a job fails before its dead letter is there",
        lambda: patch.object(Archiving, "_fail", _failed_first),
        300,
    ),
    Variant(
        "a file without a job is nobody's at once",
        lambda: patch.object(Archiving, "_unknown", _nobodys),
        20,
    ),
    Variant(
        "a repeated delivery announces nothing",
        lambda: patch.object(Submission, "_done", _silent),
        300,
    ),
    Variant(
        "a refused event counts as sent",
        _wrapped(Outbox, "_send", _sent_anyway),
        50,
    ),
    Variant(
        "a message is never given up", lambda: patch.object(GiveUpLimits, "reached", _patient), 150
    ),
    Variant("retries are not counted", _wrapped(submission, "given_back", _costs_nothing), 50),
    Variant("a permanent refusal is tried again for ever", _refusal_as(Held, frozenset({404})), 50),
    Variant(
        "refused keys are the message's fault", _refusal_as(Permanent, frozenset({401, 403})), 50
    ),
)
