"""The workspace's rate limit."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

_WINDOW_SECONDS = 60


@dataclass(frozen=True)
class RateCount:
    """How a limit was used. `most_in_a_window` is the most requests in any 60 seconds so far."""

    per_minute: int | None
    allowed: int
    refused: int
    most_in_a_window: int


class RateLimit:
    """At most `per_minute` requests in any 60 seconds; None allows all.

    With `counts_refused`, a request that is refused takes a place in the window too. `clock`
    returns seconds.
    """

    def __init__(
        self,
        per_minute: int | None,
        *,
        counts_refused: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._counts_refused = counts_refused
        self._clock = clock
        self._taken: deque[float] = deque()
        self._allowed = self._refused = self._most = 0
        self._lock = Lock()

    def take(self) -> float:
        """Count a request and return 0, or return the seconds until one is allowed."""
        with self._lock:
            now = self._clock()
            while self._taken and self._taken[0] <= now - _WINDOW_SECONDS:
                self._taken.popleft()
            allowed = self._per_minute is None or len(self._taken) < self._per_minute
            if allowed or self._counts_refused:
                self._taken.append(now)
                self._most = max(self._most, len(self._taken))
            if self._per_minute is None or allowed:
                self._allowed += 1
                return 0
            self._refused += 1
            return self._taken[-self._per_minute] + _WINDOW_SECONDS - now

    def count(self) -> RateCount:
        """Return how the limit was used so far."""
        with self._lock:
            return RateCount(self._per_minute, self._allowed, self._refused, self._most)
