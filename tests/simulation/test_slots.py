"""Threads that ask at the same moment: their slots, the writes for them, and their errors."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import pytest

from reportflow import combining
from reportflow.combining import Combined
from reportflow.errors import NoSlot, PipelineError, Unavailable, concerning
from reportflow.rate_limiter import RateLimit, SharedRateLimiter
from tests.simulation.dynamodb import DynamoDB
from tests.simulation.scheduler import Lock, Scheduler

if TYPE_CHECKING:
    from datetime import datetime

LIMIT = RateLimit(requests_per_minute=100, burst=1)
WRITE_SECONDS = 0.01


class Table:
    """Answers after a while, and counts the writes."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._table = DynamoDB(monotonic=scheduler.monotonic, lag=lambda: 0.0)
        self.writes = 0

    def update_item(self, **call: Any) -> dict[str, Any]:
        self.writes += 1
        self._scheduler.sleep(WRITE_SECONDS)
        return self._table.update_item(**call)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


def at_once(scheduler: Scheduler, works: Sequence[Callable[[], None]]) -> None:
    """Run them in threads that begin at the same moment."""
    for work in works:
        scheduler.after(0, scheduler.task(work).resume)
    scheduler.run(until=600)


def locks_of(scheduler: Scheduler) -> Any:
    return patch.object(combining, "Lock", partial(Lock, scheduler))


def rate_limiter(scheduler: Scheduler, table: Table) -> SharedRateLimiter:
    with locks_of(scheduler):
        return SharedRateLimiter(
            cast("Any", table), "jobs", LIMIT, clock=scheduler.clock, sleep=scheduler.sleep
        )


def test_the_ten_of_a_batch_take_their_slots_in_two_writes(scheduler: Scheduler) -> None:
    table = Table(scheduler)
    limiter = rate_limiter(scheduler, table)
    began: list[datetime] = []

    def request() -> None:
        limiter.wait(scheduler.clock() + 50 * LIMIT.interval)
        began.append(scheduler.clock())

    at_once(scheduler, [request] * 10)

    # The first asks for itself alone: nobody waits for others to ask.
    assert table.writes == 2
    gaps = [(later - sooner) / LIMIT.interval for sooner, later in pairwise(began[1:])]
    assert gaps == pytest.approx([1.0] * 8)


def test_of_a_group_as_many_go_as_have_the_time(scheduler: Scheduler) -> None:
    table = Table(scheduler)
    limiter = rate_limiter(scheduler, table)
    began: list[datetime] = []
    refused: list[NoSlot] = []

    def request() -> None:
        try:
            limiter.wait(scheduler.clock() + 10 * LIMIT.interval)
        except NoSlot as error:
            refused.append(error)
        else:
            began.append(scheduler.clock())

    at_once(scheduler, [request] * 10)

    assert began[-1] - began[0] < 4 * LIMIT.interval
    gaps = [(later - sooner) / LIMIT.interval for sooner, later in pairwise(began[1:])]
    assert gaps == pytest.approx([1.0] * len(gaps))
    assert refused
    assert len(began) + len(refused) == 10
    assert table.writes == 2


def test_a_failure_is_everybodys_and_each_names_its_own_job(scheduler: Scheduler) -> None:
    failures: list[PipelineError] = []

    def fail(_: object) -> Sequence[object]:
        scheduler.sleep(WRITE_SECONDS)
        raise Unavailable("AWS_UNREACHABLE", "the table does not answer")

    with locks_of(scheduler):
        ask = Combined[str, object](fail)

    def work(job_id: str) -> None:
        try:
            with concerning(job_id):
                ask(job_id)
        except Unavailable as error:
            failures.append(error)

    jobs = [f"job-{number}" for number in range(5)]
    at_once(scheduler, [partial(work, job_id) for job_id in jobs])

    assert [error.job_id for error in failures] == jobs
    assert {error.code for error in failures} == {"AWS_UNREACHABLE"}
    assert scheduler.now == pytest.approx(2 * WRITE_SECONDS)


def test_a_bug_leaves_nobody_waiting(scheduler: Scheduler) -> None:
    failures: list[Exception] = []

    def fail(_: object) -> Sequence[object]:
        scheduler.sleep(WRITE_SECONDS)
        raise ZeroDivisionError

    with locks_of(scheduler):
        ask = Combined[int, object](fail)

    def work() -> None:
        try:
            ask(1)
        except ZeroDivisionError as error:
            failures.append(error)

    at_once(scheduler, [work] * 3)

    assert len(failures) == 3
