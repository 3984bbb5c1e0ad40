"""The shipped code, each time broken in one small way that somebody could think harmless."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPResponse
from typing import Any
from unittest.mock import patch

from reportflow import archiving, http_session, pdf, service, submission
from reportflow.archiving import Archiving
from reportflow.consumer import Outcome, Patience
from reportflow.errors import Held, Permanent, PipelineError, Retryable
from reportflow.events import EventBridgeBus
from reportflow.jobs import Job, JobStatus, Step
from reportflow.jobs_table import JobsTable
from reportflow.messages import CompletedFile
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


def _rewritten(change: Callable[[str, str], tuple[str, str]]) -> Break:
    """Patch the table's writes: update and condition expression."""

    def make(original: Any) -> Any:
        def write(
            self: JobsTable,
            job_id: str,
            now: Any,
            update: str,
            condition: str,
            values: Mapping[str, Any],
            names: Any = None,
        ) -> Any:
            update, condition = change(update, condition)
            text = f"{update} {condition}"
            used = {name: value for name, value in values.items() if name in text}
            return original(self, job_id, now, update, condition, used, names)

        return write

    return _wrapped(JobsTable, "_update", make)


_CLAIM = "messageId = :message, leaseOwner"
_ANY = "attribute_not_exists(errorCode) OR attribute_exists(errorCode)"


def _unconditional_claim(update: str, condition: str) -> tuple[str, str]:
    return update, f"({condition}) OR {_ANY}" if _CLAIM in update else condition


def _no_lease(update: str, condition: str) -> tuple[str, str]:
    return update, f"{condition} OR #status = :submitting" if _CLAIM in update else condition


def _uncounted_take_over(update: str, condition: str) -> tuple[str, str]:
    return update.replace(" ADD possibleDuplicates :one", ""), condition


def _archived_again(update: str, condition: str) -> tuple[str, str]:
    if "archiveKey" not in update:
        return update, condition
    return update, "attribute_exists(jobId) AND fileId = :file OR #status IN (:submitted, :failed)"


def _lease_kept(update: str, condition: str) -> tuple[str, str]:
    return update.replace(", leaseOwner, leaseExpiresAt", ""), condition


def _success_unless_refused(original: Any) -> Any:
    def submitted(self: JobsTable, *arguments: Any) -> bool:
        try:
            return bool(original(self, *arguments))
        except Retryable:
            return True

    return submitted


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
    self._jobs.failed(job, error, Step.ARCHIVE, self._clock())
    return self._dead_letter(record, job.job_id, error)


def _uncounted_retry(original: Any) -> Any:
    def give_back(self: JobsTable, job: Any, now: Any, **_: Any) -> None:
        original(self, job, now, costs_retry=False)

    return give_back


def _refusal_as(kind: type[PipelineError], statuses: frozenset[int]) -> Break:
    def make(original: Any) -> Any:
        def translate(status: int, message: str, **options: Any) -> PipelineError:
            if status in statuses:
                return kind(f"HTTP_{status}", message)
            translated: PipelineError = original(status, message, **options)
            return translated

        return translate

    return _wrapped(service, "translate_status", make)


def _silent(self: Submission, job: Job) -> Outcome:
    if job.status is JobStatus.SUBMITTED:
        self._checks.order(job.job_id)
    return Outcome.DUPLICATE


def _sent_anyway(original: Any) -> Any:
    def send(self: EventBridgeBus, ending: Any) -> None:
        with suppress(Retryable):
            original(self, ending)

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
        lambda: patch.object(archiving, "_is_document_of", _same_design),
        300,
    ),
    Variant(
        "a check takes a file that another job has",
        lambda: patch.object(JobsTable, "shares_file", lambda *_: False),
        100,
    ),
    Variant("the claim's write is unconditional", _rewritten(_unconditional_claim), 20),
    Variant(
        "the 202 counts as stored when its write failed",
        _wrapped(JobsTable, "submitted", _success_unless_refused),
        300,
    ),
    Variant("no lease: whoever comes submits", _rewritten(_no_lease), 50),
    Variant(
        "a lease never runs out",
        lambda: patch.object(submission, "LEASE_MARGIN", timedelta(days=3650)),
        20,
    ),
    Variant("taking over is not counted", _rewritten(_uncounted_take_over), 20),
    Variant("an ended job keeps its lease", _rewritten(_lease_kept), 20),
    Variant("an archived file is archived again", _rewritten(_archived_again), 100),
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
        lambda: patch.object(Archiving, "_orphan", _nobodys),
        20,
    ),
    Variant(
        "a repeated delivery announces nothing",
        lambda: patch.object(Submission, "_duplicate", _silent),
        300,
    ),
    Variant(
        "a refused event counts as sent",
        _wrapped(EventBridgeBus, "send", _sent_anyway),
        50,
    ),
    Variant("a message is never given up", lambda: patch.object(Patience, "ends", _patient), 150),
    Variant("retries are not counted", _wrapped(JobsTable, "give_back", _uncounted_retry), 50),
    Variant("a permanent refusal is tried again for ever", _refusal_as(Held, frozenset({404})), 50),
    Variant(
        "refused keys are the message's fault", _refusal_as(Permanent, frozenset({401, 403})), 50
    ),
)
