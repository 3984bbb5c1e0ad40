"""Virtual time: who goes on next, and when. Nothing here waits for real."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Final, Self

import greenlet

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR

EPOCH: Final = datetime(2026, 3, 31, 20, 0, 0, tzinfo=UTC)
"""Where virtual time begins: a few hours before a day ends, since archive keys carry the day."""


class Task(greenlet.greenlet):
    """A line of execution of the code under test; it stops at each outside call.

    `process` is what it dies with, `delivery` the message that it works on. When its `work` is done
    it waits for other work: each new greenlet has a stack of its own to map.
    """

    work: Callable[[], None] | None = None
    process: object = None
    delivery: object = None

    def resume(self) -> None:
        """Go on where it stopped, unless it was killed meanwhile."""
        if not self.dead:
            self.switch()


class Scheduler:
    """One hub that runs what is due, in the order of virtual time.

    Whatever happens at the same moment happens in the order it was asked for, so that a run is a
    function of the delays, and those of the seed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._read_at, self._read = 0.0, EPOCH
        self._hub = greenlet.getcurrent()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._idle: list[Task] = []
        self._asked = 0
        self._until = 0.0

    def clock(self) -> datetime:
        """Now, as the functions read it."""
        if self._read_at != self.now:
            self._read_at, self._read = self.now, EPOCH + timedelta(seconds=self.now)
        return self._read

    def monotonic(self) -> float:
        """Now, in seconds since the start."""
        return self.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let `action` run on the hub so much later."""
        self._asked += 1
        heappush(self._due, (self.now + max(seconds, 0.0), self._asked, action))

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let `action` run on the hub at that moment, or now if it has passed."""
        self._asked += 1
        heappush(self._due, (max(when, self.now), self._asked, action))

    def task(self, work: Callable[[], None]) -> Task:
        """A task that runs `work` once it is resumed."""
        task = self._idle.pop() if self._idle else Task(self._work, self._hub)
        task.work = work
        return task

    def _work(self) -> None:
        task = greenlet.getcurrent()
        assert isinstance(task, Task)
        while task.work is not None:
            task.work()
            task.work = task.process = task.delivery = None
            self._idle.append(task)
            self._hub.switch()

    def sleep(self, seconds: float) -> None:
        """Let the others go on for so long."""
        when = self.now + max(seconds, 0.0)
        if when <= self._until and not (self._due and self._due[0][0] <= when):
            # Nothing else is due before that: to switch to the hub would lead straight back here.
            self.now = when
            return
        task = greenlet.getcurrent()
        assert isinstance(task, Task), "only a task can wait"
        self.after(seconds, task.resume)
        self._hub.switch()

    def park(self) -> None:
        """Stop until somebody resumes the task."""
        self._hub.switch()

    def run(self, until: float) -> None:
        """Run what is due, up to the virtual second `until`."""
        self._until = until
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, action = heappop(due)
            action()
        while self._idle:
            self._idle.pop().switch()

    @property
    def idle(self) -> bool:
        """Whether nothing will ever happen any more."""
        return not self._due


class Lock:
    """A mutex between tasks, in the place of `threading.Lock`, which would stop the hub."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held = False
        self._waiting: list[Task] = []

    def __enter__(self) -> Self:
        while self._held:
            task = greenlet.getcurrent()
            assert isinstance(task, Task)
            self._waiting.append(task)
            self._scheduler.park()
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            self._scheduler.after(0, task.resume)
