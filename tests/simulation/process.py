"""Functions and their processes: every outside call of one is a point where it can die."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

import greenlet
from botocore.exceptions import ClientError, ReadTimeoutError

from reportflow.consumer import Invocation
from reportflow.errors import Retryable
from tests.simulation.deliveries import Delivery
from tests.simulation.faults import Chaos, Fault
from tests.simulation.scheduler import EPOCH, Scheduler, Task


class Moment(StrEnum):
    """Where in an outside call a process dies."""

    BEFORE = "before"
    AFTER = "after"


class Fates(Protocol):
    """Who dies where."""

    def dies(self, function: str, call: str, moment: Moment) -> bool:
        """Whether the process dies at this point."""


class Process:
    """One execution environment of a function, with all that runs in it."""

    def __init__(self, name: str, scheduler: Scheduler, chaos: Chaos, fates: Fates) -> None:
        self.name = name
        self.function = name.partition("#")[0]
        self.alive = True
        self.scheduler = scheduler
        self.chaos = chaos
        self.on_death: Callable[[], None] | None = None
        self.defects: Callable[[str, BaseException], None] | None = None
        self._fates = fates
        self._tasks: list[Task] = []

    def spawn(self, work: Callable[[], None]) -> Task:
        """Start a thread of the process, some time soon."""

        def run() -> None:
            work()
            self._tasks.remove(task)

        task = self.scheduler.task(run)
        task.process = self
        self._tasks.append(task)
        self.scheduler.after(self.chaos.rng.random() * 0.001, task.resume)
        return task

    def call[T](self, call: str, effect: Callable[[], T]) -> T:
        """One outside call: the effect happens between two points of no return."""
        self.pause(call, Moment.BEFORE)
        try:
            return effect()
        finally:
            self.pause(call, Moment.AFTER)

    def aws[T](self, call: str, effect: Callable[[], T]) -> T:
        """A call of AWS, which may be refused, lose its answer, or be repeated by the SDK.

        Raises:
            ClientError, ReadTimeoutError: as botocore would, once its own retries are used up.
        """
        self.pause(call, Moment.BEFORE)
        try:
            fault = self.chaos.aws_fault()
            if fault is None:
                return effect()
            if fault is Fault.AWS_THROTTLED:
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, call)
            if fault is Fault.AWS_FAILED:
                raise ClientError({"Error": {"Code": "InternalServerError"}}, call)
            if fault is Fault.AWS_REPEATED:
                effect()
                return effect()
            effect()
            raise ReadTimeoutError(endpoint_url=call)
        finally:
            self.pause(call, Moment.AFTER)

    def pause(self, call: str, moment: Moment) -> None:
        """Let the others go on, or die."""
        if not self.alive:
            # A dying task's `finally` reaches nothing outside any more.
            raise greenlet.GreenletExit
        if self.chaos.tell is not None:
            self.chaos.tell(f"{self.name} {moment} {call}")
        if self._fates.dies(self.function, call, moment):
            self.chaos.note(Fault.CRASH)
            self.scheduler.after(0, self.kill)
            self.scheduler.park()
        self.scheduler.sleep(self.chaos.latency())

    def sleep(self, seconds: float) -> None:
        """Wait inside a call."""
        self.scheduler.sleep(seconds)

    def kill(self) -> None:
        """End all threads where they stand. From the hub only."""
        if not self.alive:
            return
        self.alive = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.throw(greenlet.GreenletExit)
        if self.on_death is not None:
            self.on_death()


def current() -> Process:
    """The process whose thread is running."""
    task = greenlet.getcurrent()
    assert isinstance(task, Task)
    assert isinstance(task.process, Process)
    return task.process


class Future:
    """What `concurrent.futures.Future` is to `consume`."""

    def __init__(self, pool: "ThreadPool") -> None:
        self.pool = pool
        self.delivery: Delivery | None = None
        self._result: Any = None
        self._error: Exception | None = None

    def run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """The thread's body."""
        try:
            self._result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - as an executor does
            self._error = _without_frames(error)
        self.pool.finish(self)

    def result(self) -> Any:
        """What the work returned."""
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> Exception | None:
        """What the work raised."""
        return self._error


def _without_frames(error: Exception) -> Exception:
    """The error alone: the frames of its traceback would keep answers and sessions in a cycle."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


class ThreadPool:
    """`ThreadPoolExecutor` on the simulation's tasks."""

    def __init__(self, max_workers: int) -> None:
        self._process = current()
        self._free = max_workers
        self._finished: deque[Future] = deque()
        self._waiting: Task | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """Start the work on a record in a thread."""
        assert self._free, "the simulated pool has no queue"
        self._free -= 1
        future = Future(self)
        task = self._process.spawn(lambda: future.run(work, arguments))
        now = self._process.scheduler.now
        task.delivery = future.delivery = Delivery(self._process.function, arguments[0], now)
        return future

    def finish(self, future: Future) -> None:
        """Hand over a future that is done."""
        error = future.exception()
        if future.delivery is not None:
            future.delivery.error = error
            future.delivery.ended_at = self._process.scheduler.now
        if error is not None and not isinstance(error, Retryable) and self._process.defects:
            self._process.defects(self._process.name, error)
        self._free += 1
        self._finished.append(future)
        if self._waiting is not None:
            self._process.scheduler.after(0, self._waiting.resume)
            self._waiting = None

    def next(self) -> Future:
        """The next future that is done."""
        while not self._finished:
            task = greenlet.getcurrent()
            assert isinstance(task, Task)
            self._waiting = task
            self._process.scheduler.park()
        return self._finished.popleft()


def as_completed(futures: Iterable[Future]) -> Iterator[Future]:
    """`concurrent.futures.as_completed` on the simulation's tasks."""
    for future in list(futures):
        yield future.pool.next()


type Handler = Callable[[Any, Invocation], Any]
type Answer = Callable[[Any], None]


class Function:
    """A Lambda function: its idle environments, its time-out, its invocations."""

    def __init__(
        self,
        name: str,
        timeout: float,
        scheduler: Scheduler,
        chaos: Chaos,
        fates: Fates,
        compose: Callable[[Process], Handler],
        defects: Callable[[str, BaseException], None],
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.in_flight = 0
        self._scheduler = scheduler
        self._chaos = chaos
        self._fates = fates
        self._compose = compose
        self._defects = defects
        self._idle: list[tuple[Process, Handler]] = []
        self._started = 0

    def invoke(self, event: Any, answer: Answer) -> None:
        """Run the function; `answer` gets what it returns, or None if it died."""
        if self._idle:
            process, handler = self._idle.pop()
        else:
            self._started += 1
            process = Process(
                f"{self.name}#{self._started}", self._scheduler, self._chaos, self._fates
            )
            process.defects = self._defects
            handler = self._compose(process)
        self.in_flight += 1
        invocation = Invocation(EPOCH + timedelta(seconds=self._scheduler.now + self.timeout))
        over = False

        def end(result: Any) -> None:
            nonlocal over
            over = True
            process.on_death = None
            self.in_flight -= 1
            answer(result)

        def work() -> None:
            try:
                result = handler(event, invocation)
            except Exception as error:  # noqa: BLE001 - Lambda reports it and keeps the process
                self._defects(process.name, error)
                result = None

            def finish() -> None:
                if not over:
                    self._idle.append((process, handler))
                    end(result)

            self._scheduler.after(0, finish)

        def time_out() -> None:
            if not over:
                self._chaos.note(Fault.TIME_OUT)
                process.kill()

        process.on_death = lambda: end(None)
        process.spawn(work)
        self._scheduler.after(self.timeout, time_out)
