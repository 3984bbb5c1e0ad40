"""Clocks that move only when a test moves them."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 31, 23, 59, 50, 123456, UTC)
"""Seconds before midnight, and not a whole number of milliseconds."""


LATER = START + timedelta(seconds=30)
"""A deadline that no call on this machine comes near to."""


class Clock:
    """Stands still at `now`."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Ticker:
    """A monotonic clock in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
