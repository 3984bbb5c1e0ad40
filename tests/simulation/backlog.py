"""Too many messages for the rate limit, for hours of virtual time.

The code that ships decides how long each message waits: `SharedRateLimiter`, `put_back` and
`GiveUpLimits`. ReportFlow counts what arrives in any minute, as its emulator does. Apart from that
the queues, their event sources, the table and ReportFlow only take time, and never fail.
"""

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast
from unittest.mock import patch

from local.emulator.rate_limit import RateCount
from local.emulator.rate_limit import RateLimit as Window
from reportflow import combining, observability
from reportflow.aws import call_seconds
from reportflow.consumer import GiveUpLimits, put_back
from reportflow.errors import NoSlot, PipelineError
from reportflow.jobs import Step
from reportflow.queues import Record
from reportflow.rate_limiter import MINUTE, RateLimit, SharedRateLimiter
from stacks.settings import DeploymentSettings
from tests.simulation.dynamodb import DynamoDB
from tests.simulation.narrator import Narrator
from tests.simulation.scheduler import Lock, Scheduler

HAND_OVER_SECONDS: Final = 0.03
"""Before an invocation begins, and again before its place is free for the next."""

READ_SECONDS: Final = 0.025
"""Of processor time for each record of a batch, before it asks for a slot."""

WRITE_SECONDS: Final = (0.002, 0.008)
"""For the way to the table, and again for the way back."""

ARRIVAL_SECONDS: Final = (0.02, 1.0)
"""From a request's slot until ReportFlow counts it."""

ANSWER_SECONDS: Final = (0.3, 0.9)
RENDER_SECONDS: Final = (0.3, 4.0)

SPLIT_SECONDS: Final = 0.1
"""How far apart messages become visible that were hidden for the same time."""


@dataclass(eq=False)
class Environment:
    """An execution environment, with the rate limiter of its process."""

    scheduler: Scheduler
    limiter: SharedRateLimiter
    asleep_seconds: float = 0.0
    """While each unfinished record of an invocation waited for its slot."""

    _awake: int = 0
    _asleep_at: float = math.inf

    def begin(self, records: int) -> None:
        """An invocation begins."""
        self._awake = records

    def wait(self, deadline: datetime) -> None:
        """Wait for a slot."""
        self.stop()
        try:
            self.limiter.wait(deadline)
        finally:
            if not self._awake:
                self.asleep_seconds += self.scheduler.now - self._asleep_at
            self._awake += 1

    def stop(self) -> None:
        """A record is finished, or waits."""
        self._awake -= 1
        self._asleep_at = self.scheduler.now


type Work = Callable[[Record, datetime, Environment], None]
"""What a function does with a record until its deadline."""


@dataclass(eq=False)
class Source:
    """A queue, which keeps no order, and the event source that feeds a function from it."""

    scheduler: Scheduler
    rng: random.Random
    start: Callable[[], Environment]
    work: Work
    batch_size: int
    concurrency: int
    timeout: timedelta
    busy_seconds: float = 0.0
    """Of all invocations together."""

    environments: list[Environment] = field(default_factory=list)
    invocations: int = 0
    most_waiting: int = 0
    """Messages that had been sent, and were not finished."""

    _idle: list[Environment] = field(default_factory=list)
    _visible: list[Record] = field(default_factory=list)
    _in_flight: int = 0
    _waiting: int = 0

    def send(self, message_id: str) -> None:
        """Take a message."""
        self._waiting += 1
        self.most_waiting = max(self.most_waiting, self._waiting)
        self._show(Record(message_id, message_id, "", 0, self.scheduler.clock(), {}))

    def return_after(self, record: Record, seconds: float) -> None:
        """See `reportflow.queues.Queue`."""
        split = self.rng.uniform(0, SPLIT_SECONDS)
        self.scheduler.after(math.ceil(seconds) + split, partial(self._show, record))

    def waiting(self) -> int:
        """See `reportflow.queues.Queue`."""
        return len(self._visible)

    def dead_letter(self, record: Record, error: PipelineError, step: Step, job_id: str) -> None:
        """See `reportflow.queues.Queue`."""
        raise NotImplementedError

    def finish(self) -> None:
        """A message has done its work."""
        self._waiting -= 1

    def _show(self, record: Record) -> None:
        self._visible.append(record)
        self._poll()

    def _poll(self) -> None:
        if self._visible and self._in_flight < self.concurrency:
            self._in_flight += 1
            self.scheduler.after(HAND_OVER_SECONDS, self._invoke)

    def _invoke(self) -> None:
        begun, deadline = self.scheduler.now, self.scheduler.clock() + self.timeout
        batch = [self._receive() for _ in range(min(self.batch_size, len(self._visible)))]
        at_work = len(batch)
        if not batch:
            self._leave()
            return
        self.invocations += 1
        environment = self._idle.pop() if self._idle else self._start()
        environment.begin(at_work)

        def handle(record: Record) -> None:
            nonlocal at_work
            self.work(record, deadline, environment)
            environment.stop()
            at_work -= 1
            if not at_work:
                self.busy_seconds += self.scheduler.now - begun
                self._idle.append(environment)
                self.scheduler.after(HAND_OVER_SECONDS, self._leave)

        for number, record in enumerate(batch, 1):
            task = self.scheduler.task(partial(handle, record))
            self.scheduler.after(number * READ_SECONDS, task.resume)
        self._poll()

    def _start(self) -> Environment:
        environment = self.start()
        self.environments.append(environment)
        return environment

    def _leave(self) -> None:
        self._in_flight -= 1
        self._poll()

    def _receive(self) -> Record:
        visible = self._visible
        chosen = self.rng.randrange(len(visible))
        visible[chosen], visible[-1] = visible[-1], visible[chosen]
        record = visible.pop()
        return replace(record, receive_count=record.receive_count + 1)


class Backlog:
    """Requests and downloads that are there at once, until each has ended."""

    def __init__(
        self, settings: DeploymentSettings, *, requests: int = 0, downloads: int = 0, seed: int = 0
    ) -> None:
        self.limit = RateLimit(settings.reportflow_requests_per_minute, settings.reportflow_burst)
        self.went: list[datetime] = []
        """When each request came to ReportFlow, in order."""

        self.started: list[datetime] = []
        """When each request began at its slot."""

        self.receives: list[int] = []
        """How often each message was delivered until it was that request's turn."""

        self.given_up: Counter[str] = Counter()
        self.archived: set[str] = set()
        self.writes = 0
        """Of the schedule, those that were refused included."""

        self._check_delay = settings.check_delay_seconds
        self._scheduler = scheduler = Scheduler()
        self._window = Window(
            self.limit.requests_per_minute, counts_refused=True, clock=scheduler.monotonic
        )
        self._rng = random.Random(seed)
        self._table = DynamoDB(monotonic=scheduler.monotonic, lag=lambda: 0.0)
        self._give_up_limits = GiveUpLimits(
            settings.max_receive_count, timedelta(seconds=settings.max_message_age_seconds)
        )
        timeout = settings.submitter_timeout_seconds
        self.requests = Source(
            scheduler,
            self._rng,
            self._environment,
            self._submit,
            settings.request_batch_size,
            settings.request_maximum_concurrency,
            timedelta(seconds=timeout - call_seconds(timeout)),
        )
        self.downloads = Source(
            scheduler,
            self._rng,
            self._environment,
            self._download,
            settings.download_batch_size,
            settings.download_maximum_concurrency,
            timedelta(seconds=settings.downloader_timeout_seconds),
        )
        for number in range(requests):
            self.requests.send(f"submitted-{number}")
        for number in range(downloads):
            self.downloads.send(f"made-{number}")

    def run(self) -> None:
        """Let all of them end."""
        with patch.object(observability, "logger", Narrator):
            self._scheduler.run(until=math.inf)

    @property
    def share_of_limit(self) -> float:
        """Requests that were made, of those that the limit allows in the long run."""
        return len(self.went) * self.limit.interval / (self.went[-1] - self.went[0])

    @property
    def share_of_window(self) -> float:
        """Requests a minute, of those that ReportFlow allows."""
        minutes = (self.went[-1] - self.went[0]) / MINUTE
        return len(self.went) / minutes / self.limit.requests_per_minute

    @property
    def counted(self) -> RateCount:
        """How ReportFlow saw its limit used."""
        return self._window.count()

    @property
    def busy_seconds(self) -> float:
        """Of all invocations together, for each PDF."""
        return (self.requests.busy_seconds + self.downloads.busy_seconds) / len(self.archived)

    @property
    def invocations(self) -> float:
        """For each PDF."""
        return (self.requests.invocations + self.downloads.invocations) / len(self.archived)

    @property
    def wrong(self) -> list[str]:
        """What a rate limiter must not do, and did."""
        starts = sorted(self.started)
        gaps = zip(starts, starts[self.limit.burst :], strict=False)
        faults = {
            "a slot was given twice": any(
                later - sooner < self.limit.interval / 2 for sooner, later in gaps
            ),
            "ReportFlow refused requests": self.counted.refused,
            "messages were given up": self.given_up.total(),
            "slots stayed unused": self.share_of_limit < 0.9,
        }
        return [fault for fault, happened in faults.items() if happened]

    @property
    def asleep_seconds(self) -> float:
        """Of all invocations together, while they only waited for slots; for each PDF."""
        environments = self.requests.environments + self.downloads.environments
        return sum(each.asleep_seconds for each in environments) / len(self.archived)

    def update_item(self, **call: Any) -> dict[str, Any]:
        """As the table's client does."""
        self.writes += 1
        self._scheduler.sleep(self._rng.uniform(*WRITE_SECONDS))
        try:
            return self._table.update_item(**call)
        finally:
            self._scheduler.sleep(self._rng.uniform(*WRITE_SECONDS))

    def _environment(self) -> Environment:
        scheduler = self._scheduler
        with patch.object(combining, "Lock", partial(Lock, scheduler)):
            limiter = SharedRateLimiter(
                cast("Any", self),
                "jobs",
                self.limit,
                clock=scheduler.clock,
                sleep=scheduler.sleep,
            )
        return Environment(scheduler, limiter)

    def _submit(self, record: Record, deadline: datetime, environment: Environment) -> None:
        if self._ask(record, deadline, environment, self.requests):
            order = partial(self.downloads.send, record.message_id)
            self._scheduler.after(self._rng.uniform(*RENDER_SECONDS), order)
            self._scheduler.after(self._check_delay, order)

    def _download(self, record: Record, deadline: datetime, environment: Environment) -> None:
        # Of the webhook's message and the check, the later one has nothing to do.
        if record.message_id in self.archived:
            self.downloads.finish()
        elif self._ask(record, deadline, environment, self.downloads):
            self.archived.add(record.message_id)

    def _ask(
        self, record: Record, deadline: datetime, environment: Environment, source: Source
    ) -> bool:
        """Make the message's request to ReportFlow, if there is a slot for it."""
        if end := self._give_up_limits.reached(record, self._scheduler.clock()):
            self.given_up[end.code] += 1
            return False
        try:
            environment.wait(deadline)
        except NoSlot as error:
            put_back(record, error, source.return_after, self._rng)
            return False
        source.finish()
        self.started.append(self._scheduler.clock())
        self._scheduler.sleep(self._rng.uniform(*ARRIVAL_SECONDS))
        self._window.take()
        self.went.append(self._scheduler.clock())
        self.receives.append(record.receive_count)
        self._scheduler.sleep(self._rng.uniform(*ANSWER_SECONDS))
        return True
