"""ReportFlow's rate limit, kept by all functions together.

A generic cell rate algorithm: a single item of the jobs table holds the theoretical arrival time
(TAT) of the next request, and each request moves it on by one interval, in one conditional write.
A request may go at its TAT less the burst's share; until then it waits inside of its invocation.
What would have to wait for longer than that is held, and takes no slot.
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
"""Key of the schedule's item: no job's, whose ids have no `#`."""

WAITING_SHARE: Final = 0.3
"""Of the time that is left, for waiting; in the rest the request has to be answered. The downloader
has more time than the submitter, and so its requests go first where there are too many."""

MINUTE: Final = timedelta(minutes=1)

LONGEST_PAUSE: Final = timedelta(minutes=1)
"""After a 429, whatever it asks for: the limit is one of a minute."""

LONGEST_WAIT: Final = WAITING_SHARE * timedelta(minutes=15)
"""For a slot, inside of an invocation: Lambda lets none last longer than 15 minutes."""

USUAL_PAUSE_SECONDS: Final = 2.0
"""After a 429 that does not say how long."""

_ROUNDS: Final = 4
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RateLimit:
    """At most `requests_per_minute` begin within any minute, `burst` of them at the same moment.

    The more may come at once, the slower it goes on: both together make up the limit.

    Raises:
        ValueError: the burst is the whole limit, or there is none.
    """

    requests_per_minute: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse a limit under which nothing goes on."""
        if not 1 <= self.burst < self.requests_per_minute:
            raise ValueError("burst must be at least 1 and below requests_per_minute")

    @property
    def interval(self) -> timedelta:
        """From one request to the next in the long run."""
        return MINUTE / (self.requests_per_minute - self.burst)

    @property
    def tolerance(self) -> timedelta:
        """How far before its theoretical arrival time a request may go."""
        return self.interval * (self.burst - 1)


class RateLimiter(Protocol):
    """Who may call ReportFlow, and when."""

    def wait(self, deadline: datetime) -> None:
        """Wait for a slot of the rate limit; what is to be done with it ends by `deadline`.

        Raises:
            Paced: there is none soon enough.
            Retryable: nobody knows.
        """

    def pause(self, seconds: float | None) -> None:
        """Give no slot for so long, a minute at most: ReportFlow has had too much.

        Who has one already goes all the same.
        """


class NoRateLimit:
    """No limit of ours."""

    def wait(self, deadline: datetime) -> None:
        """Go at once."""

    def pause(self, seconds: float | None) -> None:
        """Let whoever was refused wait alone."""


class SharedRateLimiter:
    """`RateLimiter` by a schedule in DynamoDB. Thread-safe."""

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
        """See `RateLimiter.wait`.

        Raises:
            Retryable: the table does not answer.
        """
        now = self._clock()
        start = self._reserve(now, now + (deadline - now) * WAITING_SHARE)
        # The table may have taken its time, and who goes late goes in the slots of others.
        seconds = (start - self._clock()).total_seconds()
        if seconds > 0:
            self._sleep(seconds)

    def pause(self, seconds: float | None) -> None:
        """See `RateLimiter.pause`. A table that does not answer leaves the limiter as it is."""
        asked = timedelta(seconds=USUAL_PAUSE_SECONDS if seconds is None else seconds)
        tat = self._clock() + min(asked, LONGEST_PAUSE) + self._limit.tolerance
        with suppress(Retryable):
            self._move("SET tat = :tat", "attribute_not_exists(tat) OR tat < :tat", {":tat": tat})

    def _reserve(self, now: datetime, latest: datetime) -> datetime:
        """Take the next slot, if it is not after `latest`; its time."""
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
                # Apart from the others that are held: all would come back for the same slot.
                raise Paced((tat - tolerance - now) * self._rng.uniform(1, 2))
            # Nobody asked for a while; or a clock, an edit or a larger burst has left behind what
            # would hold everybody.
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
        """One conditional write: whether it was made, and the TAT that stands now."""
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
    """The rate limiter of these settings: without requests a minute there is no limit of ours."""
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
