"""The metrics that alarms and dashboard use: the functions' own, and AWS's."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from reportflow.rate_limiter import RateLimit
from stacks.settings import DeploymentSettings

REQUESTS_PER_JOB: Final = 2
"""Of ReportFlow: the submission and the download."""

NEAR_TOO_OLD: Final = 0.9
"""The share of a request's longest life at which a backlog is reported."""

type Statistic = Literal["Sum", "Maximum", "p50", "p95"]


class SubmitterMetric(StrEnum):
    """The submitter's metrics that alarms or dashboard use."""

    SUBMITTED = "Submitted"
    FAILED = "Failed"
    RETURNED = "Returned"
    CREDENTIALS_REFUSED = "CredentialsRefused"
    POSSIBLE_DUPLICATES = "PossibleDuplicates"
    UNFINISHED_SECONDS = "UnfinishedSeconds"


class WebhookMetric(StrEnum):
    """The webhook's metrics that alarms or dashboard use."""

    RECEIVED = "WebhooksReceived"
    REFUSED = "WebhooksRefused"
    NOT_STORED = "WebhooksNotStored"


class DownloaderMetric(StrEnum):
    """The downloader's metrics that alarms or dashboard use."""

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
    """The functions' metrics in the namespace of one deployment."""

    namespace: str

    def of(
        self,
        name: FunctionMetric,
        statistic: Statistic = "Sum",
        *,
        minutes: int = 5,
        label: str | None = None,
    ) -> cloudwatch.Metric:
        """Return a function's metric in periods of `minutes`."""
        return cloudwatch.Metric(
            namespace=self.namespace,
            metric_name=name,
            dimensions_map={"service": _SERVICES[type(name)]},
            statistic=statistic,
            period=Duration.minutes(minutes),
            label=label,
        )

    def by_reason(self, name: FunctionMetric) -> cloudwatch.MathExpression:
        """Return a metric's counts per five minutes, with one line per reason."""
        return cloudwatch.MathExpression(
            expression=(
                f'SEARCH(\'{{"{self.namespace}",service,reason}} '
                f'service="{_SERVICES[type(name)]}" MetricName="{name}"\', \'Sum\', 300)'
            ),
            label=f"{_SERVICES[type(name)]} ${{PROP('Dim.reason')}}",
            period=Duration.minutes(5),
        )


def filled(metric: cloudwatch.Metric, value: int | Literal["REPEAT"]) -> cloudwatch.MathExpression:
    """Return the metric with `value` in periods without data; `REPEAT` is the last value before."""
    return cloudwatch.MathExpression(
        expression=f"FILL(m, {value})", using_metrics={"m": metric}, period=metric.period
    )


def age_while_waiting(queue: sqs.IQueue) -> cloudwatch.MathExpression:
    """Return `age` while messages wait, else 0; it has no data while SQS sends none."""
    return cloudwatch.MathExpression(
        expression="IF(waiting > 0, FILL(age, 0), 0)",
        using_metrics={"waiting": waiting(queue, minutes=5), "age": age(queue, minutes=5)},
        period=Duration.minutes(5),
    )


def end_of_backlog(
    queue: sqs.IQueue, settings: DeploymentSettings, *, label: str | None = None
) -> cloudwatch.MathExpression:
    """Return the age that a request may reach until the queue is empty, in seconds.

    That is the age of the oldest, and the time that the rate limit takes for all of them, waiting
    or in flight; 0 if there is none. A request that found no slot is in flight until its next try.
    There is no data while SQS sends none. Without a rate limit, only the age counts.

    It takes the configured limit, not the measured rate: in an outage that is zero, and no time
    could be computed. A rate below the limit shows in the age.
    """
    seconds = _seconds_per_job(settings)
    every = "waiting + in_flight"
    return cloudwatch.MathExpression(
        expression=f"IF({every} > 0, ({every}) * {seconds:.6f} + FILL(age, 0), 0)",
        using_metrics={
            "age": age(queue, minutes=5),
            "in_flight": queue.metric_approximate_number_of_messages_not_visible(
                statistic="Maximum", period=Duration.minutes(5)
            ),
            "waiting": waiting(queue, minutes=5),
        },
        period=Duration.minutes(5),
        label=label,
    )


def too_old_seconds(settings: DeploymentSettings) -> int:
    """Return the age of a request at which there is little time left to save it."""
    return round(NEAR_TOO_OLD * settings.max_message_age_seconds)


def _seconds_per_job(settings: DeploymentSettings) -> float:
    if not settings.reportflow_requests_per_minute:
        return 0.0
    limit = RateLimit(settings.reportflow_requests_per_minute, settings.reportflow_burst)
    return REQUESTS_PER_JOB * limit.interval.total_seconds()


def waiting(queue: sqs.IQueue, *, minutes: int = 1, label: str | None = None) -> cloudwatch.Metric:
    """Return the number of messages that wait in a queue."""
    return queue.metric_approximate_number_of_messages_visible(
        statistic="Maximum", period=Duration.minutes(minutes), label=label
    )


def age(queue: sqs.IQueue, *, minutes: int = 5, label: str | None = None) -> cloudwatch.Metric:
    """Return the oldest message's age in seconds, without messages received over three times."""
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
    """Return one of Lambda's metrics of a function; durations are in milliseconds."""
    return function.metric(name, statistic=statistic, period=Duration.minutes(5), label=label)


def client_errors(api: apigateway.IHttpApi, *, label: str | None = None) -> cloudwatch.Metric:
    """Return the number of 4xx answers from an API, including its function's."""
    return api.metric_client_error(statistic="Sum", period=Duration.minutes(5), label=label)


def server_errors(api: apigateway.IHttpApi) -> cloudwatch.Metric:
    """Return the number of 5xx answers from an API."""
    return api.metric_server_error(statistic="Sum", period=Duration.minutes(5))
