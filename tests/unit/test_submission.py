import json
from base64 import b64encode
from collections.abc import Callable
from copy import replace
from typing import Any

import pytest

from local.backend import Backend
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import CredentialsRefused, Retryable, Throttled
from reportflow.jobs import JobStatus
from reportflow.payloads import Payloads
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    MAX_ATTEMPTS,
    MAX_RECEIVES,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import accepting
from tests.unit.samples import JOB_ID, by_url, message_body, pointer

type Items = Callable[[str], dict[str, str]]


def test_a_message_becomes_one_request_and_a_submitted_job(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    record = queues.deliver(message_body(metadata={"tenant": "acme"}))

    assert submission(record, invocation) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert len(peer.received) == 1
    assert (job["status"], job["fileId"]) == ("SUBMITTED", "file_1")
    assert job["fileReference"] == by_url("https://x")
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

    submission(queues.deliver(pointer(bucket, "k")), invocation)

    assert json.loads(peer.received[0].body)["content"] == json.loads(body)["content"]
    assert item(JOB_ID)["status"] == "SUBMITTED"


@pytest.mark.parametrize(
    ("body", "code", "job_id"),
    [
        (message_body(version="x"), "INVALID_MESSAGE", JOB_ID),
        (message_body(unknown=1), "INVALID_MESSAGE", JOB_ID),
        (message_body(jobId="../x"), "INVALID_MESSAGE", None),
        ("no json", "INVALID_MESSAGE", None),
        (' ["other"] ', "INVALID_MESSAGE", None),
        (pointer("theirs"), "PAYLOAD_BUCKET_UNKNOWN", None),
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
    record = queues.deliver(message_body())
    peer.respond = lambda _: answer(500)
    for _ in range(MAX_ATTEMPTS - 1):  # One more of these would be the last.
        with pytest.raises(Retryable):
            submission(record, next_invocation(clock))
        record = redelivered(record)
    peer.respond = lambda _: answer(status)
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
    submission_with: Callable[..., Submission],
    queues: QueuePair,
    item: Items,
    listen: Callable[..., Peer],
    client_at: Callable[[str, str], Any],
    invocation: Invocation,
) -> None:
    s3 = client_at("s3", listen(lambda _: answer(500)).url)
    submission = submission_with(bodies=Payloads(lambda: s3, ("mine",), max_request_bytes=1000))
    record = queues.deliver(pointer("mine"))

    with pytest.raises(Retryable):
        submission(replace(record, receive_count=MAX_RECEIVES - 1), invocation)
    assert item(record.message_id) == {}
    last = replace(record, receive_count=MAX_RECEIVES)
    assert submission(last, invocation) is Outcome.FAILED
    assert item(record.message_id)["status"] == "FAILED"
