"""The replacements with which `variants` breaks the shipped code."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from copy import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import SEEK_END
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import msgspec
from botocore.exceptions import ClientError
from urllib3.util import Url

from reportflow import http_session, pdf
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import Outcome
from reportflow.contract import WORKSPACE, client
from reportflow.contract.files import CompletedFile, Mark
from reportflow.errors import OutcomeUnknown, PipelineError, Retryable
from reportflow.events import Outbox, detail_of
from reportflow.jobs import ArchivedFile, Job, JobStatus, Step, Verdict, archived, failed, submitted
from reportflow.jobs_table import JobsTable, Rule
from reportflow.messages import parse_request
from reportflow.queues import Record, SqsQueue
from reportflow.submission import Submission
from tests.simulation.storage import S3Client

type Break = Callable[[], AbstractContextManager[object]]


def wrapped(owner: object, name: str, make: Callable[[Any], Any]) -> Break:
    """Patch a method with what `make` makes of it."""
    return lambda: patch.object(owner, name, make(getattr(owner, name)))


def unconditional(_: object) -> Any:
    return lambda _read: ("attribute_exists(jobId) OR attribute_not_exists(jobId)", {})


def decided_once(_: object) -> Any:
    """A conflict is not decided again: what the stale record led to is written over the new one."""

    def change(
        self: JobsTable, job_id: str, read: Job | None, rule: Rule, now: Any
    ) -> tuple[Job | None, Verdict | None]:
        wanted = rule(read)
        if isinstance(wanted, Verdict):
            return read, wanted
        wanted = replace(wanted, write_id=uuid4().hex, updated_at=now)
        while (current := self._write(job_id, read, wanted)) is None or (
            current.write_id != wanted.write_id
        ):
            read = current
        return current, None

    return change


def as_if_given_back(original: Any) -> Any:
    def begin(job: Job | None, *arguments: Any, **options: Any) -> Job | Verdict:
        submitting = job is not None and job.status is JobStatus.SUBMITTING
        free = (
            replace(job, lease_owner="", lease_expires_at=None, leased_digest="")
            if job and submitting
            else job
        )
        return cast("Job | Verdict", original(free, *arguments, **options))

    return begin


def uncounted_take_over(original: Any) -> Any:
    def begin(job: Job | None, *arguments: Any, **options: Any) -> Job | Verdict:
        begun = original(job, *arguments, **options)
        if isinstance(begun, Job) and job is not None:
            return replace(begun, possible_duplicates=job.possible_duplicates)
        return cast("Job | Verdict", begun)

    return begin


def success_unless_refused(original: Any) -> Any:
    def change(self: JobsTable, job_id: str, read: Job | None, rule: Any, now: Any) -> Any:
        try:
            return original(self, job_id, read, rule, now)
        except Retryable:
            if getattr(rule, "func", None) is not submitted:
                raise
            return read, None

    return change


def costs_nothing(original: Any) -> Any:
    return lambda *arguments, **options: original(*arguments, **{**options, "costs_retry": False})


def overwriting(original: Any) -> Any:
    def put_object(self: S3Client, **call: Any) -> Any:
        del call["IfNoneMatch"]
        return original(self, **call)

    return put_object


def unverified(chunks: Any, spool: Any, **_: Any) -> pdf.ReceivedPdf:
    content = b"".join(chunks)
    spool.write(content)
    return pdf.ReceivedPdf(len(content), hashlib.sha256(content).digest())


def nothing(*_: Any, **__: Any) -> None:
    pass


def without_reason(self: SqsQueue, record: Any, *_: Any) -> None:
    self._client.send_message(QueueUrl=self._dlq_url, MessageBody=record.body)


def failed_first(self: Archiving, record: Record, job: Job, error: PipelineError) -> Outcome:
    now = self.clock()
    options: Any = {"now": now}
    self.finisher.change(job, partial(failed, read=job, error=error, step=Step.ARCHIVE, **options))
    return self.finisher.dead_letter(record, job.job_id, error)


def refusal_as(kind: type[PipelineError], statuses: frozenset[int]) -> Break:
    def make(original: Any) -> Any:
        def translate(status: int, message: str, **options: Any) -> PipelineError:
            if status in statuses:
                return kind(f"HTTP_{status}", message)
            translated: PipelineError = original(status, message, **options)
            return translated

        return translate

    return wrapped(client, "translate_status", make)


def silent(self: Submission, _: Record, job: Job) -> Outcome:
    if job.status is JobStatus.SUBMITTED:
        self.checks.order(job.job_id)
    return Outcome.DUPLICATE


def sent_anyway(original: Any) -> Any:
    def send(self: Outbox, *event: Any) -> None:
        with suppress(Retryable):
            original(self, *event)

    return send


def never_reached(*_: Any) -> None:
    """However often it came, it may come again."""


def nobodys(*_: Any) -> Outcome:
    return Outcome.NOT_OURS


def kept_connection(original: Any) -> Any:
    """Each session has one connection for a host, and the server keeps it, too."""
    kept: dict[tuple[http_session.Session, str], Any] = {}

    def connection(session: http_session.Session, place: Url, seconds: float) -> Any:
        found = kept.setdefault((session, str(place.host)), original(session, place, seconds))
        found.timeout = seconds
        vars(found).pop("connect", None)
        if found.sock is not None:
            found.connect = lambda: None
        return found

    return connection


def kept_open(original: Any) -> Any:
    def begin(self: http_session._Answer) -> None:
        original(self)
        self.will_close = False

    return begin


def same_design(job: Job, file: CompletedFile) -> bool:
    return (file.design_id, file.version) == (job.design_id, job.version)


def with_settings(kind: type[Submission | Archiving], change: Callable[[Any], Any]) -> Break:
    """Each delivery finds settings that `change` has made of the deployment's."""

    def make(original: Any) -> Any:
        def call(self: Any, *arguments: Any) -> Any:
            return original(change(self), *arguments)

        return call

    return wrapped(kind, "__call__", make)


def both(*breaks: Break) -> Break:
    """Broken in several places at once."""

    def enter() -> AbstractContextManager[object]:
        stack = ExitStack()
        for one in breaks:
            stack.enter_context(one())
        return stack

    return enter


def fewer_attempts(work: Any) -> Any:
    few = work.finisher.max_attempts // 3
    return replace(work, finisher=replace(work.finisher, max_attempts=few))


def early_deadline(work: Any) -> Any:
    return replace(work, completion_deadline=work.completion_deadline / 6)


def no_grace(work: Any) -> Any:
    return replace(work, outcome_grace=timedelta())


def _with_limits(work: Any, **limits: Any) -> Any:
    changed = replace(work.finisher.limits, **limits)
    return replace(work, finisher=replace(work.finisher, limits=changed))


def soon_given_up(work: Any) -> Any:
    return _with_limits(work, max_receives=work.finisher.limits.max_receives // 10)


def hurried(work: Any) -> Any:
    return _with_limits(work, max_age=work.finisher.limits.max_age / 20)


def ageless(work: Any) -> Any:
    return _with_limits(work, max_age=timedelta(days=3650))


def published_first(original: Any) -> Any:
    """The event of a final state is sent before its record is written, and once more after."""

    def record(self: Archiving, record: Record, job: Job, stored: ArchivedFile) -> Any:
        now = self.clock()
        wanted = archived(job, job, stored, now)
        if isinstance(wanted, Job):
            self.finisher.outbox._send(detail_of(wanted), now)
        return original(self, record, job, stored)

    return record


def without_reason_told(original: Any) -> Any:
    """The event does not say what the record says."""
    return lambda job: original(replace(job, error_message=""))


def only_the_first(original: Any) -> Any:
    return lambda self, files: original(self, files[:1])


def asked_again_at_once(original: Any) -> Any:
    """An HTTP client that retries by itself."""

    def submit(self: Any, *arguments: Any) -> Any:
        try:
            return original(self, *arguments)
        except OutcomeUnknown:
            return original(self, *arguments)

    return submit


def submitted_once_more(original: Any) -> Any:
    """A delivery whose work was done asks for the PDF all the same."""

    def done(self: Submission, record: Record, job: Job) -> Any:
        with suppress(PipelineError):
            request = parse_request(record.body.encode(), WORKSPACE)
            self.service.submit(request, job.mark, self.clock() + timedelta(seconds=5))
        return original(self, record, job)

    return done


def unless_leased(original: Any) -> Any:
    """A job is adopted although another delivery has its lease."""

    def adopt(job: Job | None, **options: Any) -> Any:
        return original(job and replace(job, lease_expires_at=None), **options)

    return adopt


def as_if_no_lease_lived(original: Any) -> Any:
    """The search for an unanswered job takes each lease for one that has run out."""
    later = datetime.max.replace(tzinfo=UTC)
    return lambda self, digest, _now: original(self, digest, later)


def of_any_job(original: Any) -> Any:
    """What lies under a job's key is taken for its PDF."""

    def find(self: S3Archive, job: Job) -> Any:
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=job.key())
        except ClientError:
            return None
        return original(self, replace(job, request_digest=found["Metadata"]["request-digest"]))

    return find


def from_its_end(original: Any) -> Any:
    """Nobody goes back to the start of what was received."""

    def store(self: S3Archive, job: Job, received: pdf.ReceivedPdf, spool: Any) -> Any:
        spool.seek(0, SEEK_END)
        return original(self, job, received, spool)

    return store


def twice(original: Any) -> Any:
    def do(*arguments: Any) -> None:
        original(*arguments)
        original(*arguments)

    return do


def one_life(job: Job) -> object:
    """Failures side by side are those of one file, whatever became of the job meanwhile."""
    return job.file_id


def no_pdf_there(*_: Any) -> None:
    """The archive is not asked whether it has the PDF of a job that is about to fail."""


def any_token(original: Any) -> Any:
    def get(self: Any) -> Any:
        secret = original(self)
        return replace(secret, webhook_tokens=(*secret.webhook_tokens, "wrong"))

    return get


def same_document(job: Job, file: CompletedFile) -> bool:
    """A webhook that does not quote its document is believed whatever template it names."""
    return file.request_digest in ("", job.request_digest)


def with_any_tag(original: Any) -> Any:
    """A mark is compared by the job's id alone."""

    def is_document_of(job: Job, file: CompletedFile) -> bool:
        own = file.mark is not None and file.mark.job_id == job.job_id
        mark = job.mark if own else file.mark
        return bool(original(job, msgspec.structs.replace(file, mark=mark)))

    return is_document_of


def of_any_request(original: Any) -> Any:
    """The answer to another request counts, too."""

    def accepted(self: Any, answer: bytes, _: Mark) -> Any:
        said = json.loads(answer)
        for file in said.get("files", []):
            file.pop("passthrough", None)
        return original(self, json.dumps(said).encode(), Mark("", ""))

    return accepted
