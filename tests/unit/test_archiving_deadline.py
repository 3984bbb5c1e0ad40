"""How often a check looks for a PDF, and what ends its looking."""

from collections.abc import Callable
from copy import replace
from itertools import pairwise

import pytest

from reportflow.archiving import LONGEST_CHECK_INTERVAL, Archiving
from reportflow.consumer import Outcome
from reportflow.errors import Held, Retryable, Throttled
from reportflow.jobs import Job
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    CHECK_INTERVAL,
    COMPLETION_DEADLINE,
    MAX_ATTEMPTS,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Respond, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import OPEN_ENDED
from tests.unit.samples import (
    JOB_ID,
    PDF,
    check_body,
)

type Items = Callable[[str], dict[str, str]]

INTERVAL = CHECK_INTERVAL.total_seconds()
DEADLINE = COMPLETION_DEADLINE.total_seconds()


def looks(archiving: Archiving, check: Record, clock: Clock, outcome: Outcome) -> list[float]:
    """A job's age in seconds at each look for its file, until that."""
    submitted_at, ages = clock(), [0.0]
    while True:
        try:
            assert archiving(check, next_invocation(clock)) is outcome
        except Held as held:
            clock.advance(held.delay_seconds or 0)
            check = redelivered(check)
            ages.append((clock() - submitted_at).total_seconds())
        else:
            return ages


@pytest.mark.usefixtures("job")
def test_the_longer_it_takes_the_rarer_are_the_checks(
    archiving: Archiving, peer: Peer, check: Record, clock: Clock
) -> None:
    """A few hundred slow PDFs would use ReportFlow's rate limit up otherwise."""
    peer.respond = lambda _: answer(404)

    ages = looks(archiving, check, clock, Outcome.FAILED)

    waits = [later - age for age, later in pairwise(ages)]
    assert waits[0] == pytest.approx(INTERVAL)
    assert all(wait <= max(INTERVAL, age) + 0.1 for age, wait in zip(ages, waits, strict=False))
    assert max(waits) == pytest.approx(LONGEST_CHECK_INTERVAL.total_seconds())
    assert len(ages) < DEADLINE / INTERVAL / 2
    assert ages[-1] == pytest.approx(DEADLINE, abs=0.1)


@pytest.mark.parametrize(
    ("respond", "code"),
    [
        (lambda _: answer(503), "HTTP_503"),
        (lambda _: [], "ANSWER_LOST"),
        (lambda _: [OPEN_ENDED, PDF[:100]], "TRUNCATED"),
    ],
    ids=["503", "no answer", "a part"],
)
@pytest.mark.usefixtures("job")
def test_an_outage_at_the_deadline_is_not_taken_for_no_file(
    archiving: Archiving,
    peer: Peer,
    check: Record,
    item: Items,
    clock: Clock,
    respond: Respond,
    code: str,
) -> None:
    peer.respond = respond
    clock.advance(DEADLINE)
    for _ in range(MAX_ATTEMPTS - 1):
        with pytest.raises(Retryable):
            archiving(check, next_invocation(clock))

    assert archiving(check, next_invocation(clock)) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == code


@pytest.mark.usefixtures("job")
def test_at_the_rate_limit_a_check_waits_as_long_as_it_takes(
    archiving: Archiving, peer: Peer, check: Record, item: Items, clock: Clock
) -> None:
    peer.respond = lambda _: answer(429, Retry_After="7")
    before = item(JOB_ID)
    for _ in range(2):
        for _ in range(2 * MAX_ATTEMPTS):
            with pytest.raises(Throttled) as throttled:
                archiving(check, next_invocation(clock))
            assert throttled.value.delay_seconds == 7
        clock.advance(2 * DEADLINE)
    assert item(JOB_ID) == before
    peer.respond = lambda _: answer(200, PDF)

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED


@pytest.mark.usefixtures("job")
def test_the_last_check_is_at_the_deadline(
    archiving: Archiving, peer: Peer, check: Record, clock: Clock
) -> None:
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE - INTERVAL / 2)

    with pytest.raises(Held) as held:
        archiving(check, next_invocation(clock))

    assert held.value.delay_seconds == pytest.approx(INTERVAL / 2, abs=0.01)


@pytest.mark.usefixtures("job")
def test_at_the_deadline_a_job_without_a_file_ends_with_its_reason(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    check: Record,
    item: Items,
    clock: Clock,
) -> None:
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE)

    assert archiving(check, next_invocation(clock)) is Outcome.FAILED

    assert len(peer.received) == 1
    (letter,) = queues.dead_letters()
    assert letter["Body"] == check.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "NO_COMPLETION"
    assert letter["MessageAttributes"]["jobId"]["StringValue"] == JOB_ID
    job = item(JOB_ID)
    assert (job["status"], job["errorCode"]) == ("FAILED", "NO_COMPLETION")
    assert job["failedStep"] == "archive"
    assert "HTTP_404" in job["errorMessage"]


@pytest.mark.usefixtures("job")
def test_a_file_that_is_there_at_the_deadline_is_archived(
    archiving: Archiving, check: Record, clock: Clock
) -> None:
    clock.advance(2 * DEADLINE)

    assert archiving(check, next_invocation(clock)) is Outcome.ARCHIVED


def test_the_time_runs_from_the_submission_and_not_from_the_check(
    archiving: Archiving, peer: Peer, queues: QueuePair, job: Job, clock: Clock
) -> None:
    """A check is ordered again by each delivery that finds the job submitted."""
    peer.respond = lambda _: answer(404)
    clock.advance(DEADLINE)
    late = replace(queues.deliver(check_body()), sent_at=clock())

    assert archiving(late, next_invocation(clock)) is Outcome.FAILED
