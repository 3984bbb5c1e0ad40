from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from reportflow.archiving import RAREST_LOOK, Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Held, Permanent, Retryable, Throttled
from reportflow.events import Announcer
from reportflow.jobs import Job, Lease, Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    CHECK_INTERVAL,
    COMPLETION_DEADLINE,
    MAX_ATTEMPTS,
    MAX_RECEIVES,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import OPEN_ENDED
from tests.unit.samples import (
    APP_KEY,
    FILE_ID,
    JOB_ID,
    PDF,
    SECRET_KEY,
    check_body,
    request,
)

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]

INTERVAL = CHECK_INTERVAL.total_seconds()
DEADLINE = COMPLETION_DEADLINE.total_seconds()


@pytest.fixture
def check(queues: QueuePair, clock: Clock) -> Record:
    """The order to look for the job's file."""
    return replace(queues.deliver(check_body()), sent_at=clock())


def test_a_file_without_a_webhook_is_found_where_the_202_said(
    archiving: Archiving,
    peer: Peer,
    job: Job,
    check: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    assert archiving(check, invocation) is Outcome.ARCHIVED

    (asked,) = peer.received
    assert f"{peer.url}{asked.target}" == job.url
    assert contents() == [PDF]
    kept = item(JOB_ID)
    assert (kept["status"], kept["archiveKey"]) == ("ARCHIVED", job.archive_key())


@pytest.mark.parametrize(
    ("before_the_check", "lost"),
    [(None, 1), (503, 0), (429, 0)],
    ids=["never came", "met a failure", "met the rate limit"],
)
@pytest.mark.usefixtures("job")
def test_a_webhook_that_only_waits_is_not_lost(
    archiving: Archiving,
    peer: Peer,
    record: Record,
    check: Record,
    invocation: Invocation,
    capsys: pytest.CaptureFixture[str],
    before_the_check: int | None,
    lost: int,
) -> None:
    if before_the_check is not None:
        peer.respond = lambda _: answer(before_the_check)
        with pytest.raises(Retryable):
            archiving(record, invocation)
        peer.respond = lambda _: answer(200, PDF)

    assert archiving(check, invocation) is Outcome.ARCHIVED

    assert capsys.readouterr().out.count('"LostWebhooks": [1') == lost


@pytest.mark.parametrize(
    "respond",
    [
        *(lambda _, status=status: answer(status) for status in (202, 204, 302, 401, 403, 404)),
        *(lambda _, status=status: answer(status) for status in (500, 503)),
        lambda _: [],
        lambda _: answer(200, b"<html>Busy</html>", Content_Type="text/html"),
        lambda _: [OPEN_ENDED, PDF[:100]],
    ],
    ids=[
        *("202", "204", "302", "401", "403", "404", "500", "503"),
        *("no answer", "a page", "a part"),
    ],
)
@pytest.mark.usefixtures("job")
def test_while_there_is_no_file_the_check_comes_again(
    archiving: Archiving,
    peer: Peer,
    check: Record,
    item: Items,
    contents: Contents,
    clock: Clock,
    respond: Respond,
) -> None:
    before = item(JOB_ID)
    peer.respond = respond
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(Held) as held:
            archiving(check, next_invocation(clock))
        assert held.value.job_id == JOB_ID
        clock.advance(INTERVAL)
        check = redelivered(check)
    assert item(JOB_ID) == before
    assert contents() == []
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED


def looks(archiving: Archiving, check: Record, clock: Clock, outcome: Outcome) -> list[float]:
    """A job's age in seconds at each look for its file, until that."""
    submitted_at, ages = clock(), [0.0]
    while True:
        try:
            assert archiving(check, next_invocation(clock)) is outcome
        except Held as held:
            clock.advance(held.delay_seconds or 0)
            check = redelivered(check)
            ages.append((clock() - submitted_at).total_seconds())
        else:
            return ages


@pytest.mark.usefixtures("job")
def test_the_longer_it_takes_the_rarer_are_the_looks(
    archiving: Archiving, peer: Peer, check: Record, clock: Clock
) -> None:
    """A few hundred slow PDFs would use ReportFlow's rate limit up otherwise."""
    peer.respond = lambda _: answer(404)

    ages = looks(archiving, check, clock, Outcome.FAILED)

    waits = [later - age for age, later in pairwise(ages)]
    assert waits[0] == pytest.approx(INTERVAL)
    assert all(wait <= max(INTERVAL, age) + 0.1 for age, wait in zip(ages, waits, strict=False))
    assert max(waits) == pytest.approx(RAREST_LOOK.total_seconds())
    assert len(ages) < DEADLINE / INTERVAL / 2
    assert ages[-1] == pytest.approx(DEADLINE, abs=0.1)


@pytest.mark.parametrize(
    ("respond", "code"),
    [
        (lambda _: answer(503), "HTTP_503"),
        (lambda _: [], "ANSWER_LOST"),
        (lambda _: [OPEN_ENDED, PDF[:100]], "TRUNCATED"),
    ],
    ids=["503", "no answer", "a part"],
)
@pytest.mark.usefixtures("job")
def test_an_outage_at_the_deadline_is_not_taken_for_no_file(
    archiving: Archiving,
    peer: Peer,
    check: Record,
    item: Items,
    clock: Clock,
    respond: Respond,
    code: str,
) -> None:
    peer.respond = respond
    clock.advance(DEADLINE)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(Retryable):
            archiving(check, next_invocation(clock))

    assert archiving(check, next_invocation(clock)) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == code


@pytest.mark.usefixtures("job")
def test_at_the_rate_limit_a_check_waits_as_long_as_it_takes(
    archiving: Archiving, peer: Peer, check: Record, item: Items, clock: Clock
) -> None:
    peer.respond = lambda _: answer(429, Retry_After="7")
    before = item(JOB_ID)
    for _ in range(2):
        for _ in range(2 * MAX_ATTEMPTS):
            with pytest.raises(Throttled) as throttled:
                archiving(check, next_invocation(clock))
            assert throttled.value.delay_seconds == 7
        clock.advance(2 * DEADLINE)
    assert item(JOB_ID) == before
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED


@pytest.mark.usefixtures("job")
def test_the_last_look_is_at_the_deadline(
    archiving: Archiving, peer: Peer, check: Record, clock: Clock
) -> None:
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE - INTERVAL / 2)

    with pytest.raises(Held) as held:
        archiving(check, next_invocation(clock))

    assert held.value.delay_seconds == pytest.approx(INTERVAL / 2, abs=0.01)


@pytest.mark.usefixtures("job")
def test_at_the_deadline_a_job_without_a_file_ends_with_its_reason(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    clock: Clock,
) -> None:
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE)

    assert archiving(check, next_invocation(clock)) is Outcome.FAILED

    assert len(peer.received) == 1
    (letter,) = queues.dead_letters()
    assert letter["Body"] == check.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "NO_COMPLETION"
    assert letter["MessageAttributes"]["jobId"]["StringValue"] == JOB_ID
    job = item(JOB_ID)
    assert (job["status"], job["errorCode"]) == ("FAILED", "NO_COMPLETION")
    assert job["failedStep"] == "archive"
    assert "HTTP_404" in job["errorMessage"]


@pytest.mark.usefixtures("job")
def test_a_file_that_is_there_at_the_deadline_is_archived(
    archiving: Archiving, check: Record, clock: Clock
) -> None:
    clock.advance(2 * DEADLINE)

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED


def test_the_time_runs_from_the_submission_and_not_from_the_check(
    archiving: Archiving, peer: Peer, queues: QueuePair, job: Job, clock: Clock
) -> None:
    """A check is ordered again by whoever finds the job submitted."""
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE)
    late = replace(queues.deliver(check_body()), sent_at=clock())

    assert archiving(late, next_invocation(clock)) is Outcome.FAILED


def test_a_url_elsewhere_is_not_asked(
    archiving: Archiving,
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    check: Record,
    clock: Clock,
    listen: Callable[[Respond], Peer],
) -> None:
    elsewhere = listen(lambda _: answer(200, PDF))
    lease = Lease("submitter", clock())
    claimed = jobs.claim(JOB_ID, request(), "message-1", lease, clock())
    jobs.submitted(claimed, FILE_ID, f"{elsewhere.url}/files/x", clock())

    with pytest.raises(Held, match="URL_ELSEWHERE"):
        archiving(check, next_invocation(clock))
    clock.advance(DEADLINE)
    assert archiving(check, next_invocation(clock)) is Outcome.FAILED

    assert elsewhere.received == peer.received == []
    assert queues.dead_letter_reasons()[0]["errorCode"] == "NO_COMPLETION"


@pytest.mark.usefixtures("job")
def test_a_check_carries_no_keys(
    archiving: Archiving, peer: Peer, check: Record, invocation: Invocation
) -> None:
    archiving(check, invocation)

    (asked,) = peer.received
    assert not {"appkey", "secretkey", "authorization", "cookie"} & asked.headers.keys()
    assert not {APP_KEY, SECRET_KEY} & set(asked.headers.values())


@pytest.mark.parametrize("end", ["ARCHIVED", "FAILED"])
def test_a_job_that_has_ended_is_not_checked(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    announcer: Announcer,
    queues: QueuePair,
    peer: Peer,
    job: Job,
    record: Record,
    check: Record,
    item: Items,
    clock: Clock,
    invocation: Invocation,
    end: str,
) -> None:
    if end == "FAILED":
        jobs.failed(job, Permanent("HTTP_404", "gone"), Step.ARCHIVE, clock())
    else:
        archiving(record, invocation)
    announcer.announce(JOB_ID)
    before, asked = item(JOB_ID), len(peer.received)
    assert before["status"] == end
    clock.advance(2 * DEADLINE)

    assert archiving(check, next_invocation(clock)) is Outcome.DUPLICATE
    assert item(JOB_ID) == before
    assert len(peer.received) == asked
    assert queues.dead_letters() == []


def test_a_check_of_an_unknown_job_is_nobodys_here(
    archiving: Archiving, peer: Peer, queues: QueuePair, check: Record, invocation: Invocation
) -> None:
    assert archiving(check, invocation) is Outcome.NOT_OURS
    assert peer.received == []
    assert queues.dead_letters() == []


@pytest.mark.usefixtures("job")
def test_a_redriven_check_looks_again_for_as_long_again(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    clock: Clock,
) -> None:
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE)
    archiving(check, next_invocation(clock))
    assert item(JOB_ID)["status"] == "FAILED"

    clock.advance(10 * DEADLINE)
    again = replace(queues.redrive(), sent_at=clock())
    with pytest.raises(Held):
        archiving(again, next_invocation(clock))
    clock.advance(DEADLINE)
    assert archiving(again, next_invocation(clock)) is Outcome.FAILED

    again = replace(queues.redrive(), sent_at=clock())
    peer.respond = lambda _: answer(200, PDF)
    assert archiving(again, next_invocation(clock)) is Outcome.ARCHIVED
    assert item(JOB_ID)["status"] == "ARCHIVED"
    assert "errorCode" not in item(JOB_ID)


@pytest.mark.usefixtures("job")
def test_a_file_that_will_never_be_right_ends_the_job(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    peer.respond = lambda _: answer(200, b"PK\x03\x04 archive")

    assert archiving(check, invocation) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "NOT_A_PDF"
    assert queues.dead_letter_reasons()[0]["errorCode"] == "NOT_A_PDF"
    assert contents() == []


@pytest.mark.usefixtures("job")
def test_a_check_that_its_function_dies_at_ends_with_a_reason(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    last = replace(check, receive_count=MAX_RECEIVES)

    assert archiving(last, invocation) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "RECEIVES_USED_UP"
    assert queues.dead_letter_reasons()[0]["errorCode"] == "RECEIVES_USED_UP"
    assert peer.received == []


def test_webhook_and_check_at_the_same_time_archive_once(
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    check: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    def overtaken(_: Received) -> Iterable[bytes]:
        peer.respond = lambda _: answer(200, PDF)
        assert archiving(record, invocation) is Outcome.ARCHIVED
        return answer(200, PDF)

    peer.respond = overtaken

    assert archiving(check, invocation) is Outcome.DUPLICATE
    assert contents() == [PDF]
    assert item(job.job_id)["status"] == "ARCHIVED"
