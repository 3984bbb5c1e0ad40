"""Keeps ReportFlow's rate limit, which all functions share.

A generic cell rate algorithm: one item of the jobs table holds the theoretical arrival time (TAT)
of the next request. Each slot moves the TAT on by one interval. A request may start at its TAT less
the burst tolerance, and waits until then inside its invocation. Threads that ask at the same moment
take their slots together, in one conditional write.

If the next slot is not near, a request takes none, and its message comes back later. So few
invocations sleep while a backlog waits.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from botocore.exceptions import ClientError

from reportflow import aws
from reportflow.combining import Combined
from reportflow.errors import NoSlot, Retryable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM: Final = "#reportflow-pace"
"""Key of the rate limiter's item in the jobs table. No job has it: job ids contain no `#`."""

WAITING_SHARE: Final = 0.3
"""The share of the remaining time that a request may wait; the rest is for its answer."""

NEAR: Final = timedelta(seconds=0.6)
NEAR_SHARE: Final = 0.02
"""The first slot of a group must be within `NEAR` and this share of the remaining time. Downloads
go first if there are too many requests, because the downloader's time-out is usually longer."""

GATHERING: Final = timedelta(seconds=0.3)
"""How long a request whose slot is not due waits for other requests of its invocation."""

LINE_INTERVALS: Final = 1.5
"""Of requests without a slot, each comes back this many intervals after the one before.

Each process counts for itself, and other processes take slots, too. So more requests come back than
there are slots, and few slots stay unused.
"""

LONGEST_LINE: Final = timedelta(hours=1)
"""A request without a slot comes back after this at most."""

MINUTE: Final = timedelta(minutes=1)

ARRIVAL_SPREAD: Final = timedelta(seconds=1)
"""How much longer one request may take from its slot to ReportFlow than another. Between the two
are the claim of the job, a new connection, and all else that the function does at that moment."""

LONGEST_PAUSE: Final = timedelta(minutes=1)
"""The longest pause after a 429, whatever it asks for: ReportFlow's limit is per minute."""

LONGEST_WAIT: Final = WAITING_SHARE * timedelta(minutes=15)
"""The longest wait for a slot: Lambda ends an invocation after 15 minutes at most."""

USUAL_PAUSE_SECONDS: Final = 2.0
"""The pause after a 429 without `Retry-After`."""

_ROUNDS: Final = 4
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RateLimit:
    """At most `requests_per_minute` requests arrive in any minute, at most `burst` start at once.

    ReportFlow counts when a request arrives, which is later than its slot: by `ARRIVAL_SPREAD`
    more for one than for another. So the limit holds for slots of a minute and that spread. The
    burst counts against the limit, so a larger burst leaves a slower rate after it. It is at least
    1 and below the limit, which the settings' check keeps.
    """

    requests_per_minute: int
    burst: int

    @property
    def interval(self) -> timedelta:
        """The time between two requests in the long run."""
        return (MINUTE + ARRIVAL_SPREAD) / (self.requests_per_minute - self.burst)

    @property
    def tolerance(self) -> timedelta:
        """How long before its theoretical arrival time a request may start."""
        return self.interval * (self.burst - 1)


class NoRateLimit:
    """A rate limiter that is switched off."""

    def wait(self, deadline: datetime) -> None:
        """Return at once."""

    def pause(self, seconds: float | None) -> None:
        """Do nothing: only the refused request is delayed."""


class SharedRateLimiter:
    """Gives out the slots in which all functions together may call ReportFlow. Thread-safe."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        limit: RateLimit,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._limit = limit
        self._clock = clock
        self._sleep = sleep
        self._slot = Combined(self._take, before=self._gather)
        self._tat: datetime | None = None
        self._line_ends = _EPOCH

    def wait(self, deadline: datetime) -> None:
        """Wait for a slot; the caller has to finish its request by `deadline`.

        Raises:
            NoSlot: no slot is free soon enough.
            Retryable: the table does not answer.
        """
        start = self._slot(deadline)
        if isinstance(start, NoSlot):
            raise start
        # The write took time, too. A request that starts late uses the slot of another one.
        seconds = (start - self._clock()).total_seconds()
        if seconds > 0:
            self._sleep(seconds)

    def pause(self, seconds: float | None) -> None:
        """Give out no slot for `seconds`, at most a minute: ReportFlow answered 429.

        Slots that were given out before stay valid. If the table does not answer, nothing pauses.
        """
        asked = timedelta(seconds=USUAL_PAUSE_SECONDS if seconds is None else seconds)
        tat = self._clock() + min(asked, LONGEST_PAUSE) + self._limit.tolerance
        with suppress(Retryable):
            self._move("SET tat = :tat", "attribute_not_exists(tat) OR tat < :tat", {":tat": tat})

    def _gather(self, deadline: datetime) -> None:
        """Let other threads ask, too, while the next slot is not due."""
        now = self._clock()
        due_in = (self._future_tat(now) or now) - self._limit.tolerance - now
        if timedelta() < due_in <= _near(deadline - now):
            self._sleep(min(due_in, GATHERING).total_seconds())

    def _take(self, deadlines: Sequence[datetime]) -> Sequence[datetime | NoSlot]:
        """Take slots for as many requests as possible, and return when each may start."""
        now = self._clock()
        interval, tolerance = self._limit.interval, self._limit.tolerance
        left = min(deadlines) - now
        near, latest = now + _near(left), now + left * WAITING_SHARE
        if self._tat is not None and now - self._tat > MINUTE:
            # No backlog has kept this process busy: those that it sent back are gone.
            self._line_ends = now
        starts: list[datetime] = []
        for _ in range(_ROUNDS):
            tat = self._future_tat(now)
            first = (tat or now) - tolerance
            if first > near:
                break
            count = min(len(deadlines), 1 + (latest - first) // interval)
            taken = count * interval
            if tat is not None:
                moved = self._move(
                    "ADD tat :taken",
                    "tat >= :now AND tat <= :latest",
                    {
                        ":taken": taken,
                        ":now": now,
                        ":latest": min(near, latest - taken + interval) + tolerance,
                    },
                )
            else:
                # The item is new, or its TAT has passed, or it is too far ahead and would block all
                # requests: a wrong clock, an edit or an earlier, larger burst wrote it.
                moved = self._move(
                    "SET tat = :next",
                    "attribute_not_exists(tat) OR tat < :now OR tat > :furthest",
                    {":next": now + taken, ":now": now, ":furthest": self._furthest(now)},
                )
            if moved is not None:
                first = moved - taken - tolerance
                starts = [max(now, first + number * interval) for number in range(count)]
                break
        soonest = (self._future_tat(now) or now) - tolerance - _near(left)
        refused = [self._in_line(soonest, now) for _ in deadlines[len(starts) :]]
        return [*starts, *refused]

    def _in_line(self, soonest: datetime, now: datetime) -> NoSlot:
        """Say when a request comes back: after those to which this process said so before.

        Only slots that were taken count in the schedule. This is no slot: SQS brings messages back
        late and in any order.
        """
        if self._line_ends > now + LONGEST_LINE:
            self._line_ends = now
        back = max(soonest, self._line_ends, now)
        self._line_ends = back + LINE_INTERVALS * self._limit.interval
        return NoSlot(back - now)

    def _future_tat(self, now: datetime) -> datetime | None:
        """The TAT as this process saw it last, if it can still be right and decides anything.

        Other processes only move the TAT on.
        """
        tat = self._tat
        return tat if tat is not None and now <= tat <= self._furthest(now) else None

    def _furthest(self, now: datetime) -> datetime:
        """The furthest TAT that functions with these settings write."""
        return now + LONGEST_PAUSE + LONGEST_WAIT + self._limit.tolerance

    def _move(
        self, update: str, condition: str, values: Mapping[str, datetime | timedelta]
    ) -> datetime | None:
        """Try one conditional write; return the new TAT, or None if the condition does not hold."""
        with aws.translated("dynamodb:UpdateItem"):
            try:
                item = self._client.update_item(
                    TableName=self._table,
                    Key={"jobId": {"S": ITEM}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={
                        name: {"N": str(_microseconds(value))} for name, value in values.items()
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )["Attributes"]
            except ClientError as error:
                if aws.code_of(error) != "ConditionalCheckFailedException":
                    raise
                self._tat = _tat(cast("Mapping[str, Any]", error.response.get("Item", {})))
                return None
        self._tat = _tat(item)
        return self._tat


type RateLimiter = SharedRateLimiter | NoRateLimit


def _near(left: timedelta) -> timedelta:
    """How soon the first slot of a group must be, with so much time left."""
    return min(NEAR + left * NEAR_SHARE, left * WAITING_SHARE)


def _tat(item: Mapping[str, Any]) -> datetime | None:
    return _EPOCH + int(item["tat"]["N"]) * _MICROSECOND if "tat" in item else None


def _microseconds(value: datetime | timedelta) -> int:
    span = value - _EPOCH if isinstance(value, datetime) else value
    return span // _MICROSECOND
