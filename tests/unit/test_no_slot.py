"""What waiting for the rate limit does to messages and jobs: nothing."""

import json
from collections.abc import Callable
from copy import replace
from datetime import timedelta

import pytest

from local.backend import Backend
from reportflow.archiving import Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.contract.client import ReportFlow
from reportflow.errors import Held, NoSlot, Throttled
from reportflow.jobs import Job, Lease
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.rate_limiter import RateLimit, SharedRateLimiter
from reportflow.secret import SecretStore
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import COMPLETION_DEADLINE, next_invocation, redelivered
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.recording import claim
from tests.unit.samples import JOB_ID, check_body, message_body, request
from tests.unit.service_client import client_of

type Items = Callable[[str], dict[str, str]]

LIMIT = RateLimit(requests_per_minute=100, burst=2)


@pytest.fixture
def rate_limiter(aws: Backend, table_name: str, clock: Clock) -> SharedRateLimiter:
    return SharedRateLimiter(
        aws.client("dynamodb"),
        table_name,
        LIMIT,
        clock=clock,
        sleep=clock.advance,
    )


@pytest.fixture
def service(
    peer: Peer, secret_store: SecretStore, rate_limiter: SharedRateLimiter, clock: Clock
) -> ReportFlow:
    return client_of(
        f"{peer.url}/v1", secret_store, f"{peer.url}/files", rate_limiter=rate_limiter, clock=clock
    )


@pytest.fixture
def used_up(rate_limiter: SharedRateLimiter) -> None:
    """No slot is free for a quarter of a minute."""
    rate_limiter.pause(15)


def numbered(number: int) -> str:
    return message_body(jobId=f"job-{number}")


def test_requests_go_by_the_limit(
    submission: Submission, queues: QueuePair, peer: Peer, clock: Clock
) -> None:
    begin = clock()

    for number in range(5):
        record = queues.deliver(numbered(number))
        assert submission(record, next_invocation(clock)) is Outcome.SUBMITTED

    assert len(peer.received) == 5
    assert clock() - begin == pytest.approx(3 * LIMIT.interval, abs=timedelta(milliseconds=1))


@pytest.mark.usefixtures("used_up")
def test_a_message_without_a_slot_claims_nothing_and_sends_nothing(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    with pytest.raises(NoSlot) as held:
        submission(queues.deliver(message_body()), invocation)

    assert not peer.received
    assert item(JOB_ID) == {}
    assert held.value.job_id == JOB_ID
    assert not held.value.costs_retry
    assert held.value.delay_seconds is not None
    assert 10 < held.value.delay_seconds < 15


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({}, Outcome.DUPLICATE), ({"version": 2}, Outcome.FAILED)],
    ids=["sent twice", "jobId used twice"],
)
def test_a_message_that_was_delivered_before_takes_no_slot_if_it_sends_nothing(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    rate_limiter: SharedRateLimiter,
    clock: Clock,
    changes: dict[str, object],
    outcome: Outcome,
) -> None:
    submission(queues.deliver(message_body()), next_invocation(clock))
    again = queues.deliver(message_body(**changes))
    rate_limiter.pause(15)
    with pytest.raises(NoSlot):
        submission(again, next_invocation(clock))

    assert submission(redelivered(again), next_invocation(clock)) is outcome
    assert len(peer.received) == 1


def test_a_message_whose_job_another_submits_waits_for_that_and_for_no_slot(
    submission: Submission, jobs: JobsTable, queues: QueuePair, clock: Clock
) -> None:
    lease = Lease("another", clock() + timedelta(seconds=30))
    claim(jobs, JOB_ID, request(), "another message", lease, clock())
    before = clock()
    record = redelivered(queues.deliver(message_body()))

    for _ in range(LIMIT.burst + 1):
        with pytest.raises(Held, match="BEING_SUBMITTED"):
            submission(record, next_invocation(clock))

    assert clock() == before


@pytest.mark.usefixtures("used_up")
def test_a_webhook_without_a_slot_fetches_nothing_and_costs_the_job_no_retry(
    archiving: Archiving,
    job: Job,
    record: Record,
    peer: Peer,
    item: Items,
    invocation: Invocation,
) -> None:
    before = item(job.job_id)

    with pytest.raises(NoSlot) as held:
        archiving(record, invocation)

    assert not peer.received
    waiting = item(job.job_id)
    assert waiting.pop("webhookAt") == waiting["updatedAt"]
    written = {name: waiting[name] for name in ("updatedAt", "writeId")}
    assert waiting == before | written
    assert held.value.job_id == job.job_id


def test_a_check_without_a_slot_fails_no_job_though_its_deadline_has_passed(
    archiving: Archiving,
    job: Job,
    queues: QueuePair,
    rate_limiter: SharedRateLimiter,
    item: Items,
    clock: Clock,
) -> None:
    check = replace(queues.deliver(check_body()), sent_at=clock())
    clock.advance(COMPLETION_DEADLINE.total_seconds() + 1)
    rate_limiter.pause(15)

    with pytest.raises(NoSlot):
        archiving(check, next_invocation(clock))

    assert item(job.job_id)["status"] == "SUBMITTED"


def test_after_a_429_everybody_waits_as_it_asks(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    clock: Clock,
    rate_limiter: SharedRateLimiter,
) -> None:
    peer.respond = lambda _: answer(429, json.dumps({"message": "slow"}).encode(), Retry_After="5")
    with pytest.raises(Throttled):
        submission(queues.deliver(message_body()), next_invocation(clock))
    begin = clock()

    with pytest.raises(NoSlot):
        rate_limiter.wait(begin + timedelta(seconds=60))

    clock.advance(4)
    rate_limiter.wait(begin + timedelta(seconds=60))
    assert clock() - begin == pytest.approx(timedelta(seconds=5), abs=timedelta(milliseconds=1))
