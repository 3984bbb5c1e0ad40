"""Evaluates alarms for the emulated CloudWatch, as CloudWatch does itself.

An alarm looks at whole periods of its metric. Here the last period ends now, and not with a minute,
so that nobody has to wait for it.
"""

import operator
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from local.alarm_expression import Expression, Series, parse
from local.metrics import Published

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.literals import StateValueType
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

_FURTHER_PERIODS: Final = 2
"""CloudWatch reads further back than an alarm's periods. It documents five for three."""


@dataclass(frozen=True)
class Value:
    """A value of a metric at a second of the epoch, published `times` times."""

    second: int
    value: float
    times: int = 1


type _Key = tuple[str, str, frozenset[tuple[str, str]]]
"""A metric: namespace, name, and dimensions in any order."""


@dataclass(frozen=True)
class _Watched:
    """A metric of an alarm, its statistic, and its id in the expression."""

    id: str
    metric: Mapping[str, Any]
    statistic: str
    period: int

    @property
    def key(self) -> _Key:
        dimensions = self.metric.get("Dimensions", [])
        return (
            self.metric.get("Namespace", ""),
            self.metric.get("MetricName", ""),
            frozenset((one["Name"], one["Value"]) for one in dimensions),
        )


class Alarms:
    """Sets the state of every alarm on metrics, each time it gets values."""

    def __init__(
        self,
        cloudwatch: "CloudWatchClient",
        clock: Callable[[], float],
        asked: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`clock` returns the seconds of the epoch.

        `asked` are the alarms as PutMetricAlarm got them, by name. The others are as CloudWatch
        describes them.
        """
        self._cloudwatch = cloudwatch
        self._clock = clock
        self._asked = asked or {}
        self._values: defaultdict[_Key, deque[Value]] = defaultdict(deque)

    def update(self, published: Published) -> None:
        """Add new values, and evaluate all alarms.

        Raises:
            BotoCoreError, ClientError: the emulated CloudWatch refused, or has stopped.
        """
        alarms = [self._as_asked(alarm) for alarm in self._described()]
        spans: defaultdict[_Key, int] = defaultdict(int)
        for alarm in alarms:
            for watched in _watched(alarm):
                spans[watched.key] = max(spans[watched.key], _span(alarm))
        for moment, counts in published.items():
            key = (moment.namespace, moment.name, frozenset(moment.dimensions))
            if key in spans:
                self._values[key] += [
                    Value(moment.second, value, times) for value, times in counts.items()
                ]
        now = self._clock()
        for key, span in spans.items():
            self._forget(key, now - span)
        for alarm in alarms:
            self._evaluate(alarm, now)

    def _described(self) -> Iterator["MetricAlarmTypeDef"]:
        for page in self._cloudwatch.get_paginator("describe_alarms").paginate():
            yield from page["MetricAlarms"]

    def _as_asked(self, alarm: "MetricAlarmTypeDef") -> "MetricAlarmTypeDef":
        asked = self._asked.get(alarm.get("AlarmName", ""))
        if asked is None:
            return alarm
        return cast("MetricAlarmTypeDef", {**asked, "StateValue": alarm.get("StateValue")})

    def _forget(self, key: _Key, before: float) -> None:
        # The values are nearly in the order of time: a late one is forgotten late.
        values = self._values[key]
        while values and values[0].second <= before:
            values.popleft()

    def _evaluate(self, alarm: "MetricAlarmTypeDef", now: float) -> None:
        values = {watched.id: self._values[watched.key] for watched in _watched(alarm)}
        state = evaluate(alarm, values, now)
        if state is not None and state != alarm.get("StateValue"):
            self._cloudwatch.set_alarm_state(
                AlarmName=alarm.get("AlarmName", ""),
                StateValue=state,
                StateReason=f"evaluated over the last {_span(alarm)} seconds at most",
            )


def evaluate(
    alarm: "MetricAlarmTypeDef", values: Mapping[str, Sequence[Value]], now: float
) -> "StateValueType | None":
    """The state of an alarm at a second of the epoch, or None to leave it as it is.

    `values` are the values of its metrics by id. An alarm on one metric has the id "".

    Like CloudWatch, it looks further back than the alarm's periods. If enough of these have data,
    it judges the newest of them, however old they are. If too few have data, the alarm's own
    treatment of missing data counts for the rest.
    """
    count = alarm.get("EvaluationPeriods", 1)
    looked_at = count + _FURTHER_PERIODS
    series = {
        watched.id: _periods(values[watched.id], watched, looked_at, now)
        for watched in _watched(alarm)
    }
    there = [one for one in reversed(_expression(alarm)(series)) if one is not None][:count]
    missing = count - len(there)
    compare = _COMPARISONS[alarm.get("ComparisonOperator", "")]
    breaching = [compare(value, alarm.get("Threshold", 0.0)) for value in there].count(True)
    treatment = alarm.get("TreatMissingData", "missing")
    if treatment == "missing" and not there:
        return "INSUFFICIENT_DATA"
    needed = alarm.get("DatapointsToAlarm") or count
    if breaching + missing * (treatment == "breaching") >= needed:
        return "ALARM"
    # "ignore" leaves the alarm as it is only if all periods with data breach.
    if treatment in ("breaching", "notBreaching") or breaching < len(there):
        return "OK"
    return None


def _periods(values: Sequence[Value], watched: _Watched, count: int, now: float) -> Series:
    """The statistic of each of the last periods, the oldest first; None for one without data."""
    by_period: list[list[Value]] = [[] for _ in range(count)]
    for value in values:
        ago = int((now - value.second) // watched.period)
        # A value with a timestamp in the near future belongs to the newest period.
        if ago < count:
            by_period[max(ago, 0)].append(value)
    return [statistic_of(each, watched.statistic) if each else None for each in reversed(by_period)]


def _watched(alarm: "MetricAlarmTypeDef") -> Sequence[_Watched]:
    queries: Sequence[Any] = alarm.get("Metrics", [])
    if not queries:
        statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
        return [_Watched("", alarm, statistic, alarm.get("Period", 60))]
    return [
        _Watched(query["Id"], stat["Metric"], stat["Stat"], stat["Period"])
        for query in queries
        if (stat := query.get("MetricStat"))
    ]


def _expression(alarm: "MetricAlarmTypeDef") -> Expression:
    for query in alarm.get("Metrics", []):
        if "Expression" in query:
            return parse(query["Expression"])
    return lambda series: next(iter(series.values()))


def statistic_of(values: Sequence[Value], statistic: str) -> float:
    """A statistic of one period's values, by CloudWatch's name, such as `Sum` or `p95`."""
    count = sum(each.times for each in values)
    total = sum(each.value * each.times for each in values)
    match statistic:
        case "Sum":
            return total
        case "SampleCount":
            return count
        case "Average":
            return total / count
        case "Maximum":
            return max(each.value for each in values)
        case "Minimum":
            return min(each.value for each in values)
    below = count * float(statistic.removeprefix("p")) / 100
    for each in sorted(values, key=lambda one: one.value):
        below -= each.times
        if below <= 0:
            break
    return each.value


def _span(alarm: "MetricAlarmTypeDef") -> int:
    """The seconds that an alarm looks back at most."""
    period = max(watched.period for watched in _watched(alarm))
    return period * (alarm.get("EvaluationPeriods", 1) + _FURTHER_PERIODS)
