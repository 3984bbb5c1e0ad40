"""The rate limiter, each time broken in one small way; `test_backlog` runs it.

A world of `run.simulate` has too few requests to wait for slots.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from reportflow.rate_limiter import SharedRateLimiter
from tests.simulation.breaks import Break, wrapped
from tests.simulation.scheduler import EPOCH


def _given_twice(original: Any) -> Any:
    """Each request of a group starts when the first does."""

    def take(self: SharedRateLimiter, deadlines: Any) -> Any:
        starts = original(self, deadlines)
        return [starts[0] if isinstance(start, datetime) else start for start in starts]

    return take


def _one_for_all(original: Any) -> Any:
    """The schedule moves on by one interval, however many requests take slots."""

    def move(self: SharedRateLimiter, update: str, condition: str, values: Any) -> Any:
        one = self._limit.interval
        changed = dict(values)
        taken = one
        if ":taken" in values:
            taken, changed[":taken"] = values[":taken"], one
        if ":next" in values:
            taken, changed[":next"] = values[":next"] - values[":now"], values[":now"] + one
        moved = original(self, update, condition, changed)
        return moved and moved + (taken - one)

    return move


def _never_forgotten(original: Any) -> Any:
    """A schedule that was far ahead once counts as far ahead for ever."""
    seen: set[int] = set()

    def future_tat(self: SharedRateLimiter, now: datetime) -> datetime | None:
        tat: datetime = original(self, now) or EPOCH
        if tat - now > 2 * self._limit.interval:
            seen.add(id(self))
        return now + timedelta(seconds=10) if id(self) in seen else original(self, now)

    return future_tat


def _kept(original: Any) -> Any:
    """A message that comes back later has its slot already."""

    def in_line(self: SharedRateLimiter, soonest: datetime, now: datetime) -> Any:
        self._move("ADD tat :taken", "tat >= :now", {":taken": self._limit.interval, ":now": now})
        return original(self, soonest, now)

    return in_line


BROKEN_SLOTS: Final[Mapping[str, Break]] = {
    "two requests of a group get the same slot": wrapped(SharedRateLimiter, "_take", _given_twice),
    "a group takes one slot for all": wrapped(SharedRateLimiter, "_move", _one_for_all),
    "a schedule is never looked at again": wrapped(
        SharedRateLimiter, "_future_tat", _never_forgotten
    ),
    "a request without a slot keeps one": wrapped(SharedRateLimiter, "_in_line", _kept),
}
