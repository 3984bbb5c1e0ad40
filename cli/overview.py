"""What `top` shows of a deployment: queues, jobs, rate, dead letters and alarms at one moment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from cli.alarms import red_alarms
from cli.letters import DeadLetters, dead_letters, depth
from cli.metrics import RECENT_MINUTES, Metrics, queue_age
from cli.output import stamp
from cli.records import Records
from cli.target import Target
from reportflow.jobs import JobStatus
from reportflow.rate_limiter import ITEM, RateLimit

MAX_JOBS: Final = 10_000
"""Jobs that are counted in each state."""

MAX_BATCHES: Final = 10
"""Batches of dead letters whose reasons are counted in each queue."""

_RATE_MINUTES: Final = 5
"""The whole minutes that the present rate is the mean of."""

_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Queue:
    """A queue with its depth. `oldest_seconds` is None if CloudWatch does not know it."""

    name: str
    waiting: int
    in_flight: int
    delayed: int
    oldest_seconds: float | None
    per_minute: float

    @property
    def drain(self) -> timedelta | None:
        """How long it takes to empty the queue at the present rate; None at a rate of zero."""
        queued = self.waiting + self.in_flight
        if not queued:
            return timedelta()
        return timedelta(minutes=queued / self.per_minute) if self.per_minute else None


@dataclass(frozen=True)
class Overview:
    """A deployment at one moment. ARCHIVED and FAILED jobs are those of the last hour."""

    at: datetime
    deployment: str
    queues: Sequence[Queue]
    jobs: Mapping[str, int]
    calls_last_minute: int
    calls_allowed: int | None
    next_slot: timedelta
    archived: Sequence[int]
    failed: Sequence[int]
    dead_letters: Mapping[str, int]
    dead_letters_in_all: int
    alarms: Sequence[str]

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "at": stamp(self.at),
            "deployment": self.deployment,
            "queues": [
                {
                    "queue": queue.name,
                    "waiting": queue.waiting,
                    "inFlight": queue.in_flight,
                    "delayed": queue.delayed,
                    "oldestSeconds": queue.oldest_seconds,
                    "perMinute": queue.per_minute,
                    "drainSeconds": None if queue.drain is None else queue.drain.total_seconds(),
                }
                for queue in self.queues
            ],
            "jobs": self.jobs,
            "rateLimit": {
                "callsLastMinute": self.calls_last_minute,
                "allowed": self.calls_allowed,
                "nextSlotSeconds": self.next_slot.total_seconds(),
            },
            "perMinute": {"archived": self.archived, "failed": self.failed},
            "deadLetters": {"total": self.dead_letters_in_all, "reasons": self.dead_letters},
            "alarms": self.alarms,
        }


class Observer:
    """Looks at a deployment again and again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._environment = target.environment("submitter")
        self._dead = dead_letters(target)
        self._reasons: dict[str, tuple[int, Counter[str]]] = {}

    def look(self) -> Overview:
        """What there is now."""
        target, now = self._target, datetime.now(UTC)
        metrics = Metrics(target, timedelta(minutes=RECENT_MINUTES))
        submitted = metrics.of_service("submitter", "Submitted")
        archived = metrics.of_service("downloader", "Archived")
        failed = [metrics.of_service(role, "Failed") for role in ("submitter", "downloader")]
        minutes = metrics.by_minute([submitted, archived, *failed])
        rates = {
            metric: sum(minutes[metric][-_RATE_MINUTES - 1 : -1]) / _RATE_MINUTES
            for metric in (submitted, archived)
        }
        totals = {name: queue.depth().total for name, queue in self._dead.items()}
        return Overview(
            at=now,
            deployment=target.name,
            queues=[
                self._queue("requests", target.request_queue_url, rates[submitted]),
                self._queue("downloads", target.download_queue_url, rates[archived]),
            ],
            jobs=self._jobs(now),
            calls_last_minute=int(minutes[submitted][-2] + minutes[archived][-2]),
            calls_allowed=self._setting("REPORTFLOW_REQUESTS_PER_MINUTE"),
            next_slot=self._next_slot(now),
            archived=[int(value) for value in minutes[archived]],
            failed=[
                int(sum(values)) for values in zip(*(minutes[one] for one in failed), strict=True)
            ],
            dead_letters=sum(
                (self._count(queue, totals[name]) for name, queue in self._dead.items()),
                Counter[str](),
            ),
            dead_letters_in_all=sum(totals.values()),
            alarms=red_alarms(target),
        )

    def _queue(self, name: str, url: str, per_minute: float) -> Queue:
        there = depth(self._target.sqs, url)
        asked = queue_age(url)
        told = Metrics(self._target, timedelta(minutes=_RATE_MINUTES)).read([asked])[asked]
        age = None if told.last is None else told.value
        return Queue(name, there.visible, there.hidden, there.delayed, age, per_minute)

    def _jobs(self, now: datetime) -> dict[str, int]:
        table = Records(self._target.dynamodb, self._target.jobs_table)
        finished = {JobStatus.ARCHIVED, JobStatus.FAILED}
        return {
            status: sum(
                1
                for _ in islice(
                    table.in_state(
                        status, changed_after=now - _HOUR if status in finished else None
                    ),
                    MAX_JOBS,
                )
            )
            for status in JobStatus
        }

    def _count(self, queue: DeadLetters, total: int) -> Counter[str]:
        """The reasons, counted anew only if the number of dead letters has changed."""
        before = self._reasons.get(queue.name)
        if before is None or before[0] != total:
            counted: Counter[str] = Counter()
            if total:
                with queue.look() as batches:
                    for batch in islice(batches, MAX_BATCHES):
                        counted.update(letter.reason for letter in batch)
            before = self._reasons[queue.name] = (total, counted)
        return before[1]

    def _next_slot(self, now: datetime) -> timedelta:
        """How long a new call to ReportFlow waits for the rate limiter."""
        item = self._target.dynamodb.get_item(
            TableName=self._target.jobs_table, Key={"jobId": {"S": ITEM}}
        ).get("Item", {})
        allowed, burst = (
            self._setting("REPORTFLOW_REQUESTS_PER_MINUTE"),
            self._setting("REPORTFLOW_BURST"),
        )
        tolerance = RateLimit(allowed, burst).tolerance if allowed and burst else timedelta()
        tat = _EPOCH + timedelta(microseconds=int(item["tat"]["N"])) if "tat" in item else now
        return max(timedelta(), tat - tolerance - now)

    def _setting(self, name: str) -> int | None:
        text = self._environment.get(name, "")
        return int(text) if text.isdecimal() else None
