"""CloudWatch: alarms and dashboards, whose API spells everything as the template does."""

from typing import Final, Literal

from local.alarm_expression import parse
from local.executor.errors import UnsupportedTemplateError
from local.executor.resource import Context, Created, Properties, ResourceType, many, shape


def _create_alarm(properties: Properties, context: Context) -> Created:
    """Create an alarm, and give it to the runner: MiniStack forgets an alarm's expression."""
    name = properties.setdefault("AlarmName", context.name(255))
    for query in properties.get("Metrics", []):
        try:
            parse(query.get("Expression", "0"))
        except ValueError as error:
            raise UnsupportedTemplateError(str(error)) from error
    context.client("cloudwatch").put_metric_alarm(**properties)
    context.parts.alarms[name] = properties
    return Created(name, {"Arn": context.arn("cloudwatch", f"alarm:{name}")})


def _create_dashboard(properties: Properties, context: Context) -> Created:
    name = properties.setdefault("DashboardName", context.name(255))
    context.client("cloudwatch").put_dashboard(**properties)
    return Created(name)


_DIMENSIONS: Final = many(shape({"Name": str, "Value": str}))
_STATISTIC: Final = Literal["Average", "Maximum", "Minimum", "SampleCount", "Sum"]

RESOURCE_TYPES: Final = (
    ResourceType(
        "AWS::CloudWatch::Alarm",
        shape(
            {
                "ComparisonOperator": Literal[
                    "GreaterThanOrEqualToThreshold",
                    "GreaterThanThreshold",
                    "LessThanOrEqualToThreshold",
                    "LessThanThreshold",
                ],
                "EvaluationPeriods": int,
                "Threshold": float,
            },
            AlarmActions=many(str),
            AlarmDescription=str,
            AlarmName=str,
            DatapointsToAlarm=int,
            Dimensions=_DIMENSIONS,
            MetricName=str,
            Metrics=many(
                shape(
                    {"Id": str},
                    Expression=str,
                    Label=str,
                    MetricStat=shape(
                        {
                            "Metric": shape(
                                {"MetricName": str, "Namespace": str}, Dimensions=_DIMENSIONS
                            ),
                            "Period": int,
                            "Stat": _STATISTIC,
                        }
                    ),
                    Period=int,
                    ReturnData=bool,
                )
            ),
            Namespace=str,
            OKActions=many(str),
            Period=int,
            Statistic=_STATISTIC,
            TreatMissingData=Literal["breaching", "ignore", "missing", "notBreaching"],
        ),
        _create_alarm,
    ),
    ResourceType(
        "AWS::CloudWatch::Dashboard",
        shape({"DashboardBody": str}, DashboardName=str),
        _create_dashboard,
    ),
)
