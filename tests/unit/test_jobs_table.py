from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from reportflow.errors import Permanent
from reportflow.jobs import TRANSITIONS, ArchivedFile, Job, JobStatus, Lease, Step
from reportflow.jobs_table import JobsTable
from tests.unit.clock import START, Clock
from tests.unit.samples import DESIGN_ID, request

type Items = Callable[[str], dict[str, str]]

JOB_ID = "job-1"
FILE_ID = "file_abc123"
ERROR = Permanent("HTTP_404", "デザインがありません")
ARCHIVED = ArchivedFile(FILE_ID, "archive", "d/2026/03/31/job-1/a.pdf", "v1", 123, "ab" * 32)


@dataclass
class Story:
    """Leads one job from state to state, and keeps its record as each reader has seen it."""

    jobs: JobsTable
    clock: Clock
    leases: int = 0

    def lease(self) -> Lease:
        self.leases += 1
        return Lease(f"request-{self.leases}", self.clock() + timedelta(seconds=30))

    def claim(self, message_id: str | None = None, **changes: object) -> Job:
        """Claim for a message of its own, as a redriven one would be."""
        self.clock.advance(1)
        message = message_id or f"message at {self.clock()}"
        return self.jobs.claim(JOB_ID, request(**changes), message, self.lease(), self.clock())

    def submit(self, job: Job) -> Job:
        self.clock.advance(1)
        assert self.jobs.submitted(job, FILE_ID, "https://x/file", self.clock())
        found = self.jobs.find_by_file_id(FILE_ID)
        assert found is not None
        return found

    def leave_at(
        self, state: JobStatus | None, *, given_back: bool = False, with_file: bool = False
    ) -> list[Job]:
        """Bring the job there; returns what was read on the way."""
        if state is None:
            return [Job(JOB_ID, JobStatus.SUBMITTING, START, lease=self.lease())]
        seen = [self.claim()]
        if state in {JobStatus.SUBMITTED, JobStatus.ARCHIVED}:
            seen.append(self.submit(seen[0]))
        if state is JobStatus.ARCHIVED:
            assert self.jobs.archived(seen[-1], ARCHIVED, self.clock())
            seen.append(replace(seen[-1], status=state))
        if state is JobStatus.FAILED:
            if with_file:
                seen.append(self.submit(seen[0]))
            assert self.jobs.failed(seen[-1], ERROR, Step.SUBMIT, self.clock())
            failed = self.jobs.get(JOB_ID)
            assert failed is not None
            seen.append(failed)
        if given_back:
            self.jobs.give_back(seen[0], self.clock(), costs_retry=True)
        return seen


@pytest.fixture
def story(jobs: JobsTable, clock: Clock) -> Story:
    return Story(jobs, clock)


type Method = Callable[[Story, Job], object]

METHODS: dict[str, Method] = {
    "claim": lambda story, _: story.claim(),
    "claim, other content": lambda story, _: story.claim(version=9),
    "take_over": lambda story, job: story.jobs.take_over(job, story.lease(), story.clock()),
    "give_back": lambda story, job: story.jobs.give_back(job, story.clock(), costs_retry=True),
    "submitted": lambda story, job: story.jobs.submitted(job, "file_other", "u", story.clock()),
    "adopt": lambda story, job: story.jobs.adopt(job, "file_other", "uuid_other", story.clock()),
    "count_retry": lambda story, job: story.jobs.count_retry(job, story.clock()),
    "webhook_waits": lambda story, job: story.jobs.webhook_waits(job, story.clock()),
    "archived": lambda story, job: story.jobs.archived(job, ARCHIVED, story.clock()),
    "rejected": lambda story, _: story.jobs.rejected(JOB_ID, ERROR, story.clock()),
    "failed": lambda story, job: story.jobs.failed(job, ERROR, Step.ARCHIVE, story.clock()),
}

STATES: list[tuple[JobStatus | None, bool, bool]] = [
    (None, False, False),
    (JobStatus.SUBMITTING, False, False),
    (JobStatus.SUBMITTING, True, False),
    (JobStatus.SUBMITTED, False, False),
    (JobStatus.ARCHIVED, False, False),
    (JobStatus.FAILED, False, False),
    (JobStatus.FAILED, False, True),
]

type Move = tuple[JobStatus | None, JobStatus]


def moves_of(story: Story, item: Items, method: Method, job: Job) -> set[Move]:
    """Call the method, and tell which move the record made, if any."""
    before = item(JOB_ID)
    story.clock.advance(1)
    returned = method(story, job)
    after = item(JOB_ID)
    if returned is False:
        assert after == before
    if after == before:
        return set()
    left = JobStatus(before["status"]) if before else None
    reached = JobStatus(after["status"])
    stamp = f"{reached.lower()}At"
    is_move = left is not reached or before.get(stamp) != after[stamp]
    return {(left, reached)} if is_move else set()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    ("state", "given_back", "with_file", "read"),
    [(*state, 0) for state in STATES]
    + [(JobStatus.SUBMITTED, False, False, 1), (JobStatus.FAILED, False, False, 1)]
    + [(JobStatus.ARCHIVED, False, False, read) for read in (1, 2)]
    + [(JobStatus.FAILED, False, True, read) for read in (1, 2)],
)
def test_every_write_makes_a_legal_move_or_none(
    story: Story,
    item: Items,
    method: Method,
    state: JobStatus | None,
    *,
    given_back: bool,
    with_file: bool,
    read: int,
) -> None:
    seen = story.leave_at(state, given_back=given_back, with_file=with_file)

    moved = moves_of(story, item, method, seen[read])

    assert moved <= {(state, reached) for reached in TRANSITIONS[state]}


MADE_BY: dict[Move, str] = {
    (None, JobStatus.SUBMITTING): "claim",
    (None, JobStatus.FAILED): "rejected",
    (JobStatus.SUBMITTING, JobStatus.SUBMITTING): "take_over",
    (JobStatus.SUBMITTING, JobStatus.SUBMITTED): "submitted",
    (JobStatus.SUBMITTING, JobStatus.FAILED): "failed",
    (JobStatus.SUBMITTED, JobStatus.ARCHIVED): "archived",
    (JobStatus.SUBMITTED, JobStatus.FAILED): "failed",
    (JobStatus.FAILED, JobStatus.SUBMITTING): "claim",
    (JobStatus.FAILED, JobStatus.ARCHIVED): "archived",
    (JobStatus.FAILED, JobStatus.FAILED): "failed",
}


@pytest.mark.parametrize(
    "move", [(left, reached) for left, states in TRANSITIONS.items() for reached in sorted(states)]
)
def test_every_legal_move_can_be_made(story: Story, item: Items, move: Move) -> None:
    seen = story.leave_at(move[0], with_file=True)

    assert moves_of(story, item, METHODS[MADE_BY[move]], seen[-1]) == {move}


@pytest.mark.parametrize(("state", "given_back", "with_file"), STATES[1:])
def test_a_state_has_its_time_and_only_an_end_has_an_expiry(
    story: Story, item: Items, state: JobStatus, *, given_back: bool, with_file: bool
) -> None:
    story.leave_at(state, given_back=given_back, with_file=with_file)
    record = item(JOB_ID)

    now = story.clock().astimezone(UTC)
    written = datetime.fromisoformat(record[f"{state.lower()}At"])
    assert abs(written - now) < timedelta(milliseconds=1)
    assert record["updatedAt"] >= record["createdAt"]
    assert record["updatedAt"].endswith("Z")
    ended = state in {JobStatus.ARCHIVED, JobStatus.FAILED}
    assert ("expiresAt" in record) is ended
    if ended:
        kept = datetime.fromtimestamp(int(record["expiresAt"]), UTC) - now
        assert timedelta(days=29) < kept <= timedelta(days=30)


def test_times_are_text_that_sorts_like_time(story: Story, item: Items) -> None:
    whole_second = START.replace(microsecond=0)
    moments = [whole_second + timedelta(seconds=s) for s in (0, 0.001, 0.4, 1, 9.2, 10, 60)]
    for number, moment in enumerate(moments):
        story.jobs.rejected(f"job-{number}", ERROR, moment)

    written = [item(f"job-{number}")["updatedAt"] for number in range(len(moments))]
    assert written == sorted(set(written))


def test_a_claim_keeps_what_was_asked_for(story: Story, item: Items) -> None:
    job = story.claim("message-1", metadata={"tenant": "株式会社"})

    record = item(JOB_ID)
    assert (job.design_id, job.version, job.file_name) == (DESIGN_ID, 1, "invoice.pdf")
    assert job.request_digest == request().digest
    assert record["metadata"] == '{"tenant":"株式会社"}'
    assert record["messageId"] == "message-1"
    assert "amount" not in repr(record)


def test_a_claim_says_who_has_the_job(story: Story) -> None:
    lease = Lease("me", story.clock() + timedelta(seconds=30))
    mine = story.jobs.claim(JOB_ID, request(), "m", lease, story.clock())
    assert mine.lease is not None
    assert mine.lease.owner == "me"

    in_the_way = story.claim()
    assert in_the_way.lease == mine.lease


def test_a_claim_that_is_sent_twice_is_still_ours(story: Story) -> None:
    lease = Lease("me", story.clock() + timedelta(seconds=30))
    first = story.jobs.claim(JOB_ID, request(), "m", lease, story.clock())

    assert story.jobs.claim(JOB_ID, request(), "m", lease, story.clock()) == first


def test_a_failed_job_begins_anew_with_its_first_day(story: Story, item: Items) -> None:
    story.leave_at(JobStatus.FAILED)
    story.clock.advance(86_400)

    job = story.claim()

    record = item(JOB_ID)
    assert job.created_at.date() == START.date()
    assert job.failed_attempts == 0
    assert not {"errorCode", "errorMessage", "failedStep", "failedAt", "expiresAt"} & set(record)


def test_the_message_that_failed_does_not_begin_the_job_again(story: Story, item: Items) -> None:
    job = story.claim("the same")
    assert story.jobs.failed(job, ERROR, Step.SUBMIT, story.clock())
    before = item(JOB_ID)

    assert story.claim("the same").status is JobStatus.FAILED

    assert item(JOB_ID) == before
    assert story.claim("another").status is JobStatus.SUBMITTING


def test_a_submitted_job_that_failed_is_not_found_by_its_old_file(story: Story) -> None:
    job = story.leave_at(JobStatus.SUBMITTED)[-1]
    story.jobs.failed(job, ERROR, Step.ARCHIVE, story.clock())
    assert story.jobs.find_by_file_id(FILE_ID) is not None

    story.claim()

    assert story.jobs.find_by_file_id(FILE_ID) is None


def test_a_job_that_is_sent_again_begins_anew_and_an_attempt_at_it_does_not(
    story: Story, item: Items
) -> None:
    job = story.claim()
    begun = item(JOB_ID)["begunAt"]
    story.jobs.give_back(job, story.clock(), costs_retry=True)
    story.clock.advance(60)
    job = story.claim()
    assert item(JOB_ID)["begunAt"] == begun
    story.jobs.failed(job, ERROR, Step.SUBMIT, story.clock())
    assert "begunAt" not in item(JOB_ID)
    story.clock.advance(60)

    story.claim(message_id="message-2")

    assert item(JOB_ID)["begunAt"] == item(JOB_ID)["submittingAt"]


def test_a_takeover_is_counted_and_ends_the_other_lease(story: Story, item: Items) -> None:
    job = story.claim()
    lease = story.lease()

    assert story.jobs.take_over(job, lease, story.clock())
    assert not story.jobs.take_over(job, story.lease(), story.clock())
    assert not story.jobs.submitted(job, FILE_ID, "u", story.clock())
    assert not story.jobs.failed(job, ERROR, Step.SUBMIT, story.clock())

    record = item(JOB_ID)
    assert (record["leaseOwner"], record["possibleDuplicates"]) == (lease.owner, "1")


def test_a_job_that_is_settled_in_the_meantime_is_not_adopted(story: Story, item: Items) -> None:
    job = story.claim()
    story.clock.advance(31)
    found = story.jobs.find_unanswered(job.request_digest, story.clock())
    assert found == job
    story.jobs.take_over(found, story.lease(), story.clock())
    before = item(JOB_ID)

    assert not story.jobs.adopt(found, FILE_ID, "uuid_1", story.clock())
    assert story.jobs.find_unanswered(job.request_digest, story.clock()) is None
    assert item(JOB_ID) == before


def test_an_adopted_job_is_found_by_its_file(story: Story, item: Items) -> None:
    job = story.claim()

    assert story.jobs.adopt(job, FILE_ID, "uuid_1", story.clock())

    found = story.jobs.find_by_file_id(FILE_ID)
    assert found is not None
    assert (found.status, found.job_id) == (JobStatus.SUBMITTED, JOB_ID)
    assert "leaseOwner" not in item(JOB_ID)


@pytest.mark.parametrize(("costs_retry", "attempts"), [(True, 2), (False, 0)])
def test_attempts_are_counted_where_they_cost_one(
    story: Story, *, costs_retry: bool, attempts: int
) -> None:
    for _ in range(2):
        story.jobs.give_back(story.claim(), story.clock(), costs_retry=costs_retry)

    assert story.claim().failed_attempts == attempts


def test_the_budget_begins_anew_once_the_job_is_submitted(story: Story) -> None:
    story.jobs.give_back(story.claim(), story.clock(), costs_retry=True)
    submitted = story.submit(story.claim())
    assert submitted.failed_attempts == 0

    story.jobs.count_retry(submitted, story.clock())

    found = story.jobs.find_by_file_id(FILE_ID)
    assert found is not None
    assert found.failed_attempts == 1


def test_attempts_that_fail_side_by_side_count_once(story: Story, item: Items) -> None:
    """As does a write that the SDK repeats, since its answer was lost."""
    read = story.leave_at(JobStatus.SUBMITTED)[-1]

    for _ in range(3):
        story.jobs.count_retry(read, story.clock())

    assert item(JOB_ID)["failedAttempts"] == "1"
    for attempts in (1, 0):
        story.jobs.count_retry(replace(read, failed_attempts=attempts), story.clock())
        assert item(JOB_ID)["failedAttempts"] == "2"


def test_a_job_is_found_by_the_message_that_began_it(story: Story) -> None:
    begun = story.claim()

    assert story.jobs.find_begun(begun.message_id, START) == begun
    assert story.jobs.find_begun("another message", START) is None
    submitted = story.submit(begun)
    assert story.jobs.find_begun(begun.message_id, START) == submitted
    assert story.jobs.archived(submitted, ARCHIVED, story.clock())
    assert story.jobs.find_begun(begun.message_id, START) is None


def test_of_two_deliveries_that_fail_side_by_side_one_ends_the_job(story: Story) -> None:
    """Each end is announced by whoever brought it about, so there must be one."""
    submitted = story.leave_at(JobStatus.SUBMITTED)[-1]

    for read, other in ((submitted, submitted), (None, None)):
        first = read or story.jobs.get(JOB_ID)
        second = other or story.jobs.get(JOB_ID)
        assert first is not None
        assert second is not None
        story.clock.advance(1)
        assert story.jobs.failed(first, ERROR, Step.ARCHIVE, story.clock())
        story.clock.advance(1)
        assert not story.jobs.failed(second, ERROR, Step.ARCHIVE, story.clock())


def test_a_job_that_failed_lately_is_found_by_the_message_that_began_it(story: Story) -> None:
    """Its end may still have to be announced."""
    (begun, _) = story.leave_at(JobStatus.FAILED)

    found = story.jobs.find_begun(begun.message_id, story.clock())
    assert found is not None
    assert (found.status, found.announced) == (JobStatus.FAILED, False)
    later = story.clock() + timedelta(seconds=1)
    assert story.jobs.find_begun(begun.message_id, later) is None


def test_an_archived_job_says_where_the_file_is(story: Story, item: Items) -> None:
    story.leave_at(JobStatus.ARCHIVED)

    record = item(JOB_ID)
    names = ("fileId", "archiveBucket", "archiveKey", "archiveVersionId", "size", "sha256")
    kept = [record[name] for name in names]
    assert kept == [str(value) for value in astuple(ARCHIVED)]
    assert record["url"] == "https://x/file"


def test_a_failed_job_says_why_and_where(story: Story, item: Items) -> None:
    story.leave_at(JobStatus.FAILED)

    record = item(JOB_ID)
    assert (record["errorCode"], record["errorMessage"]) == (ERROR.code, ERROR.message)
    assert record["failedStep"] == "submit"


def test_a_reason_of_any_length_fits_the_record(story: Story, item: Items) -> None:
    story.jobs.rejected(JOB_ID, Permanent("CODE", "理" * 500_000), story.clock())

    assert 0 < len(item(JOB_ID)["errorMessage"]) <= 2000


def test_an_unknown_file_has_no_job(jobs: JobsTable) -> None:
    assert jobs.find_by_file_id("file_unknown") is None
