"""The rate limit holds in any minute, and is used up, whichever function asks and whenever."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.backend import Backend
from reportflow.errors import NoSlot, Retryable
from reportflow.rate_limiter import (
    ARRIVAL_SPREAD,
    ITEM,
    LINE_INTERVALS,
    LONGEST_LINE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    MINUTE,
    RateLimit,
    SharedRateLimiter,
)
from tests.unit.clock import Clock

LIMIT = RateLimit(requests_per_minute=100, burst=10)
AGES = timedelta(hours=1)
LONGEST_INVOCATION_SECONDS = 900.0

limits = st.builds(
    lambda burst, more: RateLimit(burst + more, burst), st.integers(1, 8), st.integers(1, 25)
)


@dataclass
class Course:
    """When each function got its slot, on a clock that only waiting moves."""

    aws: Backend
    table: str
    limit: RateLimit
    clock: Clock = field(default_factory=Clock)
    went: list[datetime] = field(default_factory=list)

    def rate_limiter(self) -> SharedRateLimiter:
        """A function's own; the schedule is everybody's."""
        return SharedRateLimiter(
            self.aws.client("dynamodb"),
            self.table,
            self.limit,
            clock=self.clock,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        # The others go on meanwhile: the clock stays, and only the time of going is noted.
        self._waited = timedelta(seconds=seconds)

    def ask(self, seconds: float = 60, by: SharedRateLimiter | None = None) -> bool:
        """Ask for a slot with so much time left; whether there was one."""
        self._waited = timedelta()
        try:
            (by or self.rate_limiter()).wait(self.clock() + timedelta(seconds=seconds))
        except NoSlot:
            return False
        self.went.append(self.clock() + self._waited)
        return True

    def leave(self, tat: datetime) -> None:
        """Write a schedule that nobody made by asking."""
        microseconds = (tat - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        self.aws.client("dynamodb").put_item(
            TableName=self.table, Item={"jobId": {"S": ITEM}, "tat": {"N": str(microseconds)}}
        )

    def most_in_a_minute(self) -> int:
        """Of those that went, in any minute of ReportFlow's, if the first arrive late."""
        times = sorted(self.went)
        span = MINUTE + ARRIVAL_SPREAD
        return max(
            sum(begin <= other < begin + span for other in times[index:])
            for index, begin in enumerate(times)
        )


def no_slot(rate_limiter: SharedRateLimiter, clock: Clock) -> float:
    """Ask in vain; the seconds after which to ask again."""
    with pytest.raises(NoSlot) as refused:
        rate_limiter.wait(clock() + timedelta(seconds=20))
    assert refused.value.delay_seconds is not None
    return refused.value.delay_seconds


@pytest.fixture
def course(aws: Backend, table_name: str) -> Callable[[RateLimit], Course]:
    def make(limit: RateLimit) -> Course:
        aws.client("dynamodb").delete_item(TableName=table_name, Key={"jobId": {"S": ITEM}})
        return Course(aws, table_name, limit)

    return make


def test_a_burst_goes_at_once_and_what_is_more_waits_for_slots(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)

    assert all(crowd.ask() for _ in range(12))

    begin = crowd.clock()
    waits = [(went - begin) / LIMIT.interval for went in crowd.went]
    assert waits == pytest.approx([0] * 10 + [1, 2])
    assert not crowd.ask()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    limit=limits,
    gaps=st.lists(
        st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 90)), min_size=1, max_size=80
    ),
)
def test_no_minute_has_more_than_the_limit(
    course: Callable[[RateLimit], Course], limit: RateLimit, gaps: Sequence[float]
) -> None:
    crowd = course(limit)

    for gap in gaps:
        crowd.clock.advance(gap)
        crowd.ask()

    assert crowd.most_in_a_minute() <= limit.requests_per_minute


def test_a_crowd_that_never_ends_uses_the_limit(course: Callable[[RateLimit], Course]) -> None:
    crowd = course(RateLimit(requests_per_minute=30, burst=3))

    begin = crowd.clock()
    while crowd.clock() < begin + 4 * MINUTE:
        while crowd.ask(seconds=20):
            pass
        crowd.clock.advance(2)

    rate = len(crowd.went) / (max(crowd.went) - begin).total_seconds() * 60
    assert rate == pytest.approx(27, rel=0.1)
    assert crowd.most_in_a_minute() <= 30


def test_who_has_no_time_to_wait_takes_no_slot(course: Callable[[RateLimit], Course]) -> None:
    crowd = course(LIMIT)
    for _ in range(10):
        crowd.ask()

    refused = [crowd.ask(seconds=1) for _ in range(50)]

    assert not any(refused)
    assert crowd.ask()
    assert crowd.went[-1] - crowd.clock() == LIMIT.interval


def test_a_request_without_a_slot_comes_back_when_one_is_near(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)
    while crowd.ask(seconds=20):
        pass

    delay = no_slot(crowd.rate_limiter(), crowd.clock)

    assert delay > 0
    crowd.clock.advance(delay)
    assert crowd.ask(seconds=20)


def test_requests_without_a_slot_come_back_one_after_the_other(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)
    rate_limiter = crowd.rate_limiter()
    rate_limiter.pause(60)

    delays = [no_slot(rate_limiter, crowd.clock) for _ in range(100)]

    gaps = {round(later - sooner, 3) for sooner, later in pairwise(delays)}
    assert gaps == {round(LINE_INTERVALS * LIMIT.interval.total_seconds(), 3)}


def test_a_request_without_a_slot_comes_back_within_an_hour(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(RateLimit(requests_per_minute=2, burst=1))
    rate_limiter = crowd.rate_limiter()
    rate_limiter.pause(60)

    delays = [no_slot(rate_limiter, crowd.clock) for _ in range(100)]

    longest = timedelta(seconds=max(delays))
    assert LONGEST_LINE - 2 * crowd.limit.interval < longest <= LONGEST_LINE


def test_a_line_of_long_ago_delays_no_request(course: Callable[[RateLimit], Course]) -> None:
    crowd = course(LIMIT)
    rate_limiter = crowd.rate_limiter()
    rate_limiter.pause(60)
    assert max(no_slot(rate_limiter, crowd.clock) for _ in range(1000)) > 600

    crowd.clock.advance(300)
    crowd.rate_limiter().pause(10)

    assert no_slot(rate_limiter, crowd.clock) <= 10


def test_a_process_that_knows_that_no_slot_is_near_writes_nothing(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)
    rate_limiter = crowd.rate_limiter()
    rate_limiter.pause(60)
    events = crowd.aws.client("dynamodb").meta.events
    written: list[object] = []

    def note(**call: object) -> None:
        written.append(call)

    events.register("before-call.dynamodb.UpdateItem", note)
    try:
        for _ in range(10):
            no_slot(rate_limiter, crowd.clock)
        assert not written
        crowd.clock.advance(60)
        rate_limiter.wait(crowd.clock() + timedelta(seconds=60))
    finally:
        events.unregister("before-call.dynamodb.UpdateItem", note)

    assert len(written) == 1


def test_everybody_waits_when_reportflow_asks_for_it(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)
    crowd.ask()

    crowd.rate_limiter().pause(7)
    crowd.rate_limiter().pause(3)

    assert not crowd.ask()
    crowd.clock.advance(6)
    assert crowd.ask()
    assert crowd.went[-1] - crowd.clock() == pytest.approx(timedelta(seconds=1), abs=AGES / 1e6)


def test_a_pause_ends_within_a_minute_whatever_is_asked(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(LIMIT)

    crowd.rate_limiter().pause(AGES.total_seconds())

    assert not crowd.ask()
    crowd.clock.advance(LONGEST_PAUSE.total_seconds())
    assert crowd.ask()
    assert crowd.went[-1] == crowd.clock()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    limit=limits,
    ahead=st.one_of(st.floats(-1e6, 1e6), st.floats(0, 600), st.floats(1e6, 1e9)),
)
def test_whatever_stands_in_the_schedule_holds_nobody_for_longer_than_a_wait_and_a_pause(
    course: Callable[[RateLimit], Course], limit: RateLimit, ahead: float
) -> None:
    crowd = course(limit)
    crowd.leave(crowd.clock() + timedelta(seconds=ahead))

    if not crowd.ask(seconds=0):
        crowd.clock.advance((LONGEST_PAUSE + LONGEST_WAIT + limit.tolerance).total_seconds() + 1)
        assert crowd.ask(seconds=0)
    for _ in range(2 * limit.requests_per_minute):
        crowd.ask(seconds=LONGEST_INVOCATION_SECONDS)

    assert crowd.most_in_a_minute() <= limit.requests_per_minute


def test_the_furthest_slot_that_anybody_takes_is_no_mistake(
    course: Callable[[RateLimit], Course],
) -> None:
    crowd = course(RateLimit(requests_per_minute=15, burst=5))
    crowd.leave(crowd.clock() + LONGEST_PAUSE + LONGEST_WAIT + crowd.limit.tolerance)

    assert not crowd.ask(seconds=LONGEST_INVOCATION_SECONDS)


@pytest.mark.parametrize(("took", "goes_after"), [(0.3, 1), (0.9, 1)])
def test_a_slow_table_makes_nobody_later_than_it_must(
    course: Callable[[RateLimit], Course], took: float, goes_after: float
) -> None:
    crowd = course(LIMIT)
    rate_limiter = crowd.rate_limiter()
    rate_limiter.pause(1)
    begin = crowd.clock()
    events = crowd.aws.client("dynamodb").meta.events

    def answer_late(**_: object) -> None:
        crowd.clock.advance(took)

    events.register("after-call.dynamodb.UpdateItem", answer_late)
    try:
        assert crowd.ask(by=rate_limiter)
    finally:
        events.unregister("after-call.dynamodb.UpdateItem", answer_late)

    due = begin + timedelta(seconds=goes_after)
    assert crowd.went == [pytest.approx(due, abs=timedelta(milliseconds=1))]


def test_functions_side_by_side_share_the_slots(aws: Backend, table_name: str) -> None:
    limit = RateLimit(requests_per_minute=3000, burst=5)
    begun = time.monotonic()

    def one_function(_: int) -> int:
        rate_limiter = SharedRateLimiter(
            aws.client("dynamodb"),
            table_name,
            limit,
            clock=partial(datetime.now, UTC),
        )
        went = 0
        for _ in range(10):
            with suppress(NoSlot):
                rate_limiter.wait(datetime.now(UTC) + timedelta(seconds=60))
                went += 1
        return went

    with ThreadPoolExecutor(6) as pool:
        went = sum(pool.map(one_function, range(6)))

    elapsed = timedelta(seconds=time.monotonic() - begun)
    assert went == 60
    assert elapsed >= (went - limit.burst) * limit.interval


def test_a_table_that_does_not_answer_is_no_permission(aws: Backend) -> None:
    rate_limiter = SharedRateLimiter(
        aws.client("dynamodb"),
        "absent",
        LIMIT,
        clock=partial(datetime.now, UTC),
    )

    with pytest.raises(Retryable, match="ResourceNotFound") as refused:
        rate_limiter.wait(datetime.now(UTC) + timedelta(seconds=60))

    assert isinstance(refused.value.__cause__, ClientError)
