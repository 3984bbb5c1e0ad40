"""Each rule of a job's life, on plain records."""

from collections.abc import Callable
from copy import replace
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import msgspec
import pytest

from reportflow import jobs
from reportflow.contract import CENTRAL
from reportflow.contract.files import Accepted, CompletedFile, Mark
from reportflow.errors import Permanent
from reportflow.jobs import ArchivedFile, Job, JobStatus, Lease, Step, Verdict
from reportflow.salvage import Salvaged
from tests.transitions import TRANSITIONS
from tests.unit.clock import START
from tests.unit.samples import DESIGN_ID, content, request

NOW = START + timedelta(hours=1)
GRACE = timedelta(minutes=1)
LEASE = Lease("me", NOW + timedelta(seconds=30))
ERROR = Permanent("HTTP_404", "デザインがありません")
FILE = ArchivedFile("file_1", "archive", "d/2026/03/31/job-1/a.pdf", "v1", 123, "ab" * 32)
TAKEN = Accepted("file_1", "https://x/1")
BROUGHT = CompletedFile("file_1", "uuid", DESIGN_ID, 1)
MARK = Mark("job-1", "tag-1")
MARKED = CompletedFile("file_1", "central", DESIGN_ID, 1, mark=MARK)

type Rule = Callable[[Job | None], Job | Verdict]

BEGUN = Job(
    job_id="job-1",
    status=JobStatus.SUBMITTING,
    created_at=START,
    message_id="message-1",
    design_id=DESIGN_ID,
    version=1,
    file_name="invoice.pdf",
    request_digest=request().digest,
    tag="tag-1",
    metadata="{}",
    begun_at=START,
    submitting_at=START,
    lease_owner="other",
    lease_expires_at=NOW + timedelta(seconds=5),
    leased_digest=request().digest,
    write_id="w1",
    updated_at=START,
)
GIVEN_BACK = replace(
    BEGUN, lease_owner="", lease_expires_at=None, leased_digest="", failed_attempts=2
)
UNANSWERED = replace(BEGUN, lease_expires_at=NOW, outcome_unknown_at=NOW)
DEAD = replace(BEGUN, lease_expires_at=NOW - GRACE)
SUBMITTED = replace(
    GIVEN_BACK,
    status=JobStatus.SUBMITTED,
    failed_attempts=0,
    file_id="file_1",
    file_reference="https://x/1",
    submitted_at=START,
)
IN_DOUBT = replace(SUBMITTED, doubtful_file_id="file_1")
ARCHIVED = replace(
    SUBMITTED, status=JobStatus.ARCHIVED, archive_key=FILE.archive_key, archived_at=START, size=123
)
FAILED = replace(
    SUBMITTED,
    status=JobStatus.FAILED,
    failed_at=START,
    error_code="CODE",
    unannounced_at=START,
    begun_at=None,
)
RECORDS: dict[str, Job | None] = {
    "none": None,
    "begun": BEGUN,
    "given back": GIVEN_BACK,
    "unanswered": UNANSWERED,
    "dead": DEAD,
    "submitted": SUBMITTED,
    "in doubt": IN_DOUBT,
    "archived": ARCHIVED,
    "failed": FAILED,
    "failed before a file": replace(FAILED, file_id="", file_reference="", submitted_at=None),
}


def begin(job: Job | None, message_id: str = "message-1", **changes: Any) -> Job | Verdict:
    return jobs.begin(
        job,
        request(**changes),
        job_id="job-1",
        message_id=message_id,
        lease=LEASE,
        tag="tag-2",
        grace=GRACE,
        now=NOW,
    )


def rules(read: Job) -> dict[str, Rule]:
    """Every rule, as an attempt applies it that has read this record."""
    return {
        "begin": begin,
        "begin, another message": partial(begin, message_id="message-2"),
        "begin, another document": partial(begin, message_id="message-2", version=9),
        "given_back": partial(jobs.given_back, owner=read.lease_owner, costs_retry=True),
        "unanswered": partial(jobs.unanswered, owner=read.lease_owner, now=NOW),
        "submitted": partial(
            jobs.submitted, owner=read.lease_owner, file=Accepted("file_2", "u"), now=NOW
        ),
        "adopted": partial(jobs.adopted, file=CompletedFile("file_2", "u", DESIGN_ID, 1), now=NOW),
        "adopted, by its mark": partial(jobs.adopted, file=MARKED, now=NOW),
        "postponed": partial(jobs.postponed, read=read, now=NOW, costs_retry=True, by_webhook=True),
        "doubted": partial(jobs.doubted, read=read),
        "archived": partial(jobs.archived, read=read, file=FILE, now=NOW),
        "failed": partial(jobs.failed, read=read, error=ERROR, step=Step.ARCHIVE, now=NOW),
        "rejected": partial(
            jobs.rejected,
            job_id="job-1",
            message_id="message-1",
            salvaged=Salvaged(),
            error=ERROR,
            now=NOW,
        ),
        "published": partial(jobs.published, read=read),
    }


NAMES = tuple(rules(BEGUN))


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_makes_a_legal_change_or_none(name: str) -> None:
    """Whatever the record is, and whatever the attempt had read."""
    for job, read in product(RECORDS.values(), RECORDS.values()):
        changed = rules(read or BEGUN)[name](job)
        if isinstance(changed, Verdict) or changed == job:
            continue
        before = job.status if job else None
        assert changed.status in TRANSITIONS[before] or (
            changed.status is before and name in {"postponed", "doubted", "published"}
        )
        leased = name.startswith("begin") or name == "unanswered"
        assert bool(changed.lease_owner) is (changed.status is JobStatus.SUBMITTING and leased)
        assert job is None or changed.created_at == job.created_at


def test_every_legal_change_can_be_made() -> None:
    made = {
        (job.status if job else None, changed.status)
        for job in RECORDS.values()
        for rule in rules(job or BEGUN).values()
        if isinstance(changed := rule(job), Job) and changed != job
    }
    assert made >= {(old, new) for old, others in TRANSITIONS.items() for new in others}


@pytest.mark.parametrize(
    ("record", "message_id", "begun"),
    [
        ("none", "message-1", True),
        ("begun", "message-1", Verdict.BUSY),
        ("begun", "message-2", Verdict.BUSY),
        ("given back", "message-2", True),
        ("unanswered", "message-1", Verdict.BUSY),
        ("dead", "message-1", True),
        ("submitted", "message-1", Verdict.DONE),
        ("archived", "message-2", Verdict.DONE),
        ("failed", "message-1", Verdict.DONE),
        ("failed", "message-2", True),
    ],
)
def test_who_may_submit(record: str, message_id: str, begun: object) -> None:
    job = begin(RECORDS[record], message_id)

    if isinstance(begun, Verdict):
        assert job is begun
        return
    assert isinstance(job, Job)
    assert (job.status, job.lease_owner, job.message_id) == (
        JobStatus.SUBMITTING,
        "me",
        message_id,
    )
    assert job.lease_expires_at == LEASE.expires_at


@pytest.mark.parametrize("record", ["begun", "given back", "dead", "submitted", "archived"])
def test_a_job_id_stands_for_one_document(record: str) -> None:
    assert begin(RECORDS[record], "message-2", version=9) is Verdict.REUSED


@pytest.mark.parametrize(
    ("record", "begun"),
    [
        ("given back", True),
        ("dead", True),
        ("begun", Verdict.BUSY),
        ("submitted", Verdict.DONE),
        ("archived", Verdict.DONE),
    ],
)
def test_a_message_that_comes_again_after_a_move_is_the_same_document(
    record: str, begun: object
) -> None:
    """`central` adds `.pdf` to the file name, and the digest with it is another one."""
    asked: dict[str, Any] = {"content": content(fileName="invoice")}
    job = RECORDS[record]
    assert job is not None
    before = replace(job, request_digest=request(**asked).digest)

    after = begin(before, contract=CENTRAL, **asked)

    if isinstance(begun, Verdict):
        assert after is begun
        return
    assert isinstance(after, Job)
    assert after.request_digest == request(CENTRAL, **asked).digest
    assert after.file_name == "invoice.pdf"
    assert after.mark == Mark("job-1", "tag-2")


def test_a_failed_job_may_be_sent_again_with_another_document() -> None:
    job = begin(FAILED, "message-2", version=9)

    assert isinstance(job, Job)
    assert (job.version, job.created_at, job.begun_at) == (9, START, NOW)
    assert (job.file_id, job.file_reference, job.error_code) == ("", "", "")
    assert (job.failed_at, job.unannounced_at) == (None, None)


@pytest.mark.parametrize(("seconds", "begun"), [(-1, True), (0, True), (1, False)])
def test_a_delivery_from_before_a_failure_does_not_begin_the_job_again(
    seconds: int, *, begun: bool
) -> None:
    """Its message may have ended meanwhile, and then nothing would end the job."""
    failed = replace(FAILED, failed_at=NOW + timedelta(seconds=seconds))

    assert (begin(failed, "message-2") is Verdict.BUSY) is not begun


@pytest.mark.parametrize(
    ("record", "duplicates"), [("none", 0), ("given back", 0), ("dead", 1), ("failed", 0)]
)
def test_only_what_may_have_been_submitted_is_a_possible_duplicate(
    record: str, duplicates: int
) -> None:
    job = begin(RECORDS[record], "message-2")

    assert isinstance(job, Job)
    assert job.possible_duplicates == duplicates


def test_so_often_submitted_without_an_answer_a_job_waits_for_a_person() -> None:
    dead = replace(DEAD, possible_duplicates=jobs.MAX_UNKNOWN_OUTCOMES)

    assert begin(dead) is Verdict.UNANSWERED
    assert isinstance(begin(replace(dead, possible_duplicates=dead.possible_duplicates - 1)), Job)
    # What a person redrives is one submission more.
    failed = jobs.failed(replace(dead, outcome_unknown_at=NOW), dead, ERROR, Step.SUBMIT, NOW)
    assert isinstance(failed, Job)
    again = begin(failed, "message-2")
    assert isinstance(again, Job)
    assert again.possible_duplicates == dead.possible_duplicates + 1


@pytest.mark.parametrize(("seconds", "busy"), [(59, True), (60, False)])
def test_an_unanswered_job_waits_for_its_webhook(seconds: int, *, busy: bool) -> None:
    job = begin(replace(BEGUN, lease_expires_at=NOW - timedelta(seconds=seconds)))

    assert (job is Verdict.BUSY) is busy


def test_the_retry_budget_goes_on_until_the_job_is_submitted() -> None:
    begun = begin(GIVEN_BACK)
    assert isinstance(begun, Job)
    assert begun.failed_attempts == 2

    returned = jobs.given_back(begun, "me", costs_retry=True)
    assert isinstance(returned, Job)
    assert (returned.failed_attempts, returned.lease_owner) == (3, "")
    assert jobs.given_back(begun, "me", costs_retry=False) == replace(returned, failed_attempts=2)

    taken = jobs.submitted(begun, "me", TAKEN, NOW)
    assert isinstance(taken, Job)
    assert taken.failed_attempts == 0


@pytest.mark.parametrize("rule", ["given_back", "unanswered", "submitted"])
def test_an_attempt_that_lost_its_lease_changes_nothing(rule: str) -> None:
    assert rules(replace(BEGUN, lease_owner="dead one"))[rule](BEGUN) is Verdict.SUPERSEDED


def test_a_file_that_a_webhook_brought_first_is_the_same_success() -> None:
    adopted = jobs.adopted(UNANSWERED, BROUGHT, NOW)
    assert isinstance(adopted, Job)
    assert (adopted.file_reference, adopted.webhook_at) == (BROUGHT.reference, NOW)

    assert jobs.submitted(adopted, "other", TAKEN, NOW) == adopted
    assert jobs.submitted(adopted, "other", Accepted("file_2", "u"), NOW) is Verdict.SUPERSEDED


@pytest.mark.parametrize("record", ["none", "begun", "given back", "submitted", "failed"])
def test_only_an_unanswered_job_adopts_a_file(record: str) -> None:
    assert jobs.adopted(RECORDS[record], BROUGHT, NOW) is Verdict.SUPERSEDED


@pytest.mark.parametrize("record", ["begun", "given back", "unanswered", "dead"])
def test_a_file_with_the_jobs_mark_is_adopted_before_its_answer_is_stored(record: str) -> None:
    adopted = jobs.adopted(RECORDS[record], MARKED, NOW)

    assert isinstance(adopted, Job)
    assert (adopted.status, adopted.file_id) == (JobStatus.SUBMITTED, "file_1")
    assert (adopted.file_reference, adopted.webhook_at) == ("central", NOW)
    taken = Accepted("file_1", "central")
    assert jobs.submitted(adopted, "other", taken, NOW + GRACE) == adopted


@pytest.mark.parametrize("record", ["none", "submitted", "in doubt", "archived", "failed"])
def test_a_job_that_has_its_file_or_its_end_adopts_none(record: str) -> None:
    file = msgspec.structs.replace(MARKED, file_id="file_2")
    assert jobs.adopted(RECORDS[record], file, NOW) is Verdict.SUPERSEDED


@pytest.mark.parametrize("record", ["begun", "given back", "unanswered", "dead"])
@pytest.mark.parametrize(
    "changes",
    [
        {"mark": Mark("job-1", "tag-2")},
        {"mark": Mark("job-1", "TAG-1")},
        {"mark": Mark("job-1", "")},
        {"mark": Mark("job-2", "tag-1")},
        {"design_id": "another"},
        {"version": 2},
        {"request_digest": "0" * 64},
    ],
    ids=repr,
)
def test_a_file_with_another_mark_or_document_is_not_the_jobs(
    record: str, changes: dict[str, Any]
) -> None:
    """Also if the job was begun anew since it was found."""
    file = msgspec.structs.replace(MARKED, **changes)
    job = RECORDS[record]
    assert job is not None

    assert not job.is_document_of(file)
    assert jobs.adopted(job, file, NOW) is Verdict.SUPERSEDED


@pytest.mark.parametrize(
    ("changes", "is_its"),
    [
        ({}, True),
        ({"design_id": DESIGN_ID.upper()}, True),
        ({"mark": None}, True),
        ({"mark": None, "request_digest": request().digest}, True),
        ({"mark": None, "request_digest": "0" * 64}, False),
    ],
    ids=repr,
)
def test_a_file_is_the_jobs_as_far_as_its_webhook_says(
    *, changes: dict[str, Any], is_its: bool
) -> None:
    assert SUBMITTED.is_document_of(msgspec.structs.replace(MARKED, **changes)) is is_its


@pytest.mark.parametrize(
    ("record", "message_id", "changes", "tag"),
    [
        ("none", "message-1", {}, "tag-2"),
        ("given back", "message-1", {}, "tag-1"),
        ("dead", "message-1", {}, "tag-1"),
        ("failed", "message-2", {}, "tag-1"),
        ("failed", "message-2", {"version": 2}, "tag-2"),
        ("failed before a file", "message-2", {"version": 2}, "tag-2"),
    ],
)
def test_a_tag_stands_for_one_document(
    record: str, message_id: str, changes: dict[str, Any], tag: str
) -> None:
    """So a webhook of the document's first submission finds the job after the second one too."""
    job = begin(RECORDS[record], message_id, **changes)

    assert isinstance(job, Job)
    assert job.mark == Mark("job-1", tag)


def test_a_job_that_began_without_a_tag_gets_one() -> None:
    job = begin(replace(GIVEN_BACK, tag=""))

    assert isinstance(job, Job)
    assert job.tag == "tag-2"


def test_attempts_that_fail_side_by_side_count_once() -> None:
    first = jobs.postponed(SUBMITTED, SUBMITTED, NOW, costs_retry=True, by_webhook=False)
    assert isinstance(first, Job)
    assert first.failed_attempts == 1

    again = jobs.postponed(first, SUBMITTED, NOW, costs_retry=True, by_webhook=False)
    assert again == first
    assert jobs.postponed(first, first, NOW, costs_retry=False, by_webhook=False) == first


def test_an_attempt_from_before_the_failure_leaves_the_budget_of_the_redrive_whole() -> None:
    spent = replace(SUBMITTED, file_id=FAILED.file_id, failed_attempts=3)

    late = jobs.postponed(FAILED, spent, NOW, costs_retry=True, by_webhook=False)

    assert late is Verdict.SUPERSEDED


@pytest.mark.parametrize(("by_webhook", "came"), [(True, NOW), (False, None)])
def test_a_webhook_that_is_tried_again_has_come(*, by_webhook: bool, came: object) -> None:
    job = jobs.postponed(SUBMITTED, SUBMITTED, NOW, costs_retry=False, by_webhook=by_webhook)

    assert isinstance(job, Job)
    assert job.webhook_at == came


def test_what_was_stored_before_the_doubt_is_not_the_jobs_pdf() -> None:
    doubtful = jobs.doubted(SUBMITTED, SUBMITTED)
    assert doubtful == IN_DOUBT

    assert jobs.archived(IN_DOUBT, SUBMITTED, FILE, NOW) is Verdict.IN_DOUBT
    confirmed = jobs.archived(IN_DOUBT, IN_DOUBT, FILE, NOW)
    assert isinstance(confirmed, Job)


def test_an_archived_job_says_where_the_file_is() -> None:
    job = jobs.archived(FAILED, FAILED, msgspec.structs.replace(FILE, file_id="file_0"), NOW)

    assert isinstance(job, Job)
    assert (job.archive_bucket, job.archive_key, job.archive_version_id) == FILE_PLACE
    assert (job.file_id, job.size, job.sha256) == ("file_0", FILE.size, FILE.sha256)
    assert (job.archived_at, job.unannounced_at) == (NOW, NOW)
    assert (job.error_code, job.failed_at) == ("", None)


FILE_PLACE = (FILE.archive_bucket, FILE.archive_key, FILE.archive_version_id)


def test_a_job_has_one_pdf() -> None:
    assert jobs.archived(ARCHIVED, SUBMITTED, FILE, NOW) is Verdict.SUPERSEDED
    other = replace(SUBMITTED, file_id="file_2")
    assert jobs.archived(SUBMITTED, other, FILE, NOW) is Verdict.SUPERSEDED


@pytest.mark.parametrize("read", [BEGUN, GIVEN_BACK, SUBMITTED, FAILED])
def test_of_deliveries_that_fail_side_by_side_one_ends_the_job(read: Job) -> None:
    first = jobs.failed(read, read, ERROR, Step.ARCHIVE, NOW)
    assert isinstance(first, Job)
    assert (first.error_code, first.error_message) == (ERROR.code, ERROR.message)
    assert (first.failed_step, first.failed_at, first.unannounced_at) == ("archive", NOW, NOW)
    assert first.failed_attempts == 0

    later = NOW + timedelta(seconds=1)
    assert jobs.failed(first, read, ERROR, Step.ARCHIVE, later) is Verdict.SUPERSEDED


def test_a_job_that_went_on_does_not_fail_for_an_old_reason() -> None:
    for job in (ARCHIVED, SUBMITTED, replace(BEGUN, lease_owner="me")):
        assert jobs.failed(job, BEGUN, ERROR, Step.SUBMIT, NOW) is Verdict.SUPERSEDED


def test_a_message_that_was_never_a_job_leaves_others_alone() -> None:
    job = jobs.rejected(None, "job-1", "message-1", Salvaged(), ERROR, NOW)
    assert isinstance(job, Job)
    assert (job.status, job.message_id, job.created_at) == (JobStatus.FAILED, "message-1", NOW)

    for record in (BEGUN, FAILED, ARCHIVED):
        rejected = jobs.rejected(record, "job-1", "message-1", Salvaged(), ERROR, NOW)
        assert rejected is Verdict.SUPERSEDED


def test_a_state_that_was_followed_by_another_is_still_to_be_published() -> None:
    again = replace(FAILED, unannounced_at=NOW)

    assert jobs.published(again, FAILED) is Verdict.SUPERSEDED
    assert jobs.published(again, again) == replace(again, unannounced_at=None)


def test_a_reason_of_any_length_fits_the_record() -> None:
    error = Permanent("CODE", "理" * 500_000)

    job = jobs.failed(BEGUN, BEGUN, error, Step.SUBMIT, NOW)

    assert isinstance(job, Job)
    assert 0 < len(job.error_message) <= 2000


def test_the_key_keeps_the_day_of_the_first_claim() -> None:
    again = begin(FAILED, "message-2")

    assert isinstance(again, Job)
    assert again.key() == FAILED.key() == f"{DESIGN_ID}/2026/03/31/job-1/invoice.pdf"
