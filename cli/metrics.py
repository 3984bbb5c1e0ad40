"""CloudWatch's numbers, as far as `doctor` reads them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Final, Literal, Self

from cli.failures import CliError
from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

OWN: Final[Mapping[str, Sequence[str]]] = {
    "submitter": ("Submitted", "PossibleDuplicates"),
    "webhook": ("WebhooksReceived", "WebhooksRefused", "WebhooksNotStored"),
    "downloader": ("LostWebhooks",),
}
"""The functions' own metrics by the service that emits them."""

RECENT_MINUTES: Final = 30
"""Of `top`'s sparklines."""

MAX_QUERIES: Final = 500
"""Of one call: CloudWatch's own limit."""

_PERIODS: Final[Sequence[tuple[timedelta, int]]] = (
    (timedelta(hours=3), 60),
    (timedelta(days=1), 300),
    (timedelta.max, 3600),
)
"""Seconds of a period by the longest window that they are for: few points, and yet no window that
begins much sooner than was asked for. CloudWatch keeps minutes for 15 days, hours for 15 months."""


@dataclass(frozen=True)
class Metric:
    """A metric of exactly these dimensions, and what is made of its values."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: Literal["Sum", "Maximum"] = "Sum"


@dataclass(frozen=True)
class Reading:
    """What was told of a metric; `last` is when the last period began in which anything was."""

    value: float
    last: datetime | None

    @classmethod
    def of(cls, metric: Metric, points: Mapping[datetime, float]) -> Self:
        """What the periods' values come to, by when the periods began."""
        if metric.statistic == "Maximum":
            return cls(max(points.values(), default=0.0), max(points, default=None))
        return cls(sum(points.values()), max(points, default=None))


class Metrics:
    """Reads what was told in the last `window`, which is taken to begin with a whole period.

    With `but` it leaves out the last so much of it, and ends with a whole period, too.
    """

    def __init__(self, target: Target, window: timedelta, *, but: timedelta = timedelta()) -> None:
        self._target = target
        self._window = window
        self._but = but

    def own(self) -> Counter[str]:
        """What the functions counted, by the metrics' names."""
        asked = [self.of_service(service, name) for service, names in OWN.items() for name in names]
        return Counter({metric.name: int(told.value) for metric, told in self.read(asked).items()})

    def of_service(
        self, service: str, name: str, statistic: Literal["Sum", "Maximum"] = "Sum"
    ) -> Metric:
        """One of the functions' own metrics."""
        return Metric(self._target.namespace, name, (("service", service),), statistic)

    def by_reason(self, service: str, name: str, usual: Iterable[str]) -> Mapping[str, Reading]:
        """What a function counted, by the reasons that there were.

        CloudWatch lists a new metric up to a quarter of an hour late, so the `usual` reasons are
        asked for whether it lists them or not.
        """
        own = (("service", service),)
        reasons = sorted({*usual, *self._listed_reasons(service, name)})
        asked = {
            Metric(self._target.namespace, name, (*own, ("reason", reason))): reason
            for reason in reasons
        }
        told = self.read(list(asked))
        return {reason: told[metric] for metric, reason in asked.items() if told[metric].value}

    def read(self, metrics: Sequence[Metric]) -> Mapping[Metric, Reading]:
        """What was told of each metric, which may be nothing.

        Raises:
            CliError: CloudWatch did not tell all of it.
        """
        return {
            metric: Reading.of(metric, points) for metric, points in self._points(metrics).items()
        }

    def by_minute(self, metrics: Sequence[Metric]) -> Mapping[Metric, list[float]]:
        """The values of each whole minute of the window, and last of the present minute.

        Raises:
            CliError: CloudWatch did not tell all of it.
        """
        now = _whole(datetime.now(UTC), 60)
        minutes = [
            now - timedelta(minutes=ago)
            for ago in range(int(self._window.total_seconds()) // 60, -1, -1)
        ]
        return {
            metric: [points.get(minute, 0.0) for minute in minutes]
            for metric, points in self._points(metrics).items()
        }

    def _points(self, metrics: Sequence[Metric]) -> Mapping[Metric, Mapping[datetime, float]]:
        period = next(seconds for longest, seconds in _PERIODS if self._window <= longest)
        now = datetime.now(UTC)
        # CloudWatch leaves out a period that has begun before the start.
        begin = _whole(now - self._window, period)
        end = _whole(now - self._but, period) if self._but else now + timedelta(minutes=1)
        if begin >= end:
            return {metric: {} for metric in metrics}
        points: defaultdict[str, dict[datetime, float]] = defaultdict(dict)
        statuses: dict[str, str] = {}
        for some in batched(enumerate(metrics), MAX_QUERIES, strict=False):
            pages = self._target.cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[_query(number, metric, period) for number, metric in some],
                StartTime=begin,
                EndTime=end,
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    points[result["Id"]] |= zip(result["Timestamps"], result["Values"], strict=True)
                    statuses[result["Id"]] = result["StatusCode"]
        # "PartialData" announces more on the next page; on the last one, that there is none.
        if incomplete := {status for status in statuses.values() if status != "Complete"}:
            raise CliError(
                f"CloudWatch told only a part of the metrics ({', '.join(sorted(incomplete))}): "
                "run doctor again, or with a shorter --window."
            )
        return {metric: points[f"m{number}"] for number, metric in enumerate(metrics)}

    def _listed_reasons(self, service: str, name: str) -> Iterable[str]:
        pages = self._target.cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=self._target.namespace,
            MetricName=name,
            Dimensions=[{"Name": "service", "Value": service}, {"Name": "reason"}],
        )
        for page in pages:
            for metric in page["Metrics"]:
                for dimension in metric.get("Dimensions", []):
                    if dimension.get("Name") == "reason":
                        yield dimension.get("Value", "")


def of_function(function: str, name: str) -> Metric:
    """What Lambda counts of a function."""
    return Metric("AWS/Lambda", name, (("FunctionName", function),))


def queue_age(queue_url: str) -> Metric:
    """Seconds that a queue's oldest message has waited."""
    name = queue_url.rpartition("/")[2]
    return Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", (("QueueName", name),), "Maximum")


def _whole(moment: datetime, period: int) -> datetime:
    """When the period began that the moment is in."""
    return datetime.fromtimestamp(moment.timestamp() // period * period, UTC)


def _query(number: int, metric: Metric, period: int) -> "MetricDataQueryTypeDef":
    return {
        "Id": f"m{number}",
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
            },
            "Period": period,
            "Stat": metric.statistic,
        },
    }
