"""The shipped code, each time broken in one small way that somebody could think harmless."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPResponse
from typing import Final
from unittest.mock import patch

from reportflow import events, http_session, jobs, jobs_table, pdf, submission
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import GiveUpLimits
from reportflow.contract.central import Central
from reportflow.contract.client import ReportFlow
from reportflow.errors import Held, Permanent
from reportflow.events import Outbox
from reportflow.jobs import Job, JobStatus
from reportflow.jobs_table import JobsTable
from reportflow.queues import Downloads, SqsQueue
from reportflow.secret import SecretStore
from reportflow.submission import Submission
from tests.simulation import breaks
from tests.simulation.breaks import Break
from tests.simulation.faults import Fault
from tests.simulation.storage import S3Client
from tests.simulation.world import World


@dataclass(frozen=True)
class Variant:
    """A bug, `caught_within` so many seeds; `faults` sets the rates of those that it needs."""

    name: str
    broken: Break
    caught_within: int
    faults: Mapping[Fault, float] = field(default_factory=dict)

    def change(self, world: World) -> AbstractContextManager[object]:
        """See `run.Change`."""
        self.provoke(world)
        return self.broken()

    def provoke(self, world: World) -> AbstractContextManager[object]:
        """Only the faults, for comparison."""
        world.chaos.rates.update(self.faults)
        return nullcontext()


BROKEN_SESSIONS = (
    Variant(
        "a connection is used again",
        breaks.both(
            breaks.wrapped(http_session.Session, "_connection", breaks.kept_connection),
            breaks.wrapped(http_session._Answer, "begin", breaks.kept_open),
        ),
        50,
    ),
    Variant(
        "an interim answer is taken for the answer",
        lambda: patch.object(http_session._Answer, "begin", HTTPResponse.begin),
        20,
    ),
)
"""What they break is repaired by webhooks: `test_wire` counts the answers that are lost."""

BROKEN_SEARCH = Variant(
    "a job adopts a file whose answer is in flight to another job",
    breaks.wrapped(JobsTable, "find_unanswered", breaks.as_if_no_lease_lived),
    1,
)
"""Random seeds show it too rarely; `test_adoption` lets two jobs ask for one document at once."""

_LOST_ANSWERS: Final = {Fault.LOST_AFTER: 0.4, Fault.STALL: 0.03, Fault.WEBHOOK_TWICE: 0.5}
"""Jobs adopt files, and stalls between their reads and writes let other deliveries write first."""

VARIANTS = (
    Variant(
        "a webhook's digest is not compared",
        lambda: patch.object(Job, "is_document_of", breaks.same_design),
        300,
    ),
    Variant(
        "a check takes a file that another job has",
        lambda: patch.object(JobsTable, "shares_file", lambda *_: False),
        120,
        {Fault.ANSWER_CROSSED: 0.2, Fault.WEBHOOK_LOST: 0.5},
    ),
    Variant(
        "a write is unconditional", breaks.wrapped(jobs_table, "_as_read", breaks.unconditional), 20
    ),
    Variant(
        "a conflict is not decided again",
        breaks.wrapped(JobsTable, "change", breaks.decided_once),
        50,
    ),
    Variant(
        "the 202 counts as stored when its write failed",
        breaks.wrapped(JobsTable, "change", breaks.success_unless_refused),
        300,
    ),
    Variant(
        "no lease: every delivery submits",
        breaks.wrapped(jobs, "begin", breaks.as_if_given_back),
        50,
    ),
    Variant(
        "a lease never runs out",
        lambda: patch.object(submission, "LEASE_MARGIN", timedelta(days=3650)),
        20,
    ),
    Variant(
        "taking over is not counted",
        breaks.wrapped(jobs, "begin", breaks.uncounted_take_over),
        20,
    ),
    Variant(
        "a final job keeps its lease", lambda: patch.object(jobs, "_unleased", lambda job: job), 20
    ),
    Variant(
        "an archived file is archived again",
        lambda: patch.object(jobs, "_WITH_FILE", frozenset(JobStatus)),
        100,
    ),
    Variant(
        "the archive is written over",
        breaks.wrapped(S3Client, "put_object", breaks.overwriting),
        50,
    ),
    Variant(
        "bytes are archived unverified",
        lambda: patch.object(pdf, "receive", breaks.unverified),
        20,
    ),
    Variant(
        "the check is never ordered", lambda: patch.object(Downloads, "order", breaks.nothing), 20
    ),
    Variant(
        "the webhook answers before it stores",
        lambda: patch.object(Downloads, "send", breaks.nothing),
        20,
    ),
    Variant(
        "a dead letter carries no reason",
        lambda: patch.object(SqsQueue, "dead_letter", breaks.without_reason),
        20,
    ),
    Variant(
        "a failed job has no dead letter",
        lambda: patch.object(SqsQueue, "dead_letter", breaks.nothing),
        20,
    ),
    Variant(
        "a job fails before its dead letter is there",
        lambda: patch.object(Archiving, "_fail", breaks.failed_first),
        300,
    ),
    Variant(
        "a file without a job is nobody's at once",
        lambda: patch.object(Archiving, "_unknown", breaks.nobodys),
        20,
    ),
    Variant(
        "a repeated delivery publishes nothing",
        lambda: patch.object(Submission, "_done", breaks.silent),
        300,
    ),
    Variant(
        "a refused event counts as sent",
        breaks.wrapped(Outbox, "_send", breaks.sent_anyway),
        50,
    ),
    Variant(
        "a message is never given up",
        lambda: patch.object(GiveUpLimits, "reached", breaks.never_reached),
        150,
    ),
    Variant(
        "retries are not counted",
        breaks.wrapped(jobs, "given_back", breaks.costs_nothing),
        50,
    ),
    Variant(
        "a permanent refusal is tried again for ever", breaks.refusal_as(Held, frozenset({404})), 50
    ),
    Variant(
        "refused keys are the message's fault",
        breaks.refusal_as(Permanent, frozenset({401, 403})),
        50,
    ),
    Variant(
        "a job is given up after a third of its retries",
        breaks.both(
            breaks.with_settings(Submission, breaks.fewer_attempts),
            breaks.with_settings(Archiving, breaks.fewer_attempts),
        ),
        20,
    ),
    Variant(
        "a PDF is given up after a sixth of its time",
        breaks.with_settings(Archiving, breaks.early_deadline),
        20,
    ),
    Variant(
        "failed downloads are not counted",
        breaks.wrapped(jobs, "postponed", breaks.costs_nothing),
        100,
    ),
    Variant(
        "one lost answer is given up",
        lambda: patch.object(jobs, "MAX_UNKNOWN_OUTCOMES", 1),
        50,
    ),
    Variant(
        "lost answers are never given up",
        lambda: patch.object(jobs, "MAX_UNKNOWN_OUTCOMES", 1000),
        100,
    ),
    Variant(
        "an answer 5xx fails a job at once",
        breaks.refusal_as(Permanent, frozenset({500, 502, 503})),
        20,
    ),
    Variant(
        "a message is given up after a tenth of its receives",
        breaks.with_settings(Submission, breaks.soon_given_up),
        100,
    ),
    Variant(
        "a message is given up at a twentieth of its age limit",
        breaks.with_settings(Archiving, breaks.hurried),
        100,
    ),
    Variant(
        "the age limit is never applied",
        breaks.both(
            breaks.with_settings(Submission, breaks.ageless),
            breaks.with_settings(Archiving, breaks.ageless),
        ),
        200,
    ),
    Variant(
        "an event is published before the write",
        breaks.wrapped(Archiving, "_record", breaks.published_first),
        20,
    ),
    Variant(
        "an event says what the record does not",
        breaks.wrapped(events, "detail_of", breaks.without_reason_told),
        20,
    ),
    Variant(
        "a lost answer has no grace",
        breaks.with_settings(Submission, breaks.no_grace),
        50,
    ),
    Variant(
        "an unanswered request is repeated at once",
        breaks.wrapped(ReportFlow, "submit", breaks.asked_again_at_once),
        20,
    ),
    Variant(
        "a duplicate submits its job once more",
        breaks.wrapped(Submission, "_done", breaks.submitted_once_more),
        20,
    ),
    Variant(
        "a webhook's design and version are not compared",
        lambda: patch.object(Job, "is_document_of", breaks.same_document),
        50,
    ),
    Variant(
        "a job's id is enough for its mark",
        lambda: patch.object(Job, "is_document_of", breaks.with_any_tag(Job.is_document_of)),
        50,
        {Fault.LOST_AFTER: 0.5, Fault.WEBHOOK_OTHER: 0.5},
    ),
    Variant(
        "neither a central answer's mark nor whose file it is is compared",
        breaks.both(
            breaks.wrapped(Central, "accepted", breaks.of_any_request),
            lambda: patch.object(Job, "is_document_of", breaks.same_design),
        ),
        100,
        {Fault.ANSWER_CROSSED: 0.2, Fault.WEBHOOK_BARE: 0.5},
    ),
    Variant(
        "whatever lies under a job's key is its PDF",
        breaks.wrapped(S3Archive, "find", breaks.of_any_job),
        50,
    ),
    Variant(
        "a job is adopted although another delivery has its lease",
        breaks.both(
            breaks.wrapped(jobs, "adopted", breaks.unless_leased),
            breaks.wrapped(JobsTable, "find_unanswered", breaks.as_if_no_lease_lived),
        ),
        100,
    ),
    Variant(
        "the adoption's write has no condition",
        breaks.wrapped(jobs, "adopted", breaks.unless_leased),
        300,
        _LOST_ANSWERS,
    ),
    Variant(
        "the spool is not rewound before it is stored",
        breaks.wrapped(S3Archive, "store", breaks.from_its_end),
        20,
    ),
    Variant(
        "one delivery leaves two dead letters",
        breaks.wrapped(SqsQueue, "dead_letter", breaks.twice),
        20,
    ),
    Variant(
        "two deliveries side by side fail a job twice",
        lambda: patch.object(jobs, "_life", breaks.one_life),
        200,
    ),
    Variant(
        "only the first of a webhook's files is queued",
        breaks.wrapped(Downloads, "send", breaks.only_the_first),
        20,
    ),
    Variant(
        "a job fails although its PDF is in the archive",
        lambda: patch.object(Archiving, "_stored", breaks.no_pdf_there),
        50,
        {Fault.BODY_CUT: 0.7, Fault.CRASH: 0.03, Fault.AWS_FAILED: 0.05},
    ),
    Variant(
        "any token is accepted",
        breaks.wrapped(SecretStore, "get", breaks.any_token),
        50,
    ),
)
