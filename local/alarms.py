"""The evaluation of alarms that CloudWatch does itself, done for the emulated one.

As on AWS an alarm looks at whole periods of its metric, only that they end with this moment, and
not with a minute: so nothing is waited for.
"""

import operator
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.metrics import Told

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


@dataclass(frozen=True)
class Value:
    """A value of a metric at a second of the epoch, told `times` times."""

    second: int
    value: float
    times: int = 1


type _Key = tuple[str, str, frozenset[tuple[str, str]]]
"""A metric: namespace, name and dimensions, whatever their order."""


class Alarms:
    """Sets the state of every alarm on one metric, whenever it hears of values."""

    def __init__(self, cloudwatch: "CloudWatchClient", clock: Callable[[], float]) -> None:
        """`clock` tells the seconds of the epoch."""
        self._cloudwatch = cloudwatch
        self._clock = clock
        self._heard: defaultdict[_Key, deque[Value]] = defaultdict(deque)

    def hear(self, told: Told) -> None:
        """Take new values in, and evaluate all alarms.

        Raises:
            BotoCoreError, ClientError: the emulated CloudWatch refused or is gone.
        """
        watching: defaultdict[_Key, list[MetricAlarmTypeDef]] = defaultdict(list)
        for page in self._cloudwatch.get_paginator("describe_alarms").paginate():
            for alarm in page["MetricAlarms"]:
                watching[_key(alarm)].append(alarm)
        for moment, counts in told.items():
            key = (moment.namespace, moment.name, frozenset(moment.dimensions))
            if key in watching:
                self._heard[key] += [
                    Value(moment.second, value, times) for value, times in counts.items()
                ]
        now = self._clock()
        for key, alarms in watching.items():
            self._forget(key, now - max(map(_span, alarms)))
            for alarm in alarms:
                self._evaluate(alarm, self._heard[key], now)

    def _forget(self, key: _Key, before: float) -> None:
        # Nearly in the order of time: what comes late is forgotten late.
        heard = self._heard[key]
        while heard and heard[0].second <= before:
            heard.popleft()

    def _evaluate(self, alarm: "MetricAlarmTypeDef", values: Sequence[Value], now: float) -> None:
        state = evaluate(alarm, values, now)
        if state is not None and state != alarm.get("StateValue"):
            self._cloudwatch.set_alarm_state(
                AlarmName=alarm.get("AlarmName", ""),
                StateValue=state,
                StateReason=f"evaluated over the last {_span(alarm)} seconds",
            )


def evaluate(
    alarm: "MetricAlarmTypeDef", values: Sequence[Value], now: float
) -> "StateValueType | None":
    """The state of an alarm on one metric at a second of the epoch; None to leave it as it is."""
    periods: list[list[Value]] = [[] for _ in range(alarm.get("EvaluationPeriods", 1))]
    for value in values:
        ago = int((now - value.second) // alarm.get("Period", 60))
        # What is stamped a moment ahead belongs to this one.
        if ago < len(periods):
            periods[max(ago, 0)].append(value)
    breaching = [_breaches(alarm, told) for told in periods]
    needed = alarm.get("DatapointsToAlarm") or len(periods)
    treatment = alarm.get("TreatMissingData", "missing")
    if treatment == "missing" and set(breaching) == {None}:
        return "INSUFFICIENT_DATA"
    if treatment in ("breaching", "notBreaching"):
        breaching = [treatment == "breaching" if one is None else one for one in breaching]
    if breaching.count(True) >= needed:
        return "ALARM"
    if len(breaching) - breaching.count(False) < needed:
        return "OK"
    return None


def _breaches(alarm: "MetricAlarmTypeDef", told: Sequence[Value]) -> bool | None:
    if not told:
        return None
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    compare = _COMPARISONS[alarm.get("ComparisonOperator", "")]
    return compare(statistic_of(told, statistic), alarm.get("Threshold", 0.0))


def statistic_of(told: Sequence[Value], statistic: str) -> float:
    """A statistic of one period's values, by CloudWatch's name; `p95` and the like included."""
    count = sum(each.times for each in told)
    total = sum(each.value * each.times for each in told)
    match statistic:
        case "Sum":
            return total
        case "SampleCount":
            return count
        case "Average":
            return total / count
        case "Maximum":
            return max(each.value for each in told)
        case "Minimum":
            return min(each.value for each in told)
    below = count * float(statistic.removeprefix("p")) / 100
    for each in sorted(told, key=lambda one: one.value):
        below -= each.times
        if below <= 0:
            break
    return each.value


def _key(alarm: "MetricAlarmTypeDef") -> _Key:
    dimensions = frozenset((one["Name"], one["Value"]) for one in alarm.get("Dimensions", []))
    return alarm.get("Namespace", ""), alarm.get("MetricName", ""), dimensions


def _span(alarm: "MetricAlarmTypeDef") -> int:
    """The seconds that an alarm looks back."""
    return alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
