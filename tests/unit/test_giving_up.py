"""A message that nothing else ends: it is given up with its reason, and so is the job it began."""

from collections.abc import Callable, Iterable
from copy import replace
from datetime import timedelta
from threading import Event

import pytest

from local.backend import Backend
from reportflow.consumer import GiveUpLimits, Outcome
from reportflow.errors import Held, Permanent, PipelineError
from reportflow.jobs import Lease
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.submission import PAYLOAD_RECEIVES, Submission
from tests.unit.clock import START, Clock
from tests.unit.deliveries import (
    GIVE_UP_LIMITS,
    MAX_RECEIVES,
    PAST_THE_GRACE,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim, give_back, reject
from tests.unit.reportflow_answers import ACCEPTED
from tests.unit.samples import JOB_ID, message_body, pointer, request

type Items = Callable[[str], dict[str, str]]

RECORD = Record("message-1", "receipt-1", "{}", 1, START, {})


@pytest.mark.parametrize(
    ("receives", "age", "code"),
    [
        (1, timedelta(), None),
        (9, timedelta(days=2), None),
        (10, timedelta(), "RECEIVES_USED_UP"),
        (11, timedelta(days=9), "RECEIVES_USED_UP"),
        (1, timedelta(days=3), "WAITED_TOO_LONG"),
    ],
)
def test_a_message_is_given_up_by_its_receives_or_by_its_age(
    receives: int, age: timedelta, code: str | None
) -> None:
    record = replace(RECORD, receive_count=receives)

    end = GiveUpLimits(max_receives=10, max_age=timedelta(days=3)).reached(record, START + age)

    assert (end.code if end else None) == code


@pytest.fixture
def put_payload(aws: Backend, bucket: str) -> Callable[[bytes], None]:
    def put(body: bytes) -> None:
        aws.client("s3").put_object(Bucket=bucket, Key="payload", Body=body)

    return put


def test_a_payload_may_come_a_moment_after_its_message(
    submission: Submission,
    queues: QueuePair,
    bucket: str,
    item: Items,
    clock: Clock,
    put_payload: Callable[[bytes], None],
) -> None:
    record = queues.deliver(pointer(bucket))

    with pytest.raises(Held, match="PAYLOAD_MISSING"):
        submission(record, next_invocation(clock))
    put_payload(message_body().encode())

    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED
    assert item(JOB_ID)["status"] == "SUBMITTED"


def test_a_payload_that_never_comes_ends_its_message(
    submission: Submission, queues: QueuePair, bucket: str, item: Items, clock: Clock
) -> None:
    record = replace(queues.deliver(pointer(bucket)), receive_count=PAYLOAD_RECEIVES)

    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    assert item(record.message_id)["errorCode"] == "PAYLOAD_MISSING"
    assert queues.dead_letter_reasons()[0]["errorCode"] == "PAYLOAD_MISSING"


def test_a_payload_that_is_put_back_goes_on_with_its_job(
    *,
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    aws: Backend,
    bucket: str,
    item: Items,
    clock: Clock,
    put_payload: Callable[[bytes], None],
) -> None:
    """The id of the job is in the payload: without it the message ends under its own."""
    put_payload(message_body().encode())
    record = queues.deliver(pointer(bucket))
    peer.respond = lambda _: answer(429)
    with pytest.raises(PipelineError):
        submission(record, next_invocation(clock))
    aws.client("s3").delete_object(Bucket=bucket, Key="payload")
    last = replace(redelivered(record), receive_count=PAYLOAD_RECEIVES)

    assert submission(last, next_invocation(clock)) is Outcome.FAILED
    dead = queues.redrive()
    assert dead.attributes["errorCode"]["stringValue"] == "PAYLOAD_MISSING"
    assert dead.attributes["jobId"]["stringValue"] == record.message_id
    assert item(JOB_ID)["status"] == "SUBMITTING"

    put_payload(message_body().encode())
    peer.respond = lambda _: answer(202, ACCEPTED)
    assert submission(dead, next_invocation(clock)) is Outcome.SUBMITTED
    assert item(JOB_ID)["status"] == "SUBMITTED"


@pytest.mark.parametrize("begun", ["not at all", "given back", "by a submitter that died"])
def test_at_its_age_a_message_ends_with_its_job_however_far_that_was(
    *,
    submission: Submission,
    jobs: JobsTable,
    queues: QueuePair,
    item: Items,
    clock: Clock,
    begun: str,
) -> None:
    record = replace(queues.deliver(message_body()), sent_at=clock(), receive_count=3)
    if begun != "not at all":
        lease = Lease("another", clock() + timedelta(seconds=30))
        job = claim(jobs, JOB_ID, request(), record.message_id, lease, clock())
        if begun == "given back":
            give_back(jobs, job, clock(), costs_retry=True)
    clock.advance(GIVE_UP_LIMITS.max_age.total_seconds())

    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    ended = item(JOB_ID)
    assert (ended["status"], ended["errorCode"]) == ("FAILED", "WAITED_TOO_LONG")
    assert queues.dead_letter_reasons()[0]["jobId"] == JOB_ID


def test_a_message_whose_payload_names_the_job_ends_with_that_job(
    *,
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    bucket: str,
    item: Items,
    clock: Clock,
    put_payload: Callable[[bytes], None],
) -> None:
    put_payload(message_body().encode())
    record = queues.deliver(pointer(bucket))
    peer.respond = lambda _: answer(429)
    with pytest.raises(PipelineError):
        submission(record, next_invocation(clock))
    last = replace(redelivered(record), receive_count=MAX_RECEIVES)

    assert submission(last, next_invocation(clock)) is Outcome.FAILED

    ended = item(JOB_ID)
    assert (ended["status"], ended["errorCode"]) == ("FAILED", "RECEIVES_USED_UP")
    assert queues.dead_letter_reasons()[0]["jobId"] == JOB_ID


def test_what_another_delivery_of_a_refused_message_did_not_publish_is_published(
    submission: Submission, jobs: JobsTable, queues: QueuePair, item: Items, clock: Clock
) -> None:
    """It wrote the record after this one had found none, and died before its event."""
    record = replace(queues.deliver("no JSON"), message_id="message-1")

    def other_delivery(**_: object) -> None:
        reject(jobs, record.message_id, Permanent("INVALID_MESSAGE", "not JSON"), clock())

    sends = "before-call.sqs.SendMessage"
    queues.client.meta.events.register(sends, other_delivery)
    try:
        assert submission(record, next_invocation(clock)) is Outcome.FAILED
    finally:
        queues.client.meta.events.unregister(sends, other_delivery)

    assert item(record.message_id)["status"] == "FAILED"
    assert "unannouncedAt" not in item(record.message_id)


def test_a_job_in_flight_outlasts_the_end_of_its_messages_receives(
    submission: Submission, jobs: JobsTable, queues: QueuePair, item: Items, clock: Clock
) -> None:
    record = replace(queues.deliver(message_body()), receive_count=MAX_RECEIVES)
    lease = Lease("another", clock() + timedelta(seconds=30))
    claim(jobs, JOB_ID, request(), record.message_id, lease, clock())

    for _ in range(2):
        with pytest.raises(Held, match="BEING_SUBMITTED"):
            submission(record, next_invocation(clock))
        clock.advance(30)
    assert item(JOB_ID)["status"] == "SUBMITTING"
    clock.advance(PAST_THE_GRACE)
    assert submission(record, next_invocation(clock)) is Outcome.FAILED


def test_the_end_of_a_repeated_message_leaves_the_job_of_the_first_alone(
    submission: Submission, jobs: JobsTable, queues: QueuePair, item: Items, clock: Clock
) -> None:
    lease = Lease("another", clock() + timedelta(seconds=30))
    claim(jobs, JOB_ID, request(), "the first message", lease, clock())
    before = item(JOB_ID)
    repeated = replace(queues.deliver(message_body()), receive_count=MAX_RECEIVES)

    assert submission(repeated, next_invocation(clock)) is Outcome.FAILED

    assert item(JOB_ID) == before
    assert len(queues.dead_letters()) == 1


def test_without_time_for_an_answer_nothing_is_sent_and_no_retry_used_up(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    record = queues.deliver(message_body())
    late = replace(next_invocation(clock), deadline=clock() + timedelta(seconds=2.9))

    with pytest.raises(PipelineError, match="OUT_OF_TIME"):
        submission(record, late)
    assert peer.received == []
    assert item(JOB_ID).get("failedAttempts", "0") == "0"

    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED
    assert "possibleDuplicates" not in item(JOB_ID)


def test_an_answer_later_than_the_invocation_can_store_is_given_up_in_time(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    """The wait is real here: what is left of the invocation decides how long it is."""
    given_up = Event()

    def answer_late(_: Received) -> Iterable[bytes]:
        given_up.wait(8)
        return answer(202, ACCEPTED)

    peer.respond = answer_late
    invocation = next_invocation(clock)
    short = replace(invocation, deadline=clock() + invocation.store_time + timedelta(seconds=1.2))

    with pytest.raises(Held, match="ANSWER_LOST"):
        submission(queues.deliver(message_body()), short)
    given_up.set()
    assert "outcomeUnknownAt" in item(JOB_ID)
