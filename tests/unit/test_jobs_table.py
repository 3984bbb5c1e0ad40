"""The table keeps what the rules return, although others write at the same time."""

from collections.abc import Callable
from copy import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import msgspec
import pytest
from botocore.stub import Stubber

from local.backend import Backend
from reportflow import jobs as rules
from reportflow.errors import Permanent, Throttled, Unavailable
from reportflow.jobs import ArchivedFile, Job, JobStatus, Lease, Step, Verdict
from reportflow.jobs_table import JobsTable
from tests.unit.clock import START, Clock
from tests.unit.recording import adopt, archive, claim, fail, give_back, reject, submit
from tests.unit.samples import DESIGN_ID, by_url, by_uuid, request

type Items = Callable[[str], dict[str, str]]

JOB_ID = "job-1"
FILE_ID = "file_abc123"
ERROR = Permanent("HTTP_404", "デザインがありません")
ARCHIVED = ArchivedFile(FILE_ID, "archive", "d/2026/03/31/job-1/a.pdf", "v1", 123, "ab" * 32)


@pytest.fixture
def begun(jobs: JobsTable, clock: Clock) -> Job:
    lease = Lease("submitter", clock() + timedelta(seconds=30))
    return claim(jobs, JOB_ID, request(metadata={"tenant": "株式会社"}), "m-1", lease, clock())


@pytest.fixture
def submitted(jobs: JobsTable, begun: Job, clock: Clock) -> Job:
    clock.advance(1)
    return submit(jobs, begun, FILE_ID, "https://x/file", clock())


def test_what_was_written_is_read_again(jobs: JobsTable, submitted: Job, clock: Clock) -> None:
    assert jobs.get(JOB_ID) == submitted
    clock.advance(1)
    archived = archive(jobs, submitted, ARCHIVED, clock())
    assert jobs.get(JOB_ID) == archived
    assert jobs.get("another") is None


def test_a_record_holds_what_was_asked_for_and_no_params(begun: Job, item: Items) -> None:
    record = item(JOB_ID)

    assert (record["designId"], record["version"], record["fileName"]) == (
        DESIGN_ID,
        "1",
        "invoice.pdf",
    )
    assert (record["metadata"], record["messageId"]) == ('{"tenant":"株式会社"}', "m-1")
    assert record["requestDigest"] == begun.request_digest
    assert "amount" not in repr(record)


def test_what_is_empty_is_not_kept(jobs: JobsTable, submitted: Job, item: Items) -> None:
    record = item(JOB_ID)

    assert "leaseOwner" not in record
    assert "" not in record.values()
    assert not {"failedAttempts", "errorCode", "expiresAt", "doubtfulFileId"} & record.keys()


def test_times_are_text_that_sorts_like_time(jobs: JobsTable, item: Items) -> None:
    whole_second = START.replace(microsecond=0)
    moments = [whole_second + timedelta(seconds=s) for s in (0, 0.001, 0.4, 1, 9.2, 10, 60)]
    for number, moment in enumerate(moments):
        reject(jobs, f"job-{number}", ERROR, moment)

    written = [item(f"job-{number}")["updatedAt"] for number in range(len(moments))]
    assert written == sorted(set(written))
    assert all(text.endswith("Z") for text in written)


def test_a_final_state_expires(jobs: JobsTable, submitted: Job, item: Items, clock: Clock) -> None:
    fail(jobs, submitted, ERROR, Step.ARCHIVE, clock())

    kept = datetime.fromtimestamp(int(item(JOB_ID)["expiresAt"]), UTC) - clock()
    assert timedelta(days=29) < kept <= timedelta(days=30)


def test_a_conflict_is_decided_again_on_what_is_there(
    jobs: JobsTable, submitted: Job, clock: Clock
) -> None:
    """Two webhooks and a check, all of which have read the same record."""
    archive(jobs, submitted, ARCHIVED, clock())
    seen: list[Job | None] = []

    def rule(job: Job | None) -> Job | Verdict:
        seen.append(job)
        return rules.failed(job, submitted, ERROR, Step.ARCHIVE, clock())

    current, verdict = jobs.change(JOB_ID, submitted, rule, clock())

    assert verdict is Verdict.SUPERSEDED
    assert [job.status for job in seen if job] == [JobStatus.SUBMITTED, JobStatus.ARCHIVED]
    assert current is not None
    assert current.status is JobStatus.ARCHIVED


def test_a_new_job_is_begun_once(jobs: JobsTable, begun: Job, clock: Clock) -> None:
    def rule(job: Job | None) -> Job | Verdict:
        return rules.begin(
            job,
            request(),
            job_id=JOB_ID,
            tag="tag-1",
            message_id="m-2",
            lease=Lease("another", clock()),
            grace=timedelta(),
            now=clock(),
        )

    assert jobs.change(JOB_ID, None, rule, clock()) == (begun, Verdict.BUSY)


class AnswerLost:
    """DynamoDB, whose answers to writes get lost; the SDK repeats them."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_item(self, **call: Any) -> Any:
        self._client.update_item(**call)
        return self._client.update_item(**call)


def test_a_write_that_was_repeated_recognizes_itself(
    aws: Backend, table_name: str, clock: Clock, item: Items
) -> None:
    client = cast("Any", AnswerLost(aws.client("dynamodb")))
    jobs = JobsTable(client, table_name, ttl_days=30)
    lease = Lease("submitter", clock() + timedelta(seconds=30))
    first = claim(jobs, JOB_ID, request(), "m-1", lease, clock())
    clock.advance(120)

    again = claim(
        jobs, JOB_ID, request(), "m-1", msgspec.structs.replace(lease, owner="next"), clock()
    )

    assert (first.lease_owner, again.lease_owner) == ("submitter", "next")
    assert item(JOB_ID)["possibleDuplicates"] == "1"
    assert submit(jobs, again, FILE_ID, "u", clock()).status is JobStatus.SUBMITTED


def test_a_rule_that_changes_nothing_writes_nothing(
    jobs: JobsTable, submitted: Job, item: Items, clock: Clock
) -> None:
    before = item(JOB_ID)
    clock.advance(1)

    same = partial(
        rules.postponed, read=submitted, now=clock(), costs_retry=False, by_webhook=False
    )
    assert jobs.change(JOB_ID, submitted, same, clock()) == (submitted, None)
    assert item(JOB_ID) == before


def test_records_of_earlier_versions_are_taken_up(
    aws: Backend, jobs: JobsTable, table_name: str, submitted: Job, clock: Clock, item: Items
) -> None:
    """They have no writeId; and if one of these versions still writes, that is a conflict."""
    aws.client("dynamodb").update_item(
        TableName=table_name,
        Key={"jobId": {"S": JOB_ID}},
        UpdateExpression="SET later = :new REMOVE writeId",
        ExpressionAttributeValues={":new": {"S": "stays"}},
    )
    old = jobs.get(JOB_ID)
    assert old is not None
    assert old.write_id == ""
    aws.client("dynamodb").update_item(
        TableName=table_name,
        Key={"jobId": {"S": JOB_ID}},
        UpdateExpression="SET failedAttempts = :two, updatedAt = :now",
        ExpressionAttributeValues={":two": {"N": "2"}, ":now": {"S": "2026-04-01T00:00:00.000Z"}},
    )

    rule = partial(rules.postponed, read=old, now=clock(), costs_retry=True, by_webhook=False)
    current, verdict = jobs.change(JOB_ID, old, rule, clock())
    assert (current, verdict) == (jobs.get(JOB_ID), None)
    assert current is not None
    assert (current.failed_attempts, current.write_id) == (2, "")

    archived = archive(jobs, current, ARCHIVED, clock())
    assert archived.write_id
    assert item(JOB_ID)["later"] == "stays"


@pytest.mark.parametrize(
    ("parts", "reference"),
    [
        ({"url": "https://x/1"}, by_url("https://x/1")),
        ({"uuid": "u1"}, by_uuid("u1")),
        ({"url": "https://x/1", "uuid": "u1"}, by_uuid("u1")),
        ({}, ""),
    ],
    ids=repr,
)
def test_a_file_of_an_earlier_version_is_found_by_what_that_version_kept(
    *,
    aws: Backend,
    jobs: JobsTable,
    table_name: str,
    submitted: Job,
    clock: Clock,
    item: Items,
    parts: dict[str, str],
    reference: str,
) -> None:
    added = "".join(f", #{name} = :{name}" for name in parts)
    aws.client("dynamodb").update_item(
        TableName=table_name,
        Key={"jobId": {"S": JOB_ID}},
        UpdateExpression=f"SET #later = :new{added} REMOVE fileReference",
        ExpressionAttributeNames={f"#{name}": name for name in ("later", *parts)},
        ExpressionAttributeValues={
            ":new": {"S": "stays"},
            **{f":{name}": {"S": value} for name, value in parts.items()},
        },
    )

    old = jobs.get(JOB_ID)

    assert old is not None
    assert old == replace(submitted, file_reference=reference)
    archived = archive(jobs, old, ARCHIVED, clock())
    assert jobs.get(JOB_ID) == archived
    assert archived.file_reference == reference
    assert item(JOB_ID)["status"] == "ARCHIVED"


@pytest.mark.parametrize(
    ("code", "kind"), [("ThrottlingException", Throttled), ("InternalServerError", Unavailable)]
)
def test_what_dynamodb_refuses_is_an_outage(
    aws: Backend, clock: Clock, code: str, kind: type[Exception]
) -> None:
    client = aws.client("dynamodb")
    new = Job(job_id=JOB_ID, status=JobStatus.FAILED, created_at=clock())
    with Stubber(client) as stubbed:
        stubbed.add_client_error("update_item", code)
        with pytest.raises(kind):
            JobsTable(client, "jobs", ttl_days=30).change(JOB_ID, None, lambda _: new, clock())


def test_an_adopted_job_is_found_by_its_file(jobs: JobsTable, begun: Job, clock: Clock) -> None:
    clock.advance(31)
    found = jobs.find_unanswered(begun.request_digest, clock())
    assert found == begun

    adopted = adopt(jobs, begun, FILE_ID, "uuid_1", clock())

    assert jobs.find_by_file_id(FILE_ID) == adopted
    assert jobs.find_unanswered(begun.request_digest, clock()) is None


def test_while_an_answer_may_still_come_nothing_is_unanswered(
    jobs: JobsTable, begun: Job, clock: Clock
) -> None:
    clock.advance(31)
    lease = Lease("another", clock() + timedelta(seconds=30))
    claim(jobs, "job-2", request(), "m-2", lease, clock())

    assert jobs.find_unanswered(begun.request_digest, clock()) is None
    assert jobs.find_unanswered("another digest", clock()) is None


def test_a_job_that_was_given_back_is_not_unanswered(
    jobs: JobsTable, begun: Job, clock: Clock
) -> None:
    give_back(jobs, begun, clock(), costs_retry=True)
    clock.advance(31)

    assert jobs.find_unanswered(begun.request_digest, clock()) is None


def test_of_two_jobs_with_a_file_the_one_with_the_document_is_found(
    jobs: JobsTable, submitted: Job, clock: Clock
) -> None:
    other = request(version=9)
    second = claim(jobs, "job-2", other, "m-2", Lease("x", clock()), clock())
    second = submit(jobs, second, FILE_ID, "u", clock())

    assert jobs.find_by_file_id(FILE_ID, submitted.request_digest) == submitted
    assert jobs.find_by_file_id(FILE_ID, other.digest) == second
    assert jobs.shares_file(submitted)
    assert not jobs.shares_file(replace(submitted, file_id="file_of_its_own"))
    assert jobs.find_by_file_id("file_unknown") is None


def test_a_job_that_began_again_is_not_found_by_its_old_file(
    jobs: JobsTable, submitted: Job, clock: Clock
) -> None:
    fail(jobs, submitted, ERROR, Step.ARCHIVE, clock())
    assert jobs.find_by_file_id(FILE_ID) is not None

    claim(jobs, JOB_ID, request(), "m-2", Lease("x", clock()), clock())

    assert jobs.find_by_file_id(FILE_ID) is None
