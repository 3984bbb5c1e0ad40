"""`top`: a deployment at a glance."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import sleep
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from cli import output
from cli.alarms import red_alarms
from cli.commands.deployment import target_of
from cli.commands.options import Json, duration
from cli.dead_letters import DeadLetters, dead_letters, depth, read
from cli.metrics import Metrics, queue_age
from cli.records import FINAL_STATES, Records
from cli.target import Target
from reportflow.jobs import JobStatus

MAX_JOBS: Final = 10_000
"""The most jobs of a state that are counted."""

MAX_BATCHES: Final = 10
"""The most batches of dead letters of a queue whose reasons are counted."""

RECENT_MINUTES: Final = 30
"""The minutes of a sparkline."""

_RATE_MINUTES: Final = 5
"""The present rate is the mean of so many whole minutes."""

_HOUR: Final = timedelta(hours=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BARS: Final = "▁▂▃▄▅▆▇█"


def top(
    context: typer.Context,
    interval: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="Time between two snapshots."),
    ] = "10s",  # type: ignore[assignment]  # typer parses the default
    once: Annotated[bool, typer.Option("--once", help="Print one snapshot and end.")] = False,
    as_json: Json = False,
) -> None:
    """Show queues, jobs, rate and alarms at a glance.

    On a terminal the view is live until Ctrl-C. Without a terminal, with --once or --json it is one
    snapshot. Queues are counted at once; rates and alarms are as late as CloudWatch. When the
    number of dead letters has changed, up to 100 of each queue are read for their reasons and given
    back.

    Example: `reportflow top --prefix ReportFlow-prod`
    """
    # Imported here, because `--help` does not need it.
    from rich.live import Live

    observer = Observer(target_of(context))
    console = output.out()
    if as_json:
        output.json_line(observer.overview())
        return
    if once or not console.is_terminal:
        console.print(_rendered(observer.overview()))
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_rendered(observer.overview()), refresh=True)
            sleep(max(1.0, interval.total_seconds()))


type Overview = dict[str, Any]
"""A deployment at one moment, as `--json` prints it. ARCHIVED and FAILED are of the last hour."""


class Observer:
    """Reads a deployment again and again."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._environment = target.environment("submitter")
        self._dead = dead_letters(target)
        self._reasons: dict[str, tuple[int, Counter[str]]] = {}

    def overview(self) -> Overview:
        """Read what there is now."""
        target, now = self._target, datetime.now(UTC)
        metrics = Metrics(target, timedelta(minutes=RECENT_MINUTES))
        submitted = metrics.of_service("submitter", "Submitted")
        archived = metrics.of_service("downloader", "Archived")
        failed = [metrics.of_service(role, "Failed") for role in ("submitter", "downloader")]
        minutes = metrics.by_minute([submitted, archived, *failed])
        rates = [
            sum(minutes[metric][-_RATE_MINUTES - 1 : -1]) / _RATE_MINUTES
            for metric in (submitted, archived)
        ]
        failures = map(sum, zip(*(minutes[one] for one in failed), strict=True))
        totals = {queue.name: queue.depth().total for queue in self._dead}
        reasons = sum((self._count(each, totals[each.name]) for each in self._dead), Counter[str]())
        return {
            "at": output.stamp(now),
            "deployment": target.name,
            "queues": [
                self._queue("requests", target.request_queue_url, rates[0]),
                self._queue("downloads", target.download_queue_url, rates[1]),
            ],
            "jobs": self._jobs(now),
            "rateLimit": {
                "callsLastMinute": int(minutes[submitted][-2] + minutes[archived][-2]),
                "allowed": self._setting("REPORTFLOW_REQUESTS_PER_MINUTE"),
                "nextSlotSeconds": self._next_slot(now).total_seconds(),
            },
            "perMinute": {
                "archived": [int(value) for value in minutes[archived]],
                "failed": [int(value) for value in failures],
            },
            "deadLetters": {"total": sum(totals.values()), "reasons": reasons},
            "alarms": red_alarms(target),
        }

    def _queue(self, name: str, url: str, per_minute: float) -> dict[str, Any]:
        there = depth(self._target.sqs, url)
        asked = queue_age(url)
        found = Metrics(self._target, timedelta(minutes=_RATE_MINUTES)).read([asked])[asked]
        return {
            "queue": name,
            "waiting": there.visible,
            "inFlight": there.hidden,
            "delayed": there.delayed,
            # CloudWatch may not know it.
            "oldestSeconds": None if found.last is None else found.value,
            "perMinute": per_minute,
            "drainSeconds": drain_seconds(there.visible + there.hidden, per_minute),
        }

    def _jobs(self, now: datetime) -> dict[str, int]:
        def count(status: JobStatus) -> int:
            since = now - _HOUR if status in FINAL_STATES else None
            jobs = Records(self._target).in_state(status, changed_after=since)
            return sum(1 for _ in islice(jobs, MAX_JOBS))

        return {status: count(status) for status in JobStatus}

    def _count(self, queue: DeadLetters, total: int) -> Counter[str]:
        """Count the reasons, if the number of dead letters has changed since the last time."""
        before = self._reasons.get(queue.name)
        if before is None or before[0] != total:
            batches = read([queue], MAX_BATCHES) if total else ()
            counted = Counter(one.reason for batch in batches for one in batch)
            before = self._reasons[queue.name] = (total, counted)
        return before[1]

    def _next_slot(self, now: datetime) -> timedelta:
        # Imported here, because `--help` needs no AWS.
        from reportflow.rate_limiter import ITEM, RateLimit

        item = self._target.dynamodb.get_item(
            TableName=self._target.jobs_table, Key={"jobId": {"S": ITEM}}
        ).get("Item", {})
        allowed = self._setting("REPORTFLOW_REQUESTS_PER_MINUTE")
        burst = self._setting("REPORTFLOW_BURST")
        tolerance = RateLimit(allowed, burst).tolerance if allowed and burst else timedelta()
        tat = _EPOCH + timedelta(microseconds=int(item["tat"]["N"])) if "tat" in item else now
        return max(timedelta(), tat - tolerance - now)

    def _setting(self, name: str) -> int | None:
        text = self._environment.get(name, "")
        return int(text) if text.isdecimal() else None


def drain_seconds(queued: int, per_minute: float) -> float | None:
    """Return how long it takes to empty a queue at this rate; None at rate zero."""
    if not queued:
        return 0.0
    return queued / per_minute * 60 if per_minute else None


def _rendered(overview: Overview) -> RenderableType:
    columns = ("queue", "waiting", "in flight", "delayed", "oldest", "a minute", "empty in")
    rows = [
        (
            each["queue"],
            each["waiting"],
            each["inFlight"],
            each["delayed"],
            _span(each["oldestSeconds"], "unknown"),
            f"{each['perMinute']:.3g}",
            _span(each["drainSeconds"], "never, at this rate"),
        )
        for each in overview["queues"]
    ]
    rate, dead = overview["rateLimit"], overview["deadLetters"]
    allowed = f" of {rate['allowed']}" if rate["allowed"] else ""
    slot = output.precise(timedelta(seconds=rate["nextSlotSeconds"]))
    reasons = ", ".join(f"{code}: {number}" for code, number in dead["reasons"].items())
    calls = f"{rate['callsLastMinute']}{allowed} calls in the last minute; next in {slot}"
    facts = [
        ("in flight", _counts(overview, JobStatus.SUBMITTING, JobStatus.SUBMITTED)),
        ("last hour", _counts(overview, JobStatus.ARCHIVED, JobStatus.FAILED)),
        *(
            (name, f"{sparkline(counts)} a minute, {max(counts)} at most")
            for name, counts in overview["perMinute"].items()
        ),
        ("rate limit", calls),
        ("dead letters", f"{dead['total']} ({reasons})" if reasons else dead["total"]),
        ("alarms", ", ".join(overview["alarms"]) or "none is red"),
    ]
    heading = Text(f"{overview['deployment']}  {overview['at']}", "bold")
    return Group(heading, "", output.table(columns, rows), "", output.paragraph(facts))


def _counts(overview: Overview, *statuses: JobStatus) -> str:
    counts = {one: overview["jobs"][one] for one in statuses}
    return ", ".join(
        f"{count:,}{'+' if count == MAX_JOBS else ''} {one}" for one, count in counts.items()
    )


def _span(seconds: float | None, if_unknown: str) -> str:
    return if_unknown if seconds is None else output.duration(timedelta(seconds=seconds))


def sparkline(values: Sequence[int]) -> str:
    """Return a bar for each value, as high as its share of the highest."""
    highest = max(values, default=0) or 1
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1))] for value in values)
