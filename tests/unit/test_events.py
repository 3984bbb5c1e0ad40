"""What is published of a job's end: by a rule and a queue, as a consumer would hear it."""

import json
from collections.abc import Callable
from copy import replace
from datetime import datetime
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from local.backend import Backend
from reportflow.archiving import Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Permanent, Retryable, Unavailable
from reportflow.events import Outbox
from reportflow.jobs import Job, Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import MAX_RECEIVES, next_invocation, redelivered
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import fail
from tests.unit.samples import DESIGN_ID, JOB_ID, PDF, message_body

type Items = Callable[[str], dict[str, str]]
type Heard = Callable[[], list[dict[str, Any]]]


def test_an_archived_pdf_is_published_with_all_that_is_needed_to_fetch_it(
    *,
    archiving: Archiving,
    heard: Heard,
    aws: Backend,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    assert archiving(record, invocation) is Outcome.ARCHIVED

    (event,) = heard()
    detail = event["detail"]
    assert (event["source"], event["detail-type"]) == ("reportflow", "PDF Archived")
    assert (detail["jobId"], detail["designId"]) == (job.job_id, job.design_id)
    stored = aws.client("s3").get_object(
        Bucket=detail["bucket"], Key=detail["key"], VersionId=detail["versionId"]
    )
    assert stored["Body"].read() == PDF
    kept = item(job.job_id)
    assert (detail["size"], detail["sha256"]) == (len(PDF), kept["sha256"])
    assert datetime.fromisoformat(detail["archivedAt"]) == datetime.fromisoformat(
        kept["archivedAt"]
    )
    assert "unannouncedAt" not in kept


def test_metadata_comes_back_and_params_do_not(
    submission: Submission, queues: QueuePair, peer: Peer, heard: Heard, clock: Clock
) -> None:
    peer.respond = lambda _: answer(404)
    body = message_body(
        metadata={"tenant": "acme", "n": 1.50},
        content={"fileName": "a.pdf", "params": {"name": "秘密"}},
    )

    submission(queues.deliver(body), next_invocation(clock))

    (event,) = heard()
    assert event["detail-type"] == "PDF Failed"
    assert event["detail"]["metadata"] == {"tenant": "acme", "n": 1.5}
    assert (event["detail"]["errorCode"], event["detail"]["failedStep"]) == ("HTTP_404", "submit")
    assert "秘密" not in json.dumps(event, ensure_ascii=False)


def test_a_message_that_never_was_a_job_is_published_too(
    submission: Submission, queues: QueuePair, heard: Heard, clock: Clock
) -> None:
    record = queues.deliver("{")

    submission(record, next_invocation(clock))

    (event,) = heard()
    assert event["detail"]["jobId"] == record.message_id
    assert event["detail"]["errorCode"] == "INVALID_MESSAGE"
    assert event["detail"]["metadata"] == {}


def test_a_refused_message_is_published_with_all_that_could_be_read(
    submission: Submission, queues: QueuePair, heard: Heard, clock: Clock
) -> None:
    body = message_body(metadata={"tenant": "acme"}, version=7, unknown=1)

    submission(queues.deliver(body), next_invocation(clock))

    (event,) = heard()
    detail = event["detail"]
    assert detail["errorCode"] == "INVALID_MESSAGE"
    assert (detail["jobId"], detail["designId"], detail["version"]) == (JOB_ID, DESIGN_ID, 7)
    assert (detail["fileName"], detail["metadata"]) == ("invoice.pdf", {"tenant": "acme"})


@pytest.fixture
def unwell(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """The event bus takes nothing the first time."""
    send = outbox._send

    def fail_once(*_: Any) -> None:
        monkeypatch.setattr(outbox, "_send", send)
        raise Unavailable("AWS_InternalException", "events:PutEvents was refused")

    monkeypatch.setattr(outbox, "_send", fail_once)
    return outbox


def test_a_message_is_not_acknowledged_before_its_end_is_published(
    *,
    archiving: Archiving,
    unwell: Outbox,
    heard: Heard,
    job: Job,
    record: Record,
    item: Items,
    clock: Clock,
) -> None:
    with pytest.raises(Unavailable):
        archiving(record, next_invocation(clock))
    assert item(job.job_id)["status"] == "ARCHIVED"
    assert heard() == []

    assert archiving(redelivered(record), next_invocation(clock)) is Outcome.DUPLICATE

    (event,) = heard()
    assert event["detail-type"] == "PDF Archived"
    assert "unannouncedAt" not in item(job.job_id)


def test_a_failure_is_published_by_the_next_delivery_if_not_by_the_first(
    *,
    submission: Submission,
    unwell: Outbox,
    queues: QueuePair,
    peer: Peer,
    heard: Heard,
    clock: Clock,
) -> None:
    peer.respond = lambda _: answer(404)
    record = queues.deliver(message_body())
    with pytest.raises(Unavailable):
        submission(record, next_invocation(clock))

    submission(redelivered(record), next_invocation(clock))

    assert [event["detail"]["errorCode"] for event in heard()] == ["HTTP_404"]
    assert len(queues.dead_letters()) == 1


@pytest.fixture
def forbidden(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The event bus takes nothing until this is undone."""

    def refuse(*_: Any) -> None:
        raise Unavailable("AWS_InternalException", "events:PutEvents was refused")

    monkeypatch.setattr(outbox, "_send", refuse)
    return monkeypatch


def test_what_is_never_published_ends_with_its_reason(
    *,
    archiving: Archiving,
    forbidden: pytest.MonkeyPatch,
    heard: Heard,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    clock: Clock,
) -> None:
    for count in range(1, MAX_RECEIVES):
        with pytest.raises(Unavailable):
            archiving(replace(record, receive_count=count), next_invocation(clock))
    archiving(replace(record, receive_count=MAX_RECEIVES), next_invocation(clock))
    assert item(job.job_id)["status"] == "ARCHIVED"
    again = queues.redrive()
    assert again.attributes["errorCode"]["stringValue"] == "AWS_InternalException"
    forbidden.undo()

    assert archiving(again, next_invocation(clock)) is Outcome.DUPLICATE

    assert [event["detail-type"] for event in heard()] == ["PDF Archived"]


@pytest.mark.usefixtures("forbidden")
def test_a_request_whose_failure_is_never_published_ends_with_its_reason(
    submission: Submission, queues: QueuePair, peer: Peer, clock: Clock
) -> None:
    peer.respond = lambda _: answer(404)
    record = queues.deliver(message_body())
    for count in range(1, MAX_RECEIVES):
        with pytest.raises(Unavailable):
            submission(replace(record, receive_count=count), next_invocation(clock))

    submission(replace(record, receive_count=MAX_RECEIVES), next_invocation(clock))

    reasons = [reason["errorCode"] for reason in queues.dead_letter_reasons()]
    assert reasons == ["HTTP_404", "AWS_InternalException"]


def test_a_final_state_is_published_once_if_nothing_fails(
    archiving: Archiving, heard: Heard, job: Job, record: Record, clock: Clock
) -> None:
    for delivery in (record, redelivered(record), redelivered(record)):
        archiving(delivery, next_invocation(clock))

    assert [event["detail"]["jobId"] for event in heard()] == [job.job_id]


def test_the_same_state_has_the_same_id_and_another_state_another(
    jobs: JobsTable, outbox: Outbox, heard: Heard, job: Job, clock: Clock
) -> None:
    error = Permanent("CODE", "message")
    first = fail(jobs, job, error, Step.ARCHIVE, clock())
    for _ in range(3):  # The record of the first publishing was lost.
        outbox.publish(first)
    clock.advance(1)
    outbox.publish(fail(jobs, job, error, Step.ARCHIVE, clock()))

    ids = [event["detail"]["eventId"] for event in heard()]
    assert len(ids) == 4
    assert len(set(ids[:3])) == 1
    assert ids[3] != ids[0]


def test_what_was_published_is_not_published_again(
    jobs: JobsTable, outbox: Outbox, heard: Heard, job: Job, clock: Clock
) -> None:
    outbox.publish(fail(jobs, job, Permanent("CODE", "message"), Step.ARCHIVE, clock()))
    kept = jobs.get(job.job_id)
    assert kept is not None

    outbox.publish(kept)

    assert len(heard()) == 1


def test_a_bus_that_takes_the_call_and_not_the_event_is_tried_again(
    aws: Backend, jobs: JobsTable, job: Job, clock: Clock, item: Items
) -> None:
    failed = fail(jobs, job, Permanent("CODE", "message"), Step.ARCHIVE, clock())
    client = aws.client("events")
    refused = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
    outbox = Outbox(jobs, lambda: client, "bus", clock=clock)
    with Stubber(client) as stubbed:
        stubbed.add_response("put_events", refused, {"Entries": ANY})
        with pytest.raises(Retryable, match="AWS_ThrottlingException"):
            outbox.publish(failed)
    assert "unannouncedAt" in item(job.job_id)
