"""Runs actions at their time, on a few threads."""

import heapq
import itertools
import logging
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

logger = logging.getLogger(__name__)


class Scheduler:
    """Runs actions when they are due. `close` drops those that have not begun."""

    def __init__(self, name: str, workers: int) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = Condition()
        self._closing = False
        self._threads = [
            Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def post(self, action: Callable[[], None], after: float = 0) -> None:
        """Run `action` in `after` seconds."""
        with self._changed:
            heapq.heappush(self._due, (monotonic() + after, next(self._order), action))
            self._changed.notify()

    def close(self) -> None:
        """Wait for the actions that have begun, and end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:
                logger.exception("An action of the emulator failed")

    def _next(self) -> Callable[[], None] | None:
        """Wait until an action is due. Returns None after `close`."""
        with self._changed:
            while not self._closing:
                wait = self._due[0][0] - monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None
