"""CloudWatch: alarms and dashboards."""

from typing import Any, Literal

import msgspec

from local.alarm_expression import parse
from local.executor.errors import UnsupportedTemplateError
from local.executor.resource import Context, Created, Properties, ResourceType, to_api


class Dimension(Properties):
    """One of the names and values that tell metrics of the same name apart."""

    name: str
    value: str


class Metric(Properties):
    """A metric by its name and dimensions."""

    metric_name: str
    namespace: str
    dimensions: tuple[Dimension, ...] | None = None


type Statistic = Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum"]


class MetricStat(Properties):
    """What is taken of a metric in each period, which is in seconds."""

    metric: Metric
    period: int
    stat: Statistic


class MetricDataQuery(Properties):
    """A metric that an expression names by its id, or the expression of them."""

    id: str
    expression: str | None = None
    label: str | None = None
    metric_stat: MetricStat | None = None
    period: int | None = None
    return_data: bool | None = None


class Alarm(Properties):
    """AWS::CloudWatch::Alarm of a metric, or of an expression; `Period` is in seconds."""

    comparison_operator: Literal[
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
        "LessThanOrEqualToThreshold",
        "LessThanThreshold",
    ]
    evaluation_periods: int
    threshold: float
    alarm_actions: tuple[str, ...] | None = None
    alarm_description: str | None = None
    alarm_name: str | None = None
    datapoints_to_alarm: int | None = None
    dimensions: tuple[Dimension, ...] | None = None
    metric_name: str | None = None
    metrics: tuple[MetricDataQuery, ...] | None = None
    namespace: str | None = None
    ok_actions: tuple[str, ...] | None = msgspec.field(default=None, name="OKActions")
    period: int | None = None
    statistic: Statistic | None = None
    treat_missing_data: Literal["breaching", "ignore", "missing", "notBreaching"] | None = None


class Dashboard(Properties):
    """AWS::CloudWatch::Dashboard; the body is JSON."""

    dashboard_body: str
    dashboard_name: str | None = None


def create_alarm(properties: Alarm, context: Context) -> Created:
    """Create an alarm; CloudWatch's API spells everything as the template does.

    The runner evaluates it as it stands here: MiniStack forgets what an alarm's expression is.
    """
    request: dict[str, Any] = to_api(properties)
    name = request.setdefault("AlarmName", context.name(255))
    for query in properties.metrics or ():
        if query.expression:
            try:
                parse(query.expression)
            except ValueError as error:
                raise UnsupportedTemplateError(str(error)) from error
    context.backend.client("cloudwatch").put_metric_alarm(**request)
    context.played.alarms[name] = request
    return Created(name, {"Arn": context.arn("cloudwatch", f"alarm:{name}")})


def create_dashboard(properties: Dashboard, context: Context) -> Created:
    """Create a dashboard."""
    name = properties.dashboard_name or context.name(255)
    context.backend.client("cloudwatch").put_dashboard(
        DashboardName=name, DashboardBody=properties.dashboard_body
    )
    return Created(name)


RESOURCE_TYPES = (
    ResourceType("AWS::CloudWatch::Alarm", Alarm, create_alarm),
    ResourceType("AWS::CloudWatch::Dashboard", Dashboard, create_dashboard),
)
