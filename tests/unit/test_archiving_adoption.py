"""A submission whose answer was lost, and the webhook that can reconcile it."""

import json
from collections.abc import Callable
from copy import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from reportflow.archiving import ADOPTION_AGE, Archiving
from reportflow.consumer import Outcome
from reportflow.contract import WORKSPACE
from reportflow.contract.webhook_body import read_webhook
from reportflow.errors import Held
from reportflow.jobs import Job, Lease
from reportflow.jobs_table import JobsTable
from reportflow.messages import parse_request
from reportflow.queues import Record
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    ORPHAN_GRACE,
    PAST_THE_LEASE,
    Killed,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import adopt, claim, give_back, submit
from tests.unit.samples import DESIGN_ID, JOB_ID, PDF, message_body, webhook_body

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]
type Announced = Callable[..., Record]

PARAMS = '{"total": 10000, "rows": [{"price": 1.50, "name": "株式会社"}]}'


def with_params(body: str, params: str) -> str:
    """The body with this very text as its `@`."""
    return body.replace('"@"', params)


def asked_for(job_id: str = JOB_ID) -> str:
    content = {"fileName": "invoice.pdf", "params": "@"}
    return with_params(message_body(jobId=job_id, content=content), PARAMS)


@pytest.fixture
def announced(queues: QueuePair, clock: Clock) -> Announced:
    """A file as ReportFlow's webhook reports it, once it was verified and queued."""

    def queued(params: str = PARAMS, *, file_id: str = "file_lost", **changes: Any) -> Record:
        file = {"fileId": file_id, "uuid": "u", "fileName": "invoice.pdf", "params": "@"}
        file |= changes.pop("file", {})
        body = with_params(json.dumps(webhook_body(files=[file], **changes)), params)
        (completed,) = read_webhook(body.encode(), "acme").files
        record = queues.deliver(msgspec.json.encode(completed).decode())
        return replace(record, sent_at=clock() - ADOPTION_AGE)

    return queued


@pytest.fixture
def unanswered(jobs: JobsTable, clock: Clock) -> Callable[..., None]:
    """Leaves a job behind whose submitter died, with a lease that has run out."""

    def leave(job_id: str = JOB_ID) -> None:
        lease = Lease(f"submitter of {job_id}", clock())
        claim(
            jobs, job_id, parse_request(asked_for(job_id).encode(), WORKSPACE), "m", lease, clock()
        )
        clock.advance(1)

    return leave


@pytest.mark.parametrize(
    "params",
    [
        PARAMS,
        '{"rows": [{"name": "株式会社", "price": 1.50}], "total": 10000}',
        '{"total":10000,"rows":[{"price":1.50,"name":"\\u682a\\u5f0f\\u4f1a\\u793e"}]}',
        '{"total": 10000.0, "rows": [{"price": 1.5, "name": "株式会社"}]}',
        '{"total": 1e4, "rows": [{"price": 15E-1, "name": "株式会社"}]}',
    ],
    ids=["as it was", "order of keys", "white space and escapes", "number form", "exponents"],
)
def test_a_lost_answer_is_reconciled_by_the_webhook_without_a_second_pdf(
    *,
    submission: Submission,
    archiving: Archiving,
    announced: Announced,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    contents: Contents,
    clock: Clock,
    params: str,
) -> None:
    asked = queues.deliver(asked_for())
    peer.respond = lambda _: []
    with pytest.raises(Held) as held:
        submission(asked, next_invocation(clock))
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(announced(params), next_invocation(clock)) is Outcome.ARCHIVED
    assert held.value.delay_seconds is not None
    clock.advance(held.value.delay_seconds)
    assert submission(redelivered(asked), next_invocation(clock)) is Outcome.DUPLICATE

    job = item(JOB_ID)
    assert (job["status"], job["fileId"]) == ("ARCHIVED", "file_lost")
    assert "possibleDuplicates" not in job
    assert contents() == [PDF]
    assert [got.method for got in peer.received] == ["POST", "GET"]
    assert queues.dead_letters() == []


def test_while_the_submitter_may_be_running_the_file_waits(
    dying_submission: Submission,
    archiving: Archiving,
    announced: Announced,
    queues: QueuePair,
    item: Items,
    clock: Clock,
) -> None:
    with pytest.raises(Killed):
        dying_submission(queues.deliver(asked_for()), next_invocation(clock))
    before = item(JOB_ID)
    record = announced()
    clock.advance(PAST_THE_LEASE - 0.2)
    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(record, next_invocation(clock))
    assert item(JOB_ID) == before

    clock.advance(0.2)
    assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        (PARAMS, {"version": 2}),
        (PARAMS, {"designId": DESIGN_ID.replace("5", "6")}),
        (PARAMS, {"file": {"fileName": "other.pdf"}}),
        (PARAMS.replace("10000", "10001"), {}),
        (PARAMS.replace("1.50", "1.51"), {}),
        (PARAMS.replace("10000", '"10000"'), {}),
        ("{}", {}),
    ],
    ids=["version", "design", "file name", "amount", "price", "type", "none"],
)
def test_another_document_reconciles_nothing(
    *,
    archiving: Archiving,
    announced: Announced,
    unanswered: Callable[..., None],
    peer: Peer,
    item: Items,
    clock: Clock,
    params: str,
    changes: dict[str, Any],
) -> None:
    unanswered()
    before = item(JOB_ID)
    record = announced(params, **changes)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(record, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(record, next_invocation(clock)) is Outcome.NOT_OURS
    assert item(JOB_ID) == before
    assert peer.received == []


def test_a_job_is_reconciled_once(
    archiving: Archiving,
    announced: Announced,
    unanswered: Callable[..., None],
    item: Items,
    clock: Clock,
) -> None:
    unanswered()
    assert archiving(announced(), next_invocation(clock)) is Outcome.ARCHIVED
    before = item(JOB_ID)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(announced(file_id="file_second"), next_invocation(clock))
    assert item(JOB_ID) == before


def test_two_jobs_of_the_same_document_get_a_file_each(
    archiving: Archiving,
    announced: Announced,
    unanswered: Callable[..., None],
    item: Items,
    clock: Clock,
) -> None:
    for job_id in ("job-1", "job-2"):
        unanswered(job_id)

    for file_id in ("file_1", "file_2"):
        archiving(announced(file_id=file_id), next_invocation(clock))

    jobs = [item("job-1"), item("job-2")]
    assert {job["status"] for job in jobs} == {"ARCHIVED"}
    assert {job["fileId"] for job in jobs} == {"file_1", "file_2"}


def test_while_a_twin_is_being_submitted_the_file_may_be_its(
    *,
    archiving: Archiving,
    announced: Announced,
    unanswered: Callable[..., None],
    jobs: JobsTable,
    item: Items,
    clock: Clock,
) -> None:
    unanswered("job-1")
    lease = Lease("submitter", clock() + timedelta(seconds=30))
    twin = claim(jobs, "job-2", parse_request(asked_for().encode(), WORKSPACE), "m", lease, clock())

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(announced(file_id="file_2"), next_invocation(clock))
    submit(jobs, twin, "file_2", "https://x", clock())
    archiving(announced(file_id="file_2"), next_invocation(clock))

    assert item("job-2")["status"] == "ARCHIVED"
    assert item("job-1")["status"] == "SUBMITTING"


@pytest.mark.parametrize("state", ["submitted", "given back"])
def test_a_job_whose_outcome_is_known_is_left_alone(
    *,
    archiving: Archiving,
    announced: Announced,
    jobs: JobsTable,
    peer: Peer,
    item: Items,
    clock: Clock,
    state: str,
) -> None:
    lease = Lease("submitter", clock())
    job = claim(jobs, JOB_ID, parse_request(asked_for().encode(), WORKSPACE), "m", lease, clock())
    if state == "submitted":
        submit(jobs, job, "file_own", "https://x", clock())
    else:
        give_back(jobs, job, clock(), costs_retry=True)
    before = item(JOB_ID)
    clock.advance(PAST_THE_LEASE)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(announced(), next_invocation(clock))
    assert item(JOB_ID) == before
    assert peer.received == []


def test_of_two_files_that_find_the_same_job_at_the_same_time_one_waits(
    *,
    archiving: Archiving,
    announced: Announced,
    unanswered: Callable[..., None],
    jobs: JobsTable,
    peer: Peer,
    item: Items,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unanswered()
    find = jobs.find_unanswered

    def find_and_lose(request_digest: str, now: datetime) -> Job | None:
        job = find(request_digest, now)
        assert job is not None
        adopt(jobs, job, "file_first", "u", now)
        return job

    monkeypatch.setattr(jobs, "find_unanswered", find_and_lose)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(announced(file_id="file_second"), next_invocation(clock))
    assert item(JOB_ID)["fileId"] == "file_first"
    assert peer.received == []
