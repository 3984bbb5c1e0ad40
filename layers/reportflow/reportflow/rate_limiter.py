"""Keeps ReportFlow's rate limit, which all functions share.

A generic cell rate algorithm: one item of the jobs table holds the theoretical arrival time (TAT)
of the next request. Each request moves the TAT on by one interval, in one conditional write. A
request may start at its TAT less the burst tolerance, and waits until then inside its invocation.
If the wait would be too long, the request takes no slot and its message comes back later.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from botocore.exceptions import ClientError

from reportflow import aws
from reportflow.errors import Paced, Retryable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM: Final = "#reportflow-pace"
"""Key of the rate limiter's item in the jobs table. No job has it: job ids contain no `#`."""

WAITING_SHARE: Final = 0.3
"""The share of the remaining time that a request may wait; the rest is for its answer. Downloads go
first if there are too many requests, because the downloader's time-out is usually longer."""

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
    burst counts against the limit, so a larger burst leaves a slower rate after it.

    Raises:
        ValueError: the burst is less than 1, or takes up the whole limit.
    """

    requests_per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse a burst that leaves no slot after it."""
        if not 1 <= self.burst < self.requests_per_minute:
            raise ValueError("burst must be at least 1 and below requests_per_minute")

    @property
    def interval(self) -> timedelta:
        """The time between two requests in the long run."""
        return (MINUTE + ARRIVAL_SPREAD) / (self.requests_per_minute - self.burst)

    @property
    def tolerance(self) -> timedelta:
        """How long before its theoretical arrival time a request may start."""
        return self.interval * (self.burst - 1)


class RateLimiter(Protocol):
    """Gives out the slots in which functions may call ReportFlow."""

    def wait(self, deadline: datetime) -> None:
        """Wait for a slot; the caller has to finish its request by `deadline`.

        Raises:
            Paced: no slot is free soon enough.
            Retryable: the table does not answer.
        """

    def pause(self, seconds: float | None) -> None:
        """Give out no slot for `seconds`, at most a minute: ReportFlow answered 429.

        Slots that were given out before stay valid.
        """


class NoRateLimit:
    """A `RateLimiter` that is switched off."""

    def wait(self, deadline: datetime) -> None:
        """Return at once."""

    def pause(self, seconds: float | None) -> None:
        """Do nothing: only the refused request is delayed."""


class SharedRateLimiter:
    """A `RateLimiter` that all functions share through DynamoDB. Thread-safe."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        limit: RateLimit,
        *,
        clock: Callable[[], datetime],
        rng: random.Random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._limit = limit
        self._clock = clock
        self._rng = rng
        self._sleep = sleep

    def wait(self, deadline: datetime) -> None:
        """See `RateLimiter.wait`."""
        now = self._clock()
        start = self._reserve(now, now + (deadline - now) * WAITING_SHARE)
        # The write took time, too. A request that starts late uses the slot of another one.
        seconds = (start - self._clock()).total_seconds()
        if seconds > 0:
            self._sleep(seconds)

    def pause(self, seconds: float | None) -> None:
        """See `RateLimiter.pause`. Without an answer from the table, there is no pause."""
        asked = timedelta(seconds=USUAL_PAUSE_SECONDS if seconds is None else seconds)
        tat = self._clock() + min(asked, LONGEST_PAUSE) + self._limit.tolerance
        with suppress(Retryable):
            self._move("SET tat = :tat", "attribute_not_exists(tat) OR tat < :tat", {":tat": tat})

    def _reserve(self, now: datetime, latest: datetime) -> datetime:
        """Take the next slot, unless it is after `latest`, and return its time."""
        interval, tolerance = self._limit.interval, self._limit.tolerance
        furthest = now + LONGEST_PAUSE + LONGEST_WAIT + tolerance
        for _ in range(_ROUNDS):
            moved, tat = self._move(
                "ADD tat :interval",
                "tat >= :now AND tat <= :latest",
                {":interval": interval, ":now": now, ":latest": latest + tolerance},
            )
            if moved and tat is not None:
                return max(now, tat - interval - tolerance)
            if tat is not None and now <= tat <= furthest:
                # At random, or all waiting messages would come back for the same slot.
                raise Paced((tat - tolerance - now) * self._rng.uniform(1, 2))
            # The item is new, or its TAT has passed, or it is too far ahead and would block all
            # requests: a wrong clock, an edit or an earlier, larger burst wrote it.
            moved, _ = self._move(
                "SET tat = :next",
                "attribute_not_exists(tat) OR tat < :now OR tat > :furthest",
                {":next": now + interval, ":now": now, ":furthest": furthest},
            )
            if moved:
                return now
        raise Paced(interval * self._rng.uniform(1, 2))

    def _move(
        self, update: str, condition: str, values: Mapping[str, datetime | timedelta]
    ) -> tuple[bool, datetime | None]:
        """Try one conditional write, and return whether it succeeded and the current TAT."""
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
                return False, _tat(cast("Mapping[str, Any]", error.response.get("Item", {})))
        return True, _tat(item)


def rate_limiter(
    client: "DynamoDBClient",
    table: str,
    *,
    requests_per_minute: int,
    burst: int,
    clock: Callable[[], datetime],
    rng: random.Random,
) -> RateLimiter:
    """Return the rate limiter for these settings; with 0 requests a minute it is off."""
    if not requests_per_minute:
        return NoRateLimit()
    return SharedRateLimiter(
        client, table, RateLimit(requests_per_minute, burst), clock=clock, rng=rng
    )


def _tat(item: Mapping[str, Any]) -> datetime | None:
    return _EPOCH + int(item["tat"]["N"]) * _MICROSECOND if "tat" in item else None


def _microseconds(value: datetime | timedelta) -> int:
    span = value - _EPOCH if isinstance(value, datetime) else value
    return span // _MICROSECOND
