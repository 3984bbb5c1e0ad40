"""Alarms and dashboard of a synthesized deployment, and what CloudWatch makes of the alarms."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from local.alarms import Value, evaluate
from tests.stacks.template import Properties, Template, reference

ALARM = "AWS::CloudWatch::Alarm"
FUNCTION = "AWS::Lambda::Function"
QUEUE = "AWS::SQS::Queue"
HOUR = 60 * 60
DAY = 24 * HOUR


@dataclass(frozen=True)
class Metric:
    """A metric; the dimensions' values are the resources that they refer to, or text."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    def get(self, dimension: str) -> str:
        return dict(self.dimensions)[dimension]


def stats(alarm: Properties) -> list[Properties]:
    """The metrics of an alarm on an expression."""
    return [query for query in alarm.get("Metrics", ()) if "MetricStat" in query]


def period(alarm: Properties) -> int:
    (seconds,) = {query["MetricStat"]["Period"] for query in stats(alarm)} or {alarm.get("Period")}
    return int(seconds)


def span(alarm: Properties) -> int:
    """The seconds that an alarm is asked to look back."""
    return period(alarm) * int(alarm["EvaluationPeriods"])


def raw(alarm: Properties, **changes: object) -> Properties:
    """The alarm on its last metric, without an expression."""
    stat = stats(alarm)[-1]["MetricStat"]
    of = {key: value for key, value in alarm.items() if key not in ("Metrics", "DatapointsToAlarm")}
    return {**of, **stat["Metric"], "Period": stat["Period"], "Statistic": stat["Stat"], **changes}


type Told = Mapping[str, Sequence[Value]]
"""Values by the metric's name."""


def state(alarm: Properties, told: Sequence[Value] | Told, now: float) -> str | None:
    """What CloudWatch makes of it by then; None where it leaves the alarm as it is."""

    def by_then(metric: Properties) -> list[Value]:
        values = told.get(metric["MetricName"], ()) if isinstance(told, Mapping) else told
        return [value for value in values if value.second <= now]

    heard = {query["Id"]: by_then(query["MetricStat"]["Metric"]) for query in stats(alarm)}
    return evaluate(cast("Any", alarm), heard or {"": by_then(alarm)}, now)


def states(alarm: Properties, told: Sequence[Value] | Told, seconds: Sequence[int]) -> list[str]:
    """The states of an alarm at these seconds, one after another."""
    passed = ["OK"]
    for now in seconds:
        passed.append(state(alarm, told, now) or passed[-1])
    return passed[1:]


@dataclass(frozen=True)
class Watched:
    """The pipeline and what watches it, of one deployment."""

    pipeline: Template
    monitoring: Template

    @classmethod
    def read(cls, assembly: Path) -> Self:
        (pipeline,) = assembly.glob("*-Pipeline.template.json")
        (monitoring,) = assembly.glob("*-Monitoring.template.json")
        return cls(Template.read(pipeline), Template.read(monitoring))

    @property
    def alarms(self) -> Mapping[str, Properties]:
        """By name without the deployment's prefix."""
        return {
            alarm["AlarmName"].split("-", 1)[1]: alarm
            for alarm in self.monitoring.of_type(ALARM).values()
        }

    def metrics(self, alarm: Properties) -> list[Metric]:
        """What an alarm is made of, what it counts last."""
        queries = [query["MetricStat"]["Metric"] for query in stats(alarm)]
        return [
            Metric(
                of["Namespace"],
                of["MetricName"],
                tuple((each["Name"], self._resource(each["Value"])) for each in of["Dimensions"]),
            )
            for of in queries or [alarm]
        ]

    def metric(self, alarm: Properties) -> Metric:
        return self.metrics(alarm)[-1]

    def on(self, namespace: str, name: str, *, prefix: str = "") -> dict[str, Properties]:
        """The alarms on one of AWS's metrics, by the resource that they watch.

        Of an alarm on several metrics it is the last one.

        Where there are several on one resource, they differ by the `prefix` of their names.
        """
        found = [
            (metric.dimensions[0][1], alarm)
            for alarm_name, alarm in self.alarms.items()
            if alarm_name.startswith(prefix)
            and (metric := self.metric(alarm)).namespace == namespace
            and metric.name == name
        ]
        assert len(dict(found)) == len(found)
        return dict(found)

    def widgets(self) -> list[Properties]:
        """The widgets of the dashboard."""
        body = json.loads(self._text(self.monitoring.one("AWS::CloudWatch::Dashboard")))
        return list(body["widgets"])

    def shown(self) -> Iterator[Metric]:
        """The metrics of the dashboard."""
        for widget in self.widgets():
            for line in widget["properties"].get("metrics", []):
                if isinstance(line[0], dict):
                    yield from _searched(line[0]["expression"])
                    continue
                namespace, name, *rest = [part for part in line if isinstance(part, str)]
                dimensions = tuple(zip(rest[::2], rest[1::2], strict=True))
                yield Metric(namespace, name, dimensions)

    def _resource(self, value: object) -> str:
        if isinstance(value, str):
            return value
        name = reference(value)
        return self.pipeline.exports().get(name, name)

    def _text(self, dashboard: Properties) -> str:
        _, parts = dashboard["DashboardBody"]["Fn::Join"]
        return "".join(map(self._resource, parts))


def _searched(expression: str) -> Iterator[Metric]:
    if not expression.startswith("SEARCH("):
        return  # The metrics of any other expression are lines of their own.
    found = re.search(r'{"(.+)",service,reason} service="(\w+)" MetricName="(\w+)"', expression)
    assert found, expression
    namespace, service, name = found.groups()
    yield Metric(namespace, name, (("service", service),))


def dead_letter_queues(watched: Watched) -> set[str]:
    return {
        reference(queue["RedrivePolicy"]["deadLetterTargetArn"])
        for queue in watched.pipeline.of_type(QUEUE).values()
        if "RedrivePolicy" in queue
    }
