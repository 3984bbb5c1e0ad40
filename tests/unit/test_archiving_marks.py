"""A webhook that returns the job's mark: it finds its job before the answer, or without one.

Everyone who makes PDFs in the workspace chooses `passthrough`, and so any mark but a job's tag.
"""

import json
import logging
from collections.abc import Callable, Iterable
from copy import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from reportflow.archiving import Archiving
from reportflow.consumer import Outcome
from reportflow.contract import CENTRAL, Contract
from reportflow.contract.files import Accepted, Mark
from reportflow.contract.webhook_body import read_webhook
from reportflow.errors import Held, Permanent, PipelineError
from reportflow.jobs import Job, JobStatus, Lease, Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.submission import Submission
from tests.unit import recording
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    COMPLETION_DEADLINE,
    ORPHAN_GRACE,
    Killed,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import TAG, claim, fail
from tests.unit.reportflow_answers import central_accepted, central_accepting, said
from tests.unit.samples import (
    DESIGN_ID,
    JOB_ID,
    PDF,
    central_webhook_body,
    check_body,
    content,
    marked,
    message_body,
    request,
)

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]
type Told = Callable[..., Record]
type Begun = Callable[..., Job]

OWN = Mark(JOB_ID, TAG)
LEASED = timedelta(seconds=30)


@pytest.fixture
def contract() -> Contract:
    return CENTRAL


@pytest.fixture
def told(queues: QueuePair, clock: Clock) -> Told:
    """The message that a webhook about one file leaves, at this moment."""

    def queued(
        passthrough: object = None,
        *,
        file_id: str = "file_1",
        request_id: str = "req-1",
        **changes: Any,
    ) -> Record:
        file = {"fileId": file_id, "passthrough": passthrough}
        body = central_webhook_body(file, requestId=request_id, **changes)
        (completed,) = read_webhook(json.dumps(body).encode(), "acme").files
        record = queues.deliver(msgspec.json.encode(completed).decode())
        return replace(record, sent_at=clock())

    return queued


@pytest.fixture
def begun(jobs: JobsTable, clock: Clock) -> Begun:
    """Leaves a job behind whose submission is in flight."""

    def leave(job_id: str = JOB_ID, message_id: str = "m", **changes: Any) -> Job:
        lease = Lease(f"submitter of {job_id}", clock() + LEASED)
        asked = request(CENTRAL, jobId=job_id, **changes)
        return claim(jobs, job_id, asked, message_id, lease, clock())

    return leave


@pytest.fixture
def answered(jobs: JobsTable, clock: Clock) -> Callable[..., Job]:
    """Stores a job's 202."""

    def store(job: Job, file_id: str = "req-1/file_1") -> Job:
        return recording.accept(jobs, job, Accepted(file_id, "central"), clock())

    return store


def returned(got: Received) -> dict[str, Any]:
    """The `passthrough` that ReportFlow got and returns in the webhook."""
    passthrough: dict[str, Any] = json.loads(got.body)["content"]["passthrough"]
    return passthrough


def not_ours(archiving: Archiving, record: Record, clock: Clock) -> None:
    """The file waits for the grace and then ends quietly."""
    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(record, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(redelivered(record), next_invocation(clock)) is Outcome.NOT_OURS


def test_a_webhook_that_overtakes_the_202_archives_its_job_at_once(
    *,
    submission: Submission,
    archiving: Archiving,
    told: Told,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    outcomes = []

    def webhook_first(got: Received) -> Iterable[bytes]:
        if got.method == "GET":
            return answer(200, PDF)
        outcomes.append(archiving(told(returned(got)), next_invocation(clock)))
        return answer(202, central_accepted("req-1", "file_1"))

    peer.respond = webhook_first
    asked = queues.deliver(message_body())

    assert submission(asked, next_invocation(clock)) is Outcome.SUBMITTED
    assert outcomes == [Outcome.ARCHIVED]
    assert submission(redelivered(asked), next_invocation(clock)) is Outcome.DUPLICATE
    job = item(JOB_ID)
    assert (job["status"], job["fileId"]) == ("ARCHIVED", "req-1/file_1")
    assert contents() == [PDF]


@pytest.mark.parametrize(
    "lost",
    [
        [],
        said(504, "timeout"),
        said(503, "busy"),
        answer(200, b"<html>CDN</html>", Content_Type="text/html"),
        answer(202, central_accepted("req-1", "../x")),
    ],
    ids=["no answer", "504", "given back", "HTML", "no id"],
)
def test_a_lost_answer_is_reconciled_by_the_webhook_without_a_second_pdf(
    *,
    submission: Submission,
    archiving: Archiving,
    told: Told,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    contents: Contents,
    clock: Clock,
    lost: list[bytes],
) -> None:
    asked = queues.deliver(message_body(content=content(passthrough={"order": 1})))
    peer.respond = lambda _: lost
    with pytest.raises(PipelineError):
        submission(asked, next_invocation(clock))
    peer.respond = lambda _: answer(200, PDF)

    record = told(returned(peer.received[0]))
    assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED
    clock.advance(120)
    assert submission(redelivered(asked), next_invocation(clock)) is Outcome.DUPLICATE

    job = item(JOB_ID)
    assert (job["status"], job["fileId"]) == ("ARCHIVED", "req-1/file_1")
    assert "possibleDuplicates" not in job
    assert contents() == [PDF]
    assert [got.method for got in peer.received] == ["POST", "GET"]


def test_a_submitter_that_died_needs_no_lease_to_run_out(
    *,
    dying_submission: Submission,
    archiving: Archiving,
    told: Told,
    queues: QueuePair,
    item: Items,
    clock: Clock,
) -> None:
    with pytest.raises(Killed):
        dying_submission(queues.deliver(message_body()), next_invocation(clock))
    tag = item(JOB_ID)["tag"]

    assert archiving(told(marked(Mark(JOB_ID, tag))), next_invocation(clock)) is Outcome.ARCHIVED


ATTACKS: dict[str, tuple[object, dict[str, Any]]] = {
    "no mark": (None, {}),
    "no tag": ({"reportflowJob": {"jobId": JOB_ID}}, {}),
    "empty tag": (marked(Mark(JOB_ID, "")), {}),
    "another tag": (marked(Mark(JOB_ID, "tag-2")), {}),
    "a part of the tag": (marked(Mark(JOB_ID, TAG[:-1])), {}),
    "more than the tag": (marked(Mark(JOB_ID, TAG + "x")), {}),
    "capitals": (marked(Mark(JOB_ID, TAG.upper())), {}),
    "a list of tags": ({"reportflowJob": {"jobId": JOB_ID, "tag": [TAG]}}, {}),
    "another job's tag": (marked(Mark(JOB_ID, "tag-of-another")), {}),
    "the tag under another job": (marked(Mark("other", TAG)), {}),
    "no such job": (marked(Mark("no-such-job", "t")), {}),
    "the rate limiter": ({"reportflowJob": {"jobId": "#reportflow-pace", "tag": TAG}}, {}),
    "at another place": ({"a": marked(OWN)}, {}),
    "another design": (marked(OWN), {"designId": DESIGN_ID.replace("5", "6")}),
    "another version": (marked(OWN), {"version": 2}),
}


@pytest.mark.parametrize("state", ["in flight", "given back", "unanswered", "submitted", "failed"])
def test_another_mark_changes_no_job(
    *,
    archiving: Archiving,
    told: Told,
    begun: Begun,
    answered: Callable[..., Job],
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    state: str,
) -> None:
    job = begun()
    if state == "given back":
        recording.give_back(jobs, job, clock(), costs_retry=True)
    elif state == "unanswered":
        clock.advance(LEASED.total_seconds() + 1)
    elif state == "submitted":
        answered(job)
    elif state == "failed":
        fail(jobs, answered(job), Permanent("CODE", "message"), Step.ARCHIVE, clock())
    before = item(JOB_ID)

    records = {
        name: told(passthrough, request_id="req-evil", **changes)
        for name, (passthrough, changes) in ATTACKS.items()
    }
    for name, record in records.items():
        with pytest.raises(Held, match="FILE_UNKNOWN"):
            archiving(record, next_invocation(clock))
        assert item(JOB_ID) == before, name
    clock.advance(ORPHAN_GRACE.total_seconds())
    for name, record in records.items():
        outcome = archiving(redelivered(record), next_invocation(clock))
        assert (outcome, item(JOB_ID)) == (Outcome.NOT_OURS, before), name
    assert peer.received == []
    assert queues.dead_letters() == []


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({}, Outcome.ARCHIVED), ({"version": 2}, Outcome.NOT_OURS)],
    ids=["the same document", "another document"],
)
def test_a_webhook_of_an_earlier_life_finds_the_job_if_it_asks_for_the_same(
    *,
    archiving: Archiving,
    told: Told,
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    jobs: JobsTable,
    clock: Clock,
    changes: dict[str, Any],
    outcome: Outcome,
) -> None:
    """The first submission failed without an answer, and upstream sends the job again."""
    peer.respond = lambda _: said(404, "gone")
    assert submission(queues.deliver(message_body()), next_invocation(clock)) is Outcome.FAILED
    first = told(returned(peer.received[0]), **changes)
    peer.respond = lambda got: [] if got.method == "POST" else answer(200, PDF)
    clock.advance(1)
    with pytest.raises(Held):
        submission(queues.deliver(message_body(**changes)), next_invocation(clock))

    if outcome is Outcome.ARCHIVED:
        assert archiving(first, next_invocation(clock)) is outcome
        assert item(JOB_ID)["status"] == "ARCHIVED"
    else:
        before = item(JOB_ID)
        not_ours(archiving, first, clock)
        assert item(JOB_ID) == before
        second = told(returned(peer.received[-1]), request_id="req-2", **changes)
        assert archiving(second, next_invocation(clock)) is Outcome.ARCHIVED
        assert item(JOB_ID)["fileId"] == "req-2/file_1"


@pytest.mark.parametrize("end", ["ARCHIVED", "FAILED"])
def test_a_second_file_with_the_jobs_mark_leaves_its_end_alone(
    *,
    archiving: Archiving,
    told: Told,
    begun: Begun,
    answered: Callable[..., Job],
    jobs: JobsTable,
    queues: QueuePair,
    item: Items,
    clock: Clock,
    end: str,
) -> None:
    """An answer was lost, the job was submitted again, and both PDFs were made."""
    job = answered(begun())
    if end == "ARCHIVED":
        assert archiving(told(marked(OWN)), next_invocation(clock)) is Outcome.ARCHIVED
    else:
        fail(jobs, job, Permanent("CODE", "message"), Step.ARCHIVE, clock())
    before = item(JOB_ID)

    not_ours(archiving, told(marked(OWN), request_id="req-2"), clock)

    assert item(JOB_ID) == before
    assert before["status"] == end
    assert queues.dead_letters() == []


def test_a_second_file_puts_the_first_one_in_no_doubt(
    *,
    archiving: Archiving,
    told: Told,
    begun: Begun,
    answered: Callable[..., Job],
    item: Items,
    clock: Clock,
) -> None:
    answered(begun())
    first, second = told(marked(OWN)), told(marked(OWN), request_id="req-2")

    not_ours(archiving, second, clock)

    assert "doubtfulFileId" not in item(JOB_ID)
    assert archiving(first, next_invocation(clock)) is Outcome.ARCHIVED
    assert item(JOB_ID)["fileId"] == "req-1/file_1"


@pytest.mark.parametrize(
    "passthrough",
    [None, {}, [], "text", {"reportflowJob": None}, {"reportflowJob": {"jobId": "../x"}}],
    ids=repr,
)
def test_a_file_whose_passthrough_did_not_come_back_is_found_by_its_ids(
    *,
    archiving: Archiving,
    told: Told,
    begun: Begun,
    answered: Callable[..., Job],
    item: Items,
    clock: Clock,
    passthrough: object,
) -> None:
    answered(begun())

    assert archiving(told(passthrough), next_invocation(clock)) is Outcome.ARCHIVED
    assert item(JOB_ID)["status"] == "ARCHIVED"


def test_two_jobs_whose_files_have_the_same_id_in_different_requests_never_meet(
    *,
    submission: Submission,
    archiving: Archiving,
    told: Told,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    peer.respond = central_accepting()
    for job_id in ("tenant-a", "tenant-b"):
        record = queues.deliver(message_body(jobId=job_id))
        assert submission(record, next_invocation(clock)) is Outcome.SUBMITTED
    peer.respond = lambda got: answer(200, PDF.replace(b"test", got.target[-24:].encode()))

    for request_id in ("req-2", "req-1"):
        record = told(request_id=request_id, file_id="file_abc123")
        assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

    assert item("tenant-a")["fileId"] == "req-1/file_abc123"
    assert item("tenant-b")["fileId"] == "req-2/file_abc123"
    assert item("tenant-a")["sha256"] != item("tenant-b")["sha256"]
    assert len(contents()) == 2


class TestCrossedAnswers:
    """The 202 of one job named the file of another; the mark shows whose it is."""

    def test_the_file_goes_to_the_job_whose_mark_it_has(
        self,
        *,
        archiving: Archiving,
        told: Told,
        begun: Begun,
        answered: Callable[..., Job],
        item: Items,
        clock: Clock,
    ) -> None:
        answered(begun("a", content=content(params={"for": "a"})), "req-b/file_1")
        begun("b", content=content(params={"for": "b"}))

        record = told(marked(Mark("b", TAG)), request_id="req-b")
        assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

        assert item("b")["status"] == "ARCHIVED"
        assert item("a")["status"] == "SUBMITTED"
        assert item("a")["doubtfulFileId"] == "req-b/file_1"

    @pytest.mark.parametrize("owner", ["a", "b"])
    @pytest.mark.parametrize("is_same", [True, False], ids=["same document", "other document"])
    def test_of_two_jobs_that_have_the_file_the_marked_one_is_archived(
        self,
        *,
        archiving: Archiving,
        told: Told,
        begun: Begun,
        answered: Callable[..., Job],
        item: Items,
        clock: Clock,
        owner: str,
        is_same: bool,
    ) -> None:
        for job_id in ("a", "b"):
            params = {"for": "all" if is_same else job_id}
            answered(begun(job_id, content=content(params=params)))

        record = told(marked(Mark(owner, TAG)))
        assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

        assert item(owner)["status"] == "ARCHIVED"
        assert "doubtfulFileId" not in item(owner)
        [other] = {"a", "b"} - {owner}
        assert item(other)["status"] == "SUBMITTED"

    def test_a_file_of_another_job_is_never_archived_by_the_check(
        self,
        *,
        archiving: Archiving,
        told: Told,
        begun: Begun,
        answered: Callable[..., Job],
        queues: QueuePair,
        item: Items,
        contents: Contents,
        clock: Clock,
    ) -> None:
        answered(begun())
        check = replace(queues.deliver(check_body()), sent_at=clock())
        record = told(marked(Mark("of-another-system", "t")))
        with pytest.raises(Held, match="FILE_UNKNOWN"):
            archiving(record, next_invocation(clock))

        with pytest.raises(Held, match="FILE_MISMATCH"):
            archiving(check, next_invocation(clock))
        clock.advance(COMPLETION_DEADLINE.total_seconds())
        assert archiving(redelivered(check), next_invocation(clock)) is Outcome.FAILED
        assert item(JOB_ID)["errorCode"] == "FILE_MISMATCH"
        assert contents() == []


def test_a_redriven_webhook_whose_file_is_still_being_made_is_not_gone(
    *,
    archiving: Archiving,
    told: Told,
    begun: Begun,
    answered: Callable[..., Job],
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
) -> None:
    job = answered(begun())
    record = told(marked(OWN))
    peer.respond = lambda _: said(400, "no")
    clock.advance(ORPHAN_GRACE.total_seconds() + 1)
    queues.queue.dead_letter(record, Permanent("CODE", "message"), Step.ARCHIVE, JOB_ID)
    fail(jobs, job, Permanent("CODE", "message"), Step.ARCHIVE, clock())
    again = replace(queues.redrive(), sent_at=clock())
    clock.advance(ORPHAN_GRACE.total_seconds() + 1)

    peer.respond = lambda _: said(404, "NOT_READY")
    with pytest.raises(PipelineError, match="NOT_READY"):
        archiving(again, next_invocation(clock))
    assert item(JOB_ID)["errorCode"] == "CODE"

    peer.respond = lambda _: said(404, "NOT_FOUND")
    assert archiving(redelivered(again), next_invocation(clock)) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "FILE_GONE"


def test_no_log_shows_a_tag(
    *,
    submission: Submission,
    archiving: Archiving,
    told: Told,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    asked = queues.deliver(message_body())
    peer.respond = lambda got: [] if got.method == "POST" else answer(200, PDF)
    with pytest.raises(Held):
        submission(asked, next_invocation(clock))
    tag = item(JOB_ID)["tag"]

    archiving(told(marked(Mark(JOB_ID, tag))), next_invocation(clock))

    assert JobStatus(item(JOB_ID)["status"]) is JobStatus.ARCHIVED
    assert caplog.records
    assert tag not in caplog.text + "".join(str(vars(record)) for record in caplog.records)
