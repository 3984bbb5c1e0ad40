import json
import random
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from local.backend import Backend
from reportflow.consumer import Invocation, Outcome, consume
from reportflow.errors import CredentialsRefused, Held, Retryable, Throttled
from reportflow.jobs import JobStatus
from reportflow.jobs_table import JobsTable
from reportflow.payloads import Payloads
from reportflow.queues import Record
from reportflow.service import ReportFlow
from reportflow.submission import CONTENDED_SECONDS, MAX_UNKNOWN_OUTCOMES, Submission
from tests.unit.clock import Clock
from tests.unit.conftest import INVOCATION_SECONDS
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import message_body

type Items = Callable[[str], dict[str, str]]

JOB_ID = "invoice-2024-001"
MAX_ATTEMPTS = 3
PAST_THE_LEASE = INVOCATION_SECONDS + 60


def accepting() -> Callable[[Received], list[bytes]]:
    """ReportFlow in order: each 202 with a file of its own."""
    numbers = count(1)
    return lambda _: answer(
        202, json.dumps({"fileId": f"file_{next(numbers)}", "url": "https://x"}).encode()
    )


@pytest.fixture
def submission(
    aws: Backend,
    jobs: JobsTable,
    service: ReportFlow,
    queues: QueuePair,
    peer: Peer,
    bucket: str,
    clock: Clock,
) -> Submission:
    peer.respond = accepting()
    return Submission(
        jobs,
        service,
        Payloads(lambda: aws.client("s3"), (bucket,)),
        queues.queue,
        max_attempts=MAX_ATTEMPTS,
        clock=clock,
    )


def redelivered(record: Record) -> Record:
    """The same message once more, as SQS hands it over."""
    handle = record.receipt_handle + "+"
    return replace(record, receipt_handle=handle, receive_count=record.receive_count + 1)


def next_invocation(clock: Clock) -> Invocation:
    return Invocation(f"request-{clock()}", clock() + timedelta(seconds=INVOCATION_SECONDS))


def test_a_message_becomes_one_request_and_a_submitted_job(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    record = queues.deliver(message_body(metadata={"tenant": "acme"}))

    assert submission(record, invocation) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert len(peer.received) == 1
    assert (job["status"], job["fileId"], job["url"]) == ("SUBMITTED", "file_1", "https://x")
    assert "possibleDuplicates" not in job
    assert "leaseOwner" not in job
    assert b"tenant" not in peer.received[0].body


def test_without_a_job_id_the_messages_own_id_serves(
    submission: Submission, queues: QueuePair, item: Items, invocation: Invocation
) -> None:
    body = json.loads(message_body())
    del body["jobId"]
    record = queues.deliver(json.dumps(body))

    submission(record, invocation)

    assert item(record.message_id)["status"] == "SUBMITTED"


def test_a_message_behind_a_pointer_is_submitted_the_same(
    submission: Submission,
    aws: Backend,
    bucket: str,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
) -> None:
    body = message_body(content={"fileName": "大.pdf", "params": {"rows": ["x" * 99] * 20_000}})
    aws.client("s3").put_object(Bucket=bucket, Key="k", Body=body.encode())
    pointer = {"s3BucketName": bucket, "s3Key": "k"}
    mark = "software.amazon.payloadoffloading.PayloadS3Pointer"

    submission(queues.deliver(json.dumps([mark, pointer])), invocation)

    assert json.loads(peer.received[0].body)["content"] == json.loads(body)["content"]
    assert item(JOB_ID)["status"] == "SUBMITTED"


# The same job more than once


def test_the_same_message_twice_is_one_request(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    submission(record, invocation)
    before = item(JOB_ID)

    assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert len(peer.received) == 1
    assert item(JOB_ID) == before


def test_the_same_job_many_times_in_one_batch_is_one_request(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    for _ in range(10):
        queues.send(message_body())
    batch = queues.receive()

    response = consume(batch, submission, queues.queue, invocation, random.Random(1))

    assert len(peer.received) == 1
    again = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
    for record in batch:
        if record.message_id in again:
            assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert len(peer.received) == 1
    assert item(JOB_ID)["status"] == "SUBMITTED"
    assert "possibleDuplicates" not in item(JOB_ID)
    assert queues.dead_letters() == []


@pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"content": {"fileName": "invoice.pdf", "params": {"amount": 10000.0}}}],
    ids=["version", "params"],
)
@pytest.mark.parametrize("state", ["submitting", "submitted"])
def test_a_job_id_used_for_another_document_is_refused_and_the_first_job_untouched(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
    changes: dict[str, object],
    state: str,
) -> None:
    if state == "submitting":
        peer.respond = lambda _: answer(503)
        with pytest.raises(Retryable):
            submission(queues.deliver(message_body()), invocation)
    else:
        submission(queues.deliver(message_body()), invocation)
    before = item(JOB_ID)
    other = queues.deliver(message_body(**changes))

    assert submission(other, invocation) is Outcome.FAILED

    assert item(JOB_ID) == before
    (letter,) = queues.dead_letters()
    assert letter["Body"] == other.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "JOB_ID_REUSED"
    assert letter["MessageAttributes"]["jobId"]["StringValue"] == JOB_ID


def test_other_metadata_does_not_make_another_document(
    submission: Submission, queues: QueuePair, invocation: Invocation
) -> None:
    submission(queues.deliver(message_body()), invocation)

    again = queues.deliver(message_body(metadata={"attempt": 2}))
    assert submission(again, invocation) is Outcome.DUPLICATE


def test_a_failed_job_begins_again(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    peer.respond = lambda _: answer(404)
    submission(queues.deliver(message_body()), invocation)
    assert item(JOB_ID)["status"] == "FAILED"
    peer.respond = accepting()

    # As it comes back from the dead-letter queue: with a new message id.
    redriven = queues.deliver(message_body())

    assert submission(redriven, invocation) is Outcome.SUBMITTED
    assert item(JOB_ID)["status"] == "SUBMITTED"
    assert "errorCode" not in item(JOB_ID)


# Leases


def test_a_job_that_another_delivery_is_submitting_is_left_alone(
    submission: Submission, queues: QueuePair, peer: Peer, clock: Clock, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []  # The first one is never heard of again.
    with pytest.raises(Held):
        submission(record, invocation)
    clock.advance(INVOCATION_SECONDS)

    with pytest.raises(Held, match="BEING_SUBMITTED") as held:
        submission(redelivered(record), next_invocation(clock))
    assert held.value.delay_seconds == CONTENDED_SECONDS
    assert len(peer.received) == 1


def test_a_lease_that_ran_out_is_taken_over_and_counted(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    with pytest.raises(Held, match="ANSWER_LOST") as held:
        submission(record, invocation)
    assert item(JOB_ID)["status"] == "SUBMITTING"
    peer.respond = accepting()

    assert held.value.delay_seconds is not None
    clock.advance(held.value.delay_seconds)
    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert (job["status"], job["possibleDuplicates"]) == ("SUBMITTED", "1")


def test_two_deliveries_that_find_a_dead_lease_make_one_request(
    submission: Submission, queues: QueuePair, peer: Peer, clock: Clock, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    with pytest.raises(Held):
        submission(record, invocation)
    peer.respond = accepting()
    clock.advance(PAST_THE_LEASE)

    def attempt(number: int) -> object:
        delivery = replace(record, receipt_handle=f"handle-{number}")
        try:
            return submission(delivery, next_invocation(clock))
        except Held:
            return None

    with ThreadPoolExecutor(5) as pool:
        ended = list(pool.map(attempt, range(5)))

    assert ended.count(Outcome.SUBMITTED) == 1
    assert len(peer.received) == 2  # the lost one, and one more


def test_an_attempt_that_lost_its_lease_does_not_overwrite_the_other(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())

    def overtaken(_: Received) -> list[bytes]:
        peer.respond = accepting()
        clock.advance(PAST_THE_LEASE)
        submission(redelivered(record), next_invocation(clock))
        return answer(202, b'{"fileId": "file_late", "url": "u"}')

    peer.respond = overtaken

    assert submission(record, invocation) is Outcome.DUPLICATE
    assert item(JOB_ID)["fileId"] == "file_1"


def test_after_too_many_unknown_outcomes_a_person_decides(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    for _ in range(1 + MAX_UNKNOWN_OUTCOMES):
        with pytest.raises(Held, match="ANSWER_LOST"):
            submission(record, next_invocation(clock))
        record = redelivered(record)
        clock.advance(PAST_THE_LEASE)

    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    job = item(JOB_ID)
    assert (job["status"], job["errorCode"]) == ("FAILED", "OUTCOME_UNKNOWN")
    assert int(job["possibleDuplicates"]) == len(peer.received)
    assert queues.dead_letter_reasons()[0]["errorCode"] == "OUTCOME_UNKNOWN"


# Ends


@pytest.mark.parametrize(
    ("body", "code", "job_id"),
    [
        (message_body(version="x"), "INVALID_MESSAGE", JOB_ID),
        (message_body(unknown=1), "INVALID_MESSAGE", JOB_ID),
        (message_body(jobId="../x"), "INVALID_MESSAGE", None),
        ("no json", "INVALID_MESSAGE", None),
        (' ["other"] ', "INVALID_MESSAGE", None),
        (
            '["software.amazon.payloadoffloading.PayloadS3Pointer",'
            ' {"s3BucketName": "theirs", "s3Key": "k"}]',
            "PAYLOAD_BUCKET_UNKNOWN",
            None,
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_message_ends_with_its_reason(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
    body: str,
    code: str,
    job_id: str | None,
) -> None:
    queues.send(
        body,
        {
            "tenant": {"DataType": "String", "StringValue": "acme"},
            "trace": {"DataType": "Binary", "BinaryValue": b"\x00"},
        },
    )
    (record,) = queues.receive()

    assert submission(record, invocation) is Outcome.FAILED

    expected_id = job_id or record.message_id
    job = item(expected_id)
    (letter,) = queues.dead_letters()
    attributes = letter["MessageAttributes"]
    assert peer.received == []
    assert letter["Body"] == body
    assert attributes["jobId"]["StringValue"] == expected_id
    assert attributes["failedStep"]["StringValue"] == "submit"
    assert attributes["errorCode"]["StringValue"] == job["errorCode"] == code
    assert attributes["errorMessage"]["StringValue"] == job["errorMessage"]
    assert attributes["tenant"]["StringValue"] == "acme"
    assert b64encode(attributes["trace"]["BinaryValue"]) == b"AA=="
    assert job["status"] == "FAILED"


def test_an_invalid_message_leaves_a_job_of_the_same_id_alone(
    submission: Submission, queues: QueuePair, item: Items, invocation: Invocation
) -> None:
    submission(queues.deliver(message_body()), invocation)
    before = item(JOB_ID)

    submission(queues.deliver(message_body(version="x")), invocation)

    assert item(JOB_ID) == before
    assert queues.dead_letter_reasons()[0]["jobId"] == JOB_ID


@pytest.mark.parametrize("status", [400, 404, 413])
def test_what_reportflow_will_never_take_ends_at_once(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
    status: int,
) -> None:
    peer.respond = lambda _: answer(status, '{"message": ["理由"]}'.encode())
    record = queues.deliver(message_body())

    assert submission(record, invocation) is Outcome.FAILED

    assert item(JOB_ID)["status"] == JobStatus.FAILED
    assert "理由" in item(JOB_ID)["errorMessage"]
    assert queues.dead_letter_reasons()[0]["errorCode"] == f"HTTP_{status}"


@pytest.mark.parametrize(
    ("status", "kind"), [(401, CredentialsRefused), (412, CredentialsRefused), (429, Throttled)]
)
def test_what_is_not_the_messages_fault_never_ends_it(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    status: int,
    kind: type[Retryable],
) -> None:
    peer.respond = lambda _: answer(status)
    record = queues.deliver(message_body())
    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(kind) as failed:
            submission(record, next_invocation(clock))
        assert failed.value.job_id == JOB_ID
        record = redelivered(record)
    peer.respond = accepting()

    assert submission(record, next_invocation(clock)) is Outcome.SUBMITTED
    assert "possibleDuplicates" not in item(JOB_ID)
    assert queues.dead_letters() == []


def test_a_broken_reportflow_uses_the_budget_up(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    peer.respond = lambda _: answer(500)
    record = queues.deliver(message_body())
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(Retryable):
            submission(record, next_invocation(clock))
        record = redelivered(record)

    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    assert len(peer.received) == MAX_ATTEMPTS
    assert item(JOB_ID)["errorCode"] == "HTTP_500"
    assert queues.dead_letter_reasons()[0]["jobId"] == JOB_ID


def test_a_payload_that_cannot_be_read_uses_the_queues_count_up(
    jobs: JobsTable,
    service: ReportFlow,
    queues: QueuePair,
    aws: Backend,
    item: Items,
    clock: Clock,
    listen: Callable[..., Peer],
    invocation: Invocation,
) -> None:
    import boto3
    from botocore.config import Config

    s3 = boto3.client(
        "s3",
        endpoint_url=listen(lambda _: answer(500)).url,
        region_name=aws.region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )
    submission = Submission(
        jobs,
        service,
        Payloads(lambda: s3, ("mine",)),
        queues.queue,
        max_attempts=MAX_ATTEMPTS,
        clock=clock,
    )
    mark = "software.amazon.payloadoffloading.PayloadS3Pointer"
    record = queues.deliver(f'["{mark}", {{"s3BucketName": "mine", "s3Key": "k"}}]')

    with pytest.raises(Retryable):
        submission(replace(record, receive_count=MAX_ATTEMPTS - 1), invocation)
    assert item(record.message_id) == {}
    last = replace(record, receive_count=MAX_ATTEMPTS)
    assert submission(last, invocation) is Outcome.FAILED
    assert item(record.message_id)["status"] == "FAILED"
    s3.close()
