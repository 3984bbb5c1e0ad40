"""The workspace's rate limit."""

from collections import deque
from threading import Lock
from time import monotonic

_WINDOW_SECONDS = 60


class RateLimit:
    """At most `per_minute` requests in any 60 seconds; None allows all."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._taken: deque[float] = deque()
        self._lock = Lock()

    def take(self) -> float:
        """Count a request and return 0, or return the seconds until one is allowed."""
        if self._per_minute is None:
            return 0
        with self._lock:
            now = monotonic()
            while self._taken and self._taken[0] <= now - _WINDOW_SECONDS:
                self._taken.popleft()
            if len(self._taken) < self._per_minute:
                self._taken.append(now)
                return 0
            return self._taken[0] + _WINDOW_SECONDS - now
