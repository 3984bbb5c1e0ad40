from collections.abc import Callable, Iterable
from copy import replace
from functools import partial

import pytest

from reportflow import jobs as rules
from reportflow.archiving import WAIT_PER_MESSAGE, Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Held, Permanent, Retryable
from reportflow.events import Outbox
from reportflow.jobs import Job, Lease, Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    CHECK_INTERVAL,
    COMPLETION_DEADLINE,
    MAX_ATTEMPTS,
    MAX_RECEIVES,
    ORPHAN_GRACE,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim, fail, submit
from tests.unit.reportflow_answers import OPEN_ENDED
from tests.unit.samples import (
    APP_KEY,
    FILE_ID,
    JOB_ID,
    PDF,
    SECRET_KEY,
    by_url,
    request,
)

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]

INTERVAL = CHECK_INTERVAL.total_seconds()
DEADLINE = COMPLETION_DEADLINE.total_seconds()


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
    assert by_url(f"{peer.url}{asked.target}") == job.file_reference
    assert contents() == [PDF]
    kept = item(JOB_ID)
    assert (kept["status"], kept["archiveKey"]) == ("ARCHIVED", job.key())


@pytest.mark.parametrize(
    ("before_the_check", "lost"),
    [(None, 1), (503, 0), (429, 0)],
    ids=["never came", "met a failure", "met the rate limit"],
)
@pytest.mark.usefixtures("job")
def test_a_webhook_that_only_waits_goes_first_for_its_grace_and_is_not_lost(
    archiving: Archiving,
    peer: Peer,
    record: Record,
    check: Record,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    before_the_check: int | None,
    lost: int,
) -> None:
    if before_the_check is not None:
        peer.respond = lambda _: answer(before_the_check)
        with pytest.raises(Retryable):
            archiving(record, next_invocation(clock))
        peer.respond = lambda _: answer(200, PDF)
        with pytest.raises(Held, match="QUEUE_BEHIND"):
            archiving(check, next_invocation(clock))
        clock.advance(ORPHAN_GRACE.total_seconds())

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED

    assert capsys.readouterr().out.count('"LostWebhooks": [1') == lost


@pytest.mark.usefixtures("job")
def test_a_webhook_that_comes_while_its_check_fetches_is_not_lost(
    archiving: Archiving,
    peer: Peer,
    jobs: JobsTable,
    check: Record,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def respond(_: Received) -> Iterable[bytes]:
        read = jobs.get(JOB_ID)
        assert read is not None
        came = partial(rules.postponed, read=read, now=clock(), costs_retry=False, by_webhook=True)
        jobs.change(JOB_ID, read, came, clock())
        return answer(200, PDF)

    peer.respond = respond

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED
    assert "LostWebhooks" not in capsys.readouterr().out


def fill(queues: QueuePair, messages: int) -> None:
    for _ in range(messages):
        queues.send("{}")


@pytest.mark.usefixtures("job")
def test_while_the_queue_is_behind_a_check_waits(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = item(JOB_ID)
    fill(queues, 3)

    with pytest.raises(Held, match="QUEUE_BEHIND") as held:
        archiving(check, next_invocation(clock))

    assert held.value.job_id == JOB_ID
    assert held.value.delay_seconds == INTERVAL + 3 * WAIT_PER_MESSAGE.total_seconds()
    assert peer.received == []
    assert item(JOB_ID) == before

    queues.client.purge_queue(QueueUrl=queues.url)
    assert archiving(redelivered(check), next_invocation(clock)) is Outcome.ARCHIVED
    assert capsys.readouterr().out.count('"LostWebhooks": [1') == 1


@pytest.mark.parametrize("last", ["deadline", "delivery", "redriven"])
def test_a_check_that_cannot_come_again_polls_though_the_queue_is_behind(
    *,
    archiving: Archiving,
    jobs: JobsTable,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    check: Record,
    item: Items,
    clock: Clock,
    last: str,
) -> None:
    if last == "deadline":
        clock.advance(DEADLINE)
    if last == "delivery":
        check = replace(check, receive_count=MAX_RECEIVES)
    if last == "redriven":
        fail(jobs, job, Permanent("NO_COMPLETION", "late"), Step.ARCHIVE, clock())
        reason = {"dataType": "String", "stringValue": "NO_COMPLETION"}
        check = replace(check, attributes={"errorCode": reason})
    fill(queues, 1)

    archiving(check, next_invocation(clock))

    ended = "FAILED" if last == "delivery" else "ARCHIVED"
    assert item(JOB_ID)["status"] == ended
    assert len(peer.received) == (ended == "ARCHIVED")


def test_a_file_is_not_fetched_again_that_was_archived_while_its_check_waited_for_a_slot(
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    check: Record,
    item: Items,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def overtaken(_: object) -> None:
        monkeypatch.undo()
        assert archiving(record, next_invocation(clock)) is Outcome.ARCHIVED

    monkeypatch.setattr(archiving.files, "await_slot", overtaken)

    with pytest.raises(Held, match="JOB_CHANGED"):
        archiving(check, next_invocation(clock))
    assert len(peer.received) == 1
    assert item(job.job_id)["status"] == "ARCHIVED"
    assert archiving(redelivered(check), next_invocation(clock)) is Outcome.DUPLICATE


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
    claimed = claim(jobs, JOB_ID, request(), "message-1", lease, clock())
    submit(jobs, claimed, FILE_ID, f"{elsewhere.url}/files/x", clock())

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
    outbox: Outbox,
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
        outbox.publish(fail(jobs, job, Permanent("HTTP_404", "gone"), Step.ARCHIVE, clock()))
    else:
        archiving(record, invocation)
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
def test_a_redriven_check_polls_again_for_as_long_again(
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
