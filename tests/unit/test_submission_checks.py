import json
from collections.abc import Callable
from contextlib import suppress
from copy import replace
from typing import TYPE_CHECKING

import pytest

from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Retryable
from reportflow.jobs import ArchivedFile
from reportflow.jobs_table import JobsTable
from reportflow.messages import OWN_JOB_ID, Check, parse_download
from reportflow.queues import Downloads
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    MAX_RECEIVES,
    PAST_THE_GRACE,
    Killed,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import archive
from tests.unit.reportflow_answers import accepting
from tests.unit.samples import JOB_ID, bus_event, message, message_body, notification

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

type Items = Callable[[str], dict[str, str]]


def checks_in(queue: QueuePair) -> list[object]:
    return [parse_download(record.body.encode()) for record in queue.receive()]


def body_without_job_id() -> str:
    body = message()
    del body["jobId"]
    return json.dumps(body)


def test_a_submitted_job_is_checked_later(
    submission: Submission, queues: QueuePair, ordered: QueuePair, invocation: Invocation
) -> None:
    submission(queues.deliver(message_body()), invocation)

    assert checks_in(ordered) == [Check(JOB_ID)]


def test_a_message_is_not_acknowledged_before_its_check_is_ordered(
    submission: Submission,
    submission_with: Callable[..., Submission],
    queues: QueuePair,
    ordered: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
) -> None:
    unable = submission_with(checks=Downloads(ordered.client, ordered.url + "-absent"))
    record = queues.deliver(message_body())
    with pytest.raises(Retryable, match="sqs:SendMessage"):
        unable(record, invocation)
    assert item(JOB_ID)["status"] == "SUBMITTED"

    assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert checks_in(ordered) == [Check(JOB_ID)]
    assert len(peer.received) == 1


def test_a_delivery_that_finds_the_job_archived_orders_no_check(
    submission: Submission,
    jobs: JobsTable,
    queues: QueuePair,
    ordered: QueuePair,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())
    submission(record, invocation)
    ordered.receive()
    job = jobs.get(JOB_ID)
    assert job is not None
    archive(jobs, job, ArchivedFile(job.file_id, "archive", "k", "v", 1, "00"), clock())

    assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert checks_in(ordered) == []


@pytest.mark.parametrize("status", [404, 429, 503])
def test_without_a_file_there_is_nothing_to_check(
    submission: Submission,
    queues: QueuePair,
    ordered: QueuePair,
    peer: Peer,
    invocation: Invocation,
    status: int,
) -> None:
    peer.respond = lambda _: answer(status)
    with suppress(Retryable):
        submission(queues.deliver(message_body()), invocation)

    assert len(peer.received) == 1
    assert checks_in(ordered) == []


def test_a_redriven_message_without_a_job_id_keeps_its_job(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    peer.respond = lambda _: answer(404)
    first = queues.deliver(body_without_job_id())
    submission(first, invocation)
    second = queues.redrive()
    submission(second, invocation)
    third = queues.redrive()
    assert len({first.message_id, second.message_id, third.message_id}) == 3
    peer.respond = accepting()

    assert submission(third, invocation) is Outcome.SUBMITTED

    assert item(first.message_id)["status"] == "SUBMITTED"
    assert item(second.message_id) == item(third.message_id) == {}


@pytest.mark.parametrize(
    ("body", "attributes", "job_id"),
    [
        (message_body(), {"jobId": "other-job", "errorCode": "X"}, JOB_ID),
        (body_without_job_id(), {"jobId": "other-job", "errorCode": "X"}, "other-job"),
        (body_without_job_id(), {"jobId": "other-job"}, None),
        (body_without_job_id(), {OWN_JOB_ID: "other-job"}, "other-job"),
        (body_without_job_id(), {"jobId": "../job", "errorCode": "X"}, None),
        (body_without_job_id(), {"jobId": "job-1\n", "errorCode": "X"}, None),
        (body_without_job_id(), {OWN_JOB_ID: "j" * 129}, None),
    ],
    ids=[
        "the body counts first",
        "then a dead letter's attribute",
        "a sender's own attribute does not",
        "the command line's does",
        "a path",
        "a line",
        "too long",
    ],
)
def test_whose_job_a_message_is(
    submission: Submission,
    queues: QueuePair,
    item: Items,
    invocation: Invocation,
    body: str,
    attributes: dict[str, str],
    job_id: str | None,
) -> None:
    queues.send(
        body,
        {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
    (record,) = queues.receive()

    submission(record, invocation)

    assert item(job_id or record.message_id)["status"] == "SUBMITTED"


@pytest.mark.parametrize("envelope", [notification, bus_event])
@pytest.mark.parametrize("body", [message_body(), body_without_job_id()])
def test_a_message_in_an_envelope_is_submitted_as_its_own(
    submission: Submission,
    queues: QueuePair,
    item: Items,
    invocation: Invocation,
    envelope: Callable[[str], str],
    body: str,
) -> None:
    record = queues.deliver(envelope(body))

    assert submission(record, invocation) is Outcome.SUBMITTED
    assert item(json.loads(body).get("jobId", record.message_id))["status"] == "SUBMITTED"


@pytest.mark.parametrize("envelope", [notification, bus_event])
def test_a_wrong_message_in_an_envelope_is_dead_lettered_whole(
    submission: Submission,
    queues: QueuePair,
    item: Items,
    invocation: Invocation,
    envelope: Callable[[str], str],
) -> None:
    body = envelope(message_body(version="x"))

    assert submission(queues.deliver(body), invocation) is Outcome.FAILED
    assert item(JOB_ID)["status"] == "FAILED"
    (letter,) = queues.dead_letters()
    assert letter["Body"] == body


def test_a_binary_attribute_names_no_job(
    submission: Submission, queues: QueuePair, item: Items, invocation: Invocation
) -> None:
    binary: MessageAttributeValueTypeDef = {"DataType": "Binary", "BinaryValue": b"other-job"}
    queues.send(body_without_job_id(), {"jobId": binary, "errorCode": binary, OWN_JOB_ID: binary})
    (record,) = queues.receive()

    submission(record, invocation)

    assert item(record.message_id)["status"] == "SUBMITTED"


@pytest.mark.parametrize("claimed", [False, True], ids=["before the claim", "after it"])
def test_a_message_that_its_function_dies_at_ends_with_a_reason(
    *,
    submission: Submission,
    dying_submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    claimed: bool,
) -> None:
    record = queues.deliver(message_body())
    if claimed:
        with pytest.raises(Killed):
            dying_submission(record, next_invocation(clock))
        clock.advance(PAST_THE_GRACE)

    last = replace(redelivered(record), receive_count=MAX_RECEIVES)
    assert submission(last, next_invocation(clock)) is Outcome.FAILED

    (letter,) = queues.dead_letters()
    assert letter["Body"] == record.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "RECEIVES_USED_UP"
    job = item(JOB_ID)
    assert (job["status"], job["errorCode"]) == ("FAILED", "RECEIVES_USED_UP")
    assert job["failedStep"] == "submit"
    assert peer.received == []


def test_until_its_last_delivery_a_message_is_tried(
    submission: Submission, queues: QueuePair, invocation: Invocation
) -> None:
    record = replace(queues.deliver(message_body()), receive_count=MAX_RECEIVES - 1)

    assert submission(record, invocation) is Outcome.SUBMITTED


def test_the_last_delivery_of_a_message_that_is_done_is_no_crash(
    submission: Submission, queues: QueuePair, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    submission(record, invocation)

    last = replace(redelivered(record), receive_count=MAX_RECEIVES)
    assert submission(last, invocation) is Outcome.DUPLICATE
    assert queues.dead_letters() == []
