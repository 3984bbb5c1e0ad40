"""CloudWatch: alarms and dashboards."""

from typing import Any, Literal

import msgspec

from local.executor.resource import Context, Created, Properties, ResourceType, to_api


class Dimension(Properties):
    """One of the names and values that tell metrics of the same name apart."""

    name: str
    value: str


class Alarm(Properties):
    """AWS::CloudWatch::Alarm of one metric, not of an expression; `Period` is in seconds."""

    comparison_operator: Literal[
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
        "LessThanOrEqualToThreshold",
        "LessThanThreshold",
    ]
    evaluation_periods: int
    metric_name: str
    namespace: str
    period: int
    statistic: Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum"]
    threshold: float
    alarm_actions: tuple[str, ...] | None = None
    alarm_description: str | None = None
    alarm_name: str | None = None
    dimensions: tuple[Dimension, ...] | None = None
    ok_actions: tuple[str, ...] | None = msgspec.field(default=None, name="OKActions")
    treat_missing_data: Literal["breaching", "ignore", "missing", "notBreaching"] | None = None


class Dashboard(Properties):
    """AWS::CloudWatch::Dashboard; the body is JSON."""

    dashboard_body: str
    dashboard_name: str | None = None


def create_alarm(properties: Alarm, context: Context) -> Created:
    """Create an alarm; CloudWatch's API spells everything as the template does."""
    request: dict[str, Any] = to_api(properties)
    name = request.setdefault("AlarmName", context.name(255))
    context.backend.client("cloudwatch").put_metric_alarm(**request)
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
