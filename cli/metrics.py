"""Reads CloudWatch's metrics of a deployment."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Final, Literal

from cli.failures import CliError
from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

MAX_QUERIES: Final = 500
"""The most queries of one call: CloudWatch's limit."""

_PERIODS: Final[Sequence[tuple[timedelta, int]]] = (
    (timedelta(hours=3), 60),
    (timedelta(days=1), 300),
    (timedelta.max, 3600),
)
"""The seconds of a period, by the longest window for it. There are few points, and no window begins
much sooner than asked. CloudWatch keeps minutes for 15 days and hours for 15 months."""

type Statistic = Literal["Sum", "Maximum"]


@dataclass(frozen=True)
class Metric:
    """A metric with exactly these dimensions, and how its values are combined."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: Statistic = "Sum"


@dataclass(frozen=True)
class Reading:
    """A metric's combined value, and when the last period with a value began."""

    value: float
    last: datetime | None


class Metrics:
    """Reads the metrics of the last `window`, which begins with a whole period.

    With `but` it leaves out the last part of it, and ends with a whole period, too. It raises
    `CliError` if CloudWatch did not answer completely.
    """

    def __init__(self, target: Target, window: timedelta, *, but: timedelta = timedelta()) -> None:
        self._target = target
        self._window = window
        self._but = but

    def of_service(self, service: str, name: str, statistic: Statistic = "Sum") -> Metric:
        """Return one of the functions' own metrics."""
        return Metric(self._target.namespace, name, (("service", service),), statistic)

    def total(self, service: str, name: str) -> int:
        """Read how often a function counted something."""
        metric = self.of_service(service, name)
        return int(self.read([metric])[metric].value)

    def by_reason(self, service: str, name: str, asked: Iterable[str]) -> Mapping[str, Reading]:
        """Read what a function counted, by its reasons.

        CloudWatch lists a new metric up to a quarter of an hour late, so the reasons in `asked` are
        read in any case.
        """
        own = (("service", service),)
        metrics = {
            reason: Metric(self._target.namespace, name, (*own, ("reason", reason)))
            for reason in sorted({*asked, *self._listed_reasons(service, name)})
        }
        found = self.read(list(metrics.values()))
        return {reason: found[one] for reason, one in metrics.items() if found[one].value}

    def read(self, metrics: Sequence[Metric]) -> Mapping[Metric, Reading]:
        """Read each metric; one without values is zero."""
        found = {}
        for metric, points in self._points(metrics).items():
            values = points.values()
            value = max(values, default=0.0) if metric.statistic == "Maximum" else sum(values)
            found[metric] = Reading(value, max(points, default=None))
        return found

    def by_minute(self, metrics: Sequence[Metric]) -> Mapping[Metric, list[float]]:
        """Read the values of each whole minute of the window, and last of the present minute."""
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
        """Read the values of each period, by when it began."""
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
        # "PartialData" means that the next page has more; on the last page, that there is none.
        if incomplete := {status for status in statuses.values() if status != "Complete"}:
            raise CliError(
                f"CloudWatch returned only a part of the metrics ({', '.join(sorted(incomplete))}):"
                " run doctor again, or with a shorter --window."
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
    """Return one of Lambda's metrics of a function."""
    return Metric("AWS/Lambda", name, (("FunctionName", function),))


def queue_age(queue_url: str) -> Metric:
    """Return the metric for how many seconds a queue's oldest message has waited."""
    name = queue_url.rpartition("/")[2]
    return Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", (("QueueName", name),), "Maximum")


def _whole(moment: datetime, period: int) -> datetime:
    """Return when the period of the moment began."""
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
