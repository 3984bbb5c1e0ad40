"""The metrics that alarms and dashboard are made of: the functions' own, and AWS's."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

type Statistic = Literal["Sum", "Maximum", "p50", "p95"]


class SubmitterMetric(StrEnum):
    """What the submitter emits, as far as it is shown."""

    SUBMITTED = "Submitted"
    FAILED = "Failed"
    RETURNED = "Returned"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    POSSIBLE_DUPLICATES = "PossibleDuplicates"
    UNFINISHED_SECONDS = "UnfinishedSeconds"


class WebhookMetric(StrEnum):
    """What the webhook emits, as far as it is shown."""

    RECEIVED = "WebhooksReceived"
    REFUSED = "WebhooksRefused"
    NOT_STORED = "WebhooksNotStored"


class DownloaderMetric(StrEnum):
    """What the downloader emits, as far as it is shown."""

    ARCHIVED = "Archived"
    FAILED = "Failed"
    RETURNED = "Returned"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    LOST_WEBHOOKS = "LostWebhooks"
    ARCHIVE_SECONDS = "ArchiveSeconds"
    UNFINISHED_SECONDS = "UnfinishedSeconds"


type FunctionMetric = SubmitterMetric | WebhookMetric | DownloaderMetric

_SERVICES = {
    SubmitterMetric: "submitter",
    WebhookMetric: "webhook",
    DownloaderMetric: "downloader",
}


@dataclass(frozen=True)
class OwnMetrics:
    """The functions' metrics of one deployment: its namespace is its own."""

    namespace: str

    def of(
        self,
        name: FunctionMetric,
        statistic: Statistic = "Sum",
        *,
        minutes: int = 5,
        label: str | None = None,
    ) -> cloudwatch.Metric:
        """A function's metric in periods of `minutes`."""
        return cloudwatch.Metric(
            namespace=self.namespace,
            metric_name=name,
            dimensions_map={"service": _SERVICES[type(name)]},
            statistic=statistic,
            period=Duration.minutes(minutes),
            label=label,
        )

    def by_reason(self, name: FunctionMetric) -> cloudwatch.MathExpression:
        """A metric's counts of five minutes, a line for each reason that there was."""
        return cloudwatch.MathExpression(
            expression=(
                f'SEARCH(\'{{"{self.namespace}",service,reason}} '
                f'service="{_SERVICES[type(name)]}" MetricName="{name}"\', \'Sum\', 300)'
            ),
            label=f"{_SERVICES[type(name)]} ${{PROP('Dim.reason')}}",
            period=Duration.minutes(5),
        )


def filled(metric: cloudwatch.Metric, value: int | Literal["REPEAT"]) -> cloudwatch.MathExpression:
    """A metric in which a period without data has a value; `REPEAT` is the last one before it."""
    return cloudwatch.MathExpression(
        expression=f"FILL(m, {value})", using_metrics={"m": metric}, period=metric.period
    )


def untaken(queue: sqs.IQueue) -> cloudwatch.MathExpression:
    """The age of the oldest message while some are waiting, else 0; no data while SQS is silent."""
    return cloudwatch.MathExpression(
        expression="IF(waiting > 0, FILL(age, 0), 0)",
        using_metrics={"waiting": waiting(queue, minutes=5), "age": age(queue, minutes=5)},
        period=Duration.minutes(5),
    )


def waiting(queue: sqs.IQueue, *, minutes: int = 1, label: str | None = None) -> cloudwatch.Metric:
    """The messages that lie on a queue."""
    return queue.metric_approximate_number_of_messages_visible(
        statistic="Maximum", period=Duration.minutes(minutes), label=label
    )


def age(queue: sqs.IQueue, *, minutes: int = 5, label: str | None = None) -> cloudwatch.Metric:
    """Seconds since the oldest message was sent; SQS leaves out those received over three times."""
    return queue.metric_approximate_age_of_oldest_message(
        statistic="Maximum", period=Duration.minutes(minutes), label=label
    )


def of_function(
    function: lambda_.IFunction,
    name: Literal["Errors", "Throttles", "Duration"],
    statistic: Statistic,
    *,
    label: str | None = None,
) -> cloudwatch.Metric:
    """One of Lambda's metrics of a function; durations are in milliseconds."""
    return function.metric(name, statistic=statistic, period=Duration.minutes(5), label=label)


def client_errors(api: apigateway.IHttpApi, *, label: str | None = None) -> cloudwatch.Metric:
    """The answers of an API with a status from 400 to 499, its own and its function's."""
    return api.metric_client_error(statistic="Sum", period=Duration.minutes(5), label=label)


def server_errors(api: apigateway.IHttpApi) -> cloudwatch.Metric:
    """The answers of an API with a status from 500."""
    return api.metric_server_error(statistic="Sum", period=Duration.minutes(5))
