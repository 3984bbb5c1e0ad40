"""The 202 of one job names the file of another; the digest of the webhook shows whose it is."""

from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from reportflow.archiving import ADOPTION_AGE, Archiving
from reportflow.consumer import Outcome
from reportflow.errors import Held
from reportflow.jobs import Job, JobStatus, Lease
from reportflow.jobs_table import JobsTable
from reportflow.messages import GenerationRequest
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    COMPLETION_DEADLINE,
    ORPHAN_GRACE,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim, submit
from tests.unit.samples import PDF, check_body, completed_body, request

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]
type Answered = Callable[[str, str], Job]
type Told = Callable[..., Record]

DEADLINE = COMPLETION_DEADLINE.total_seconds()


def asked(job_id: str) -> GenerationRequest[Any]:
    """Each job asks for a document of its own, of the same design."""
    return request(jobId=job_id, content={"fileName": "a.pdf", "params": {"for": job_id}})


def document(file_id: str) -> bytes:
    """ReportFlow's file `file-a` holds the document of job `a`."""
    return PDF.replace(b"test", file_id.encode())


@pytest.fixture(autouse=True)
def _files(archiving: Archiving, peer: Peer) -> None:
    """A file comes by the webhook's path and by the 202's URL alike."""
    peer.respond = lambda got: answer(200, document(got.target.rpartition("/")[2]))


@pytest.fixture
def answered(jobs: JobsTable, peer: Peer, clock: Clock) -> Answered:
    """Leaves a job behind whose 202 named this file."""

    def leave(job_id: str, file_id: str) -> Job:
        lease = Lease(f"submitter of {job_id}", clock())
        message_id = f"message of {job_id} for {file_id}"
        job = claim(jobs, job_id, asked(job_id), message_id, lease, clock())
        return submit(jobs, job, file_id, f"{peer.url}/files/{file_id}", clock())

    return leave


@pytest.fixture
def told(queues: QueuePair, clock: Clock) -> Told:
    """The webhook's message about the file of a job's document."""

    def queued(job_id: str, **changes: Any) -> Record:
        digest = asked(job_id).digest
        body = {"fileId": f"file-{job_id}", "requestDigest": digest, **changes}
        return replace(queues.deliver(completed_body(**body)), sent_at=clock() - ADOPTION_AGE)

    return queued


@pytest.fixture
def checked(queues: QueuePair, clock: Clock) -> Callable[[str], Record]:
    def queued(job_id: str) -> Record:
        return replace(queues.deliver(check_body(jobId=job_id)), sent_at=clock())

    return queued


def test_a_file_of_another_document_is_no_jobs_pdf(
    *,
    archiving: Archiving,
    answered: Answered,
    told: Told,
    checked: Callable[[str], Record],
    queues: QueuePair,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    answered("a", "file-b")
    webhook, check = told("b"), checked("a")

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(webhook, next_invocation(clock))
    with pytest.raises(Held, match="FILE_MISMATCH"):
        archiving(check, next_invocation(clock))
    assert item("a")["status"] == "SUBMITTED"

    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(redelivered(webhook), next_invocation(clock)) is Outcome.FAILED
    clock.advance(DEADLINE)
    assert archiving(redelivered(check), next_invocation(clock)) is Outcome.FAILED
    ended = item("a")
    assert (ended["status"], ended["errorCode"]) == ("FAILED", "FILE_MISMATCH")
    codes = [letter["MessageAttributes"]["errorCode"] for letter in queues.dead_letters()]
    assert [code["StringValue"] for code in codes] == ["FILE_MISMATCH"] * 2
    assert contents() == []


def test_the_document_goes_to_the_job_that_asked_for_it(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    answered: Answered,
    told: Told,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    answered("a", "file-b")
    lease = Lease("submitter of b", clock())
    claim(jobs, "b", asked("b"), "message of b", lease, clock())

    assert archiving(told("b"), next_invocation(clock)) is Outcome.ARCHIVED

    assert (item("a")["status"], item("b")["status"]) == ("SUBMITTED", "ARCHIVED")
    assert contents() == [document("file-b")]
    assert archiving(told("b"), next_invocation(clock)) is Outcome.DUPLICATE


def test_a_check_does_not_take_the_file_of_another_job(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    answered: Answered,
    told: Told,
    checked: Callable[[str], Record],
    contents: Contents,
    clock: Clock,
) -> None:
    """Job `b` had its file by the webhook, before the answer went to job `a`."""
    claim(jobs, "b", asked("b"), "message of b", Lease("submitter of b", clock()), clock())
    archiving(told("b"), next_invocation(clock))
    answered("a", "file-b")

    with pytest.raises(Held, match="FILE_MISMATCH"):
        archiving(checked("a"), next_invocation(clock))
    assert contents() == [document("file-b")]


def test_a_check_that_began_before_the_webhook_does_not_archive(
    *,
    archiving: Archiving,
    answered: Answered,
    told: Told,
    checked: Callable[[str], Record],
    peer: Peer,
    item: Items,
    clock: Clock,
) -> None:
    answered("a", "file-b")

    def meanwhile(_: Received) -> list[bytes]:
        with pytest.raises(Held):
            archiving(told("b"), next_invocation(clock))
        return answer(200, document("file-b"))

    peer.respond = meanwhile
    with pytest.raises(Held, match="FILE_MISMATCH"):
        archiving(checked("a"), next_invocation(clock))

    assert item("a")["status"] == "SUBMITTED"


def test_what_such_a_check_has_stored_is_not_found_again(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    answered: Answered,
    told: Told,
    checked: Callable[[str], Record],
    peer: Peer,
    queues: QueuePair,
    item: Items,
    clock: Clock,
) -> None:
    test_a_check_that_began_before_the_webhook_does_not_archive(
        archiving=archiving,
        answered=answered,
        told=told,
        checked=checked,
        peer=peer,
        item=item,
        clock=clock,
    )
    clock.advance(DEADLINE)
    archiving(checked("a"), next_invocation(clock))
    peer.respond = lambda got: answer(200, document(got.target.rpartition("/")[2]))
    queues.dead_letters()
    answered("a", "file-a")

    assert archiving(told("a"), next_invocation(clock)) is Outcome.FAILED
    assert item("a")["errorCode"] == "ARCHIVE_CONFLICT"


def test_a_webhook_with_the_jobs_document_ends_the_doubt(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    answered: Answered,
    told: Told,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    """The first webhook was forged."""
    answered("b", "file-b")
    with pytest.raises(Held):
        archiving(told("b", requestDigest=asked("a").digest), next_invocation(clock))

    assert archiving(told("b"), next_invocation(clock)) is Outcome.ARCHIVED
    assert contents() == [document("file-b")]


@pytest.mark.parametrize(
    "change", [{"designId": "design_other"}, {"version": 7}, {"requestDigest": asked("a").digest}]
)
def test_a_webhook_that_comes_after_the_check_is_reported(
    *,
    archiving: Archiving,
    answered: Answered,
    told: Told,
    checked: Callable[[str], Record],
    queues: QueuePair,
    item: Items,
    clock: Clock,
    change: dict[str, Any],
) -> None:
    answered("b", "file-b")
    assert archiving(checked("b"), next_invocation(clock)) is Outcome.ARCHIVED

    assert archiving(told("b", **change), next_invocation(clock)) is Outcome.FAILED

    (letter,) = queues.dead_letters()
    attributes = letter["MessageAttributes"]
    assert attributes["errorCode"]["StringValue"] == "FILE_MISMATCH"
    assert attributes["jobId"]["StringValue"] == "b"
    assert item("b")["status"] == "ARCHIVED"


def test_a_webhook_that_does_not_say_what_it_holds_is_believed(
    archiving: Archiving, answered: Answered, told: Told, contents: Contents, clock: Clock
) -> None:
    answered("b", "file-b")

    assert archiving(told("b", requestDigest=""), next_invocation(clock)) is Outcome.ARCHIVED
    assert contents() == [document("file-b")]


def test_a_webhook_that_does_not_say_what_it_holds_ends_no_doubt(
    *,
    archiving: Archiving,
    answered: Answered,
    told: Told,
    item: Items,
    contents: Contents,
    clock: Clock,
) -> None:
    """ReportFlow's answer to job b went to job a, and the truthful webhook came first."""
    answered("a", "file-b")
    with pytest.raises(Held):
        archiving(told("b"), next_invocation(clock))
    bare = told("b", requestDigest="")

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(bare, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(redelivered(bare), next_invocation(clock)) is Outcome.NOT_OURS
    assert item("a")["status"] == "SUBMITTED"
    assert contents() == []


def test_the_last_dead_letter_of_a_failed_job_in_doubt_stays_one(
    *,
    archiving: Archiving,
    answered: Answered,
    told: Told,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
) -> None:
    """It says nothing of what the file holds, and the file may be another job's."""
    answered("a", "file-b")
    peer.respond = lambda _: answer(200, b"no PDF")
    assert archiving(told("b", requestDigest=""), next_invocation(clock)) is Outcome.FAILED
    with pytest.raises(Held):
        archiving(told("b"), next_invocation(clock))
    again = replace(queues.redrive(), sent_at=clock())

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(again, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(redelivered(again), next_invocation(clock)) is Outcome.FAILED

    codes = {reason["errorCode"] for reason in queues.dead_letter_reasons()}
    assert codes == {item("a")["errorCode"]} == {"NOT_A_PDF"}


def test_a_webhook_that_does_not_say_what_it_holds_is_adopted_by_nobody(
    archiving: Archiving, jobs: JobsTable, told: Told, item: Items, clock: Clock
) -> None:
    claim(jobs, "b", asked("b"), "message of b", Lease("submitter of b", clock()), clock())

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(told("b", requestDigest=""), next_invocation(clock))
    assert item("b")["status"] == JobStatus.SUBMITTING
