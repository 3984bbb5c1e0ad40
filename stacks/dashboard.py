"""Builds the dashboard. From top to bottom: alarms, totals, jobs, causes, functions."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from stacks.metrics import (
    DownloaderMetric,
    OwnMetrics,
    SubmitterMetric,
    WebhookMetric,
    age,
    client_errors,
    end_of_backlog,
    of_function,
    too_old_seconds,
    waiting,
)
from stacks.pipeline import PipelineStack
from stacks.settings import DeploymentSettings

WIDTH = 24
"""The width of a dashboard, in CloudWatch's grid units."""


def dashboard(
    scope: Construct,
    *,
    settings: DeploymentSettings,
    own: OwnMetrics,
    pipeline: PipelineStack,
    alarms: Sequence[cloudwatch.Alarm],
) -> cloudwatch.Dashboard:
    """Create the deployment's dashboard, which shows the last day at first."""
    return cloudwatch.Dashboard(
        scope,
        "Dashboard",
        # The name of a dashboard must be unique in the account, not only in the region.
        dashboard_name=f"{settings.stack_prefix}-{Stack.of(scope).region}",
        default_interval=Duration.days(1),
        widgets=[
            [
                cloudwatch.AlarmStatusWidget(
                    title="Alarms: docs/operations.md explains each one",
                    alarms=alarms,
                    sort_by=cloudwatch.AlarmStatusWidgetSortBy.STATE_UPDATED_TIMESTAMP,
                    width=WIDTH,
                    height=5,
                )
            ],
            _numbers(own, pipeline),
            _jobs(own, pipeline, settings),
            _causes(own, pipeline),
            _functions(pipeline),
        ],
    )


def _numbers(own: OwnMetrics, pipeline: PipelineStack) -> list[cloudwatch.IWidget]:
    return [
        cloudwatch.SingleValueWidget(
            title="Totals of the time range",
            metrics=[
                own.of(SubmitterMetric.SUBMITTED),
                own.of(DownloaderMetric.ARCHIVED),
                own.of(SubmitterMetric.FAILED, label="Failed to submit"),
                own.of(DownloaderMetric.FAILED, label="Failed to archive"),
                own.of(SubmitterMetric.POSSIBLE_DUPLICATES, label="Possible duplicates"),
                own.of(DownloaderMetric.LOST_WEBHOOKS, label="Lost webhooks"),
            ],
            set_period_to_time_range=True,
            width=WIDTH * 5 // 8,
            height=4,
        ),
        cloudwatch.SingleValueWidget(
            title="Now",
            metrics=[
                metric
                for name, pair in pipeline.queues.items()
                for metric in (
                    waiting(pair.queue, label=f"{name}s waiting"),
                    waiting(pair.dead_letters, label=f"{name} dead letters"),
                )
            ],
            width=WIDTH * 3 // 8,
            height=4,
        ),
    ]


def _jobs(
    own: OwnMetrics, pipeline: PipelineStack, settings: DeploymentSettings
) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Jobs",
            own.of(SubmitterMetric.SUBMITTED),
            own.of(DownloaderMetric.ARCHIVED),
            in_row=4,
        ),
        _graph(
            "From message to archive",
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "p50", label="p50"),
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "p95", label="p95"),
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "Maximum", label="Maximum"),
            axis="Seconds",
            in_row=4,
        ),
        _graph(
            "Oldest unfinished job",
            own.of(SubmitterMetric.UNFINISHED_SECONDS, "Maximum", label="Request retried"),
            own.of(DownloaderMetric.UNFINISHED_SECONDS, "Maximum", label="Download retried"),
            *(age(pair.queue, label=f"{name} waiting") for name, pair in pipeline.queues.items()),
            axis="Seconds",
            in_row=4,
            alarm=settings.unfinished_alarm_seconds,
        ),
        _graph(
            "Age of requests until the queue is empty",
            end_of_backlog(pipeline.queues["Request"].queue, settings, label="Oldest request"),
            axis="Seconds",
            in_row=4,
            alarm=too_old_seconds(settings),
        ),
    ]


def _causes(own: OwnMetrics, pipeline: PipelineStack) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Why messages wait: returned to the queue, by reason",
            own.by_reason(SubmitterMetric.RETURNED),
            own.by_reason(DownloaderMetric.RETURNED),
            own.of(SubmitterMetric.CREDENTIALS_REFUSED, label="Submitter: keys refused"),
            own.of(DownloaderMetric.CREDENTIALS_REFUSED, label="Downloader: keys refused"),
        ),
        _graph(
            "Why jobs failed, by reason",
            own.by_reason(SubmitterMetric.FAILED),
            own.by_reason(DownloaderMetric.FAILED),
        ),
        _graph(
            "Webhooks",
            own.of(WebhookMetric.RECEIVED, label="Received"),
            own.of(WebhookMetric.REFUSED, label="Refused"),
            own.of(WebhookMetric.NOT_STORED, label="Not stored"),
            own.of(DownloaderMetric.LOST_WEBHOOKS, label="Lost"),
            own.by_reason(WebhookMetric.REFUSED),
            # API Gateway itself answers 4xx if it throttles requests or a request is too large.
            client_errors(pipeline.api, label="4xx answers"),
        ),
    ]


def _functions(pipeline: PipelineStack) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Errors and throttles",
            *(
                of_function(function, name, "Sum", label=f"{title} {name.lower()}")
                for title, function in pipeline.functions.items()
                for name in ("Errors", "Throttles")
            ),
            in_row=2,
        ),
        _graph(
            "Longest duration",
            *(
                of_function(function, "Duration", "Maximum", label=title)
                for title, function in pipeline.functions.items()
            ),
            axis="Milliseconds",
            in_row=2,
        ),
    ]


def _graph(
    title: str,
    *metrics: cloudwatch.IMetric,
    axis: str = "Count",
    alarm: int | None = None,
    in_row: int = 3,
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(min=0, label=axis, show_units=False),
        left_annotations=[]
        if alarm is None
        else [cloudwatch.HorizontalAnnotation(value=alarm, label="Alarm")],
        width=WIDTH // in_row,
        height=6,
    )
