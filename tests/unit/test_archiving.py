from collections.abc import Callable
from copy import replace
from hashlib import sha256
from io import BytesIO

import pytest

from local.backend import Backend
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import CredentialsRefused, Held, Retryable, Throttled
from reportflow.jobs import Job
from reportflow.pdf import ReceivedPdf
from reportflow.queues import Record
from tests.unit.clock import START, Clock
from tests.unit.deliveries import (
    MAX_ATTEMPTS,
    MAX_RECEIVES,
    ORPHAN_GRACE,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import (
    DESIGN_ID,
    JOB_ID,
    PDF,
    completed_body,
)

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]


def test_failures_use_the_budget_up(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    peer.respond = lambda _: answer(500)
    for attempt in range(1, MAX_ATTEMPTS):
        with pytest.raises(Retryable):
            archiving(record, invocation)
        assert item(JOB_ID)["failedAttempts"] == str(attempt)

    assert archiving(record, invocation) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "HTTP_500"
    assert queues.dead_letter_reasons()[0]["jobId"] == job.job_id


@pytest.mark.parametrize(("status", "kind"), [(401, CredentialsRefused), (429, Throttled)])
@pytest.mark.usefixtures("job")
def test_what_is_not_the_jobs_fault_costs_nothing(
    archiving: Archiving,
    peer: Peer,
    record: Record,
    invocation: Invocation,
    status: int,
    kind: type[Retryable],
) -> None:
    peer.respond = lambda _: answer(500)
    for _ in range(MAX_ATTEMPTS - 1):  # One more of these would be the last.
        with pytest.raises(Retryable):
            archiving(record, invocation)
    peer.respond = lambda _: answer(status)
    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(kind):
            archiving(record, invocation)
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(record, invocation) is Outcome.ARCHIVED


def test_an_attempt_that_died_after_the_write_is_carried_on(
    archiving: Archiving,
    aws: Backend,
    bucket: str,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    s3 = aws.client("s3")
    received = ReceivedPdf(len(PDF), sha256(PDF).digest())
    written = S3Archive(s3, bucket).store(job, received, BytesIO(PDF))

    assert archiving(record, invocation) is Outcome.ARCHIVED

    kept = item(JOB_ID)
    assert (kept["status"], kept["archiveVersionId"]) == ("ARCHIVED", written.archive_version_id)
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [version["VersionId"] for version in versions] == [written.archive_version_id]


def test_a_file_that_is_archived_and_gone_from_the_service_is_no_failure(
    archiving: Archiving,
    peer: Peer,
    aws: Backend,
    bucket: str,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    """An attempt died between archive and record, and the service keeps no file for ever."""
    received = ReceivedPdf(len(PDF), sha256(PDF).digest())
    written = S3Archive(aws.client("s3"), bucket).store(job, received, BytesIO(PDF))
    peer.respond = lambda _: answer(404)

    assert archiving(record, invocation) is Outcome.ARCHIVED

    kept = item(JOB_ID)
    assert (kept["status"], kept["archiveVersionId"]) == ("ARCHIVED", written.archive_version_id)
    assert (int(kept["size"]), kept["sha256"]) == (written.size, written.sha256)


def test_other_bytes_in_the_jobs_place_are_a_conflict(
    archiving: Archiving,
    aws: Backend,
    bucket: str,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    other = PDF + b"other"
    aws.client("s3").put_object(
        Bucket=bucket, Key=job.key(), Body=other, ChecksumAlgorithm="SHA256"
    )

    assert archiving(record, invocation) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "ARCHIVE_CONFLICT"
    assert contents() == [other]


def test_a_file_without_a_job_waits_for_its_202(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    record: Record,
    clock: Clock,
    invocation: Invocation,
) -> None:
    clock.advance(ORPHAN_GRACE.total_seconds() - 1)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(record, invocation)
    assert peer.received == []
    assert queues.dead_letters() == []


def test_after_the_grace_time_it_is_nobodys_here(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    record: Record,
    clock: Clock,
    invocation: Invocation,
) -> None:
    clock.advance(ORPHAN_GRACE.total_seconds())

    assert archiving(record, invocation) is Outcome.NOT_OURS
    assert peer.received == []
    assert queues.dead_letters() == []


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_webhook_with_a_wrong_uuid_ends_no_job(
    *,
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    clock: Clock,
    status: int,
) -> None:
    """Who has seen the token and a file's id could send one; the check still finds the PDF."""
    peer.respond = lambda _: answer(status)
    forged = replace(record, sent_at=clock())
    before = item(job.job_id)

    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(forged, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())
    assert archiving(forged, next_invocation(clock)) is Outcome.NOT_OURS

    assert item(job.job_id) == before
    assert queues.dead_letters() == []


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"designId": DESIGN_ID.replace("5", "6")}], ids=str
)
def test_a_file_of_another_document_is_not_fetched_and_the_job_goes_on(
    *,
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
    changes: dict[str, object],
) -> None:
    young = queues.deliver(completed_body(**changes))
    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(young, invocation)
    other = replace(young, sent_at=START - ORPHAN_GRACE)

    assert archiving(other, invocation) is Outcome.FAILED
    assert peer.received == []
    assert item(job.job_id)["status"] == "SUBMITTED"
    (letter,) = queues.dead_letters()
    assert letter["Body"] == other.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "FILE_MISMATCH"

    assert archiving(record, invocation) is Outcome.ARCHIVED


def test_the_case_of_a_design_id_does_not_matter(
    archiving: Archiving, queues: QueuePair, job: Job, invocation: Invocation
) -> None:
    record = queues.deliver(completed_body(designId=job.design_id.upper()))

    assert archiving(record, invocation) is Outcome.ARCHIVED


def test_word_of_a_file_that_is_archived_changes_nothing(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    archiving(record, invocation)
    before, asked = item(job.job_id), len(peer.received)
    peer.respond = lambda _: answer(200, PDF + b"later")

    assert archiving(redelivered(record), invocation) is Outcome.DUPLICATE
    assert item(job.job_id) == before
    assert len(peer.received) == asked
    assert contents() == [PDF]
    assert queues.dead_letters() == []


def test_a_late_webhook_archives_a_job_that_failed_in_the_archive_step(
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    peer.respond = lambda _: answer(200, b"no PDF")
    assert archiving(record, invocation) is Outcome.FAILED
    assert item(job.job_id)["status"] == "FAILED"
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(redelivered(record), invocation) is Outcome.ARCHIVED

    kept = item(job.job_id)
    assert kept["status"] == "ARCHIVED"
    assert not {"errorCode", "errorMessage", "failedStep", "failedAt"} & set(kept)
    assert contents() == [PDF]


def test_a_message_that_its_function_dies_at_ends_with_a_reason(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    invocation: Invocation,
) -> None:
    last = replace(record, receive_count=MAX_RECEIVES)

    assert archiving(last, invocation) is Outcome.FAILED

    (letter,) = queues.dead_letters()
    assert letter["Body"] == record.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "RECEIVES_USED_UP"
    failed = item(job.job_id)
    assert (failed["status"], failed["errorCode"]) == ("FAILED", "RECEIVES_USED_UP")
    assert failed["failedStep"] == "archive"
    assert peer.received == []


def test_until_its_last_delivery_a_message_is_tried(
    archiving: Archiving, job: Job, record: Record, item: Items, invocation: Invocation
) -> None:
    assert archiving(replace(record, receive_count=MAX_RECEIVES - 1), invocation)
    assert item(job.job_id)["status"] == "ARCHIVED"


def test_two_deliveries_at_the_same_time_archive_once(
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
) -> None:
    def overtaken(_: Received) -> list[bytes]:
        peer.respond = lambda _: answer(200, PDF)
        assert archiving(record, invocation) is Outcome.ARCHIVED
        return answer(200, PDF)

    peer.respond = overtaken

    assert archiving(record, invocation) is Outcome.DUPLICATE
    assert contents() == [PDF]
    assert item(job.job_id)["status"] == "ARCHIVED"


@pytest.mark.parametrize(
    "body", ["{", "[]", completed_body(kind="other"), completed_body(params={"a": 1})]
)
def test_an_invalid_message_ends_with_its_reason(
    archiving: Archiving, queues: QueuePair, invocation: Invocation, body: str
) -> None:
    record = replace(queues.deliver("-"), body=body)

    assert archiving(record, invocation) is Outcome.FAILED
    (letter,) = queues.dead_letters()
    assert letter["Body"] == body
    reason = letter["MessageAttributes"]
    assert reason["errorCode"]["StringValue"] == "INVALID_MESSAGE"
    assert reason["failedStep"]["StringValue"] == "archive"
    assert reason["jobId"]["StringValue"] == record.message_id
