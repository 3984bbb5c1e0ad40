"""The dashboard: from above, what is wrong, what was done, and then why."""

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
    of_function,
    waiting,
)
from stacks.pipeline import PipelineStack
from stacks.settings import DeploymentSettings

WIDTH = 24
"""Of a dashboard, in its own units."""


def dashboard(
    scope: Construct,
    *,
    settings: DeploymentSettings,
    own: OwnMetrics,
    pipeline: PipelineStack,
    alarms: Sequence[cloudwatch.Alarm],
) -> cloudwatch.Dashboard:
    """Make the dashboard of one deployment, which opens with its last day."""
    return cloudwatch.Dashboard(
        scope,
        "Dashboard",
        # Dashboards are the account's; all else is of one region.
        dashboard_name=f"{settings.stack_prefix}-{Stack.of(scope).region}",
        default_interval=Duration.days(1),
        widgets=[
            [
                cloudwatch.AlarmStatusWidget(
                    title="What is red has its page in docs/operations.md",
                    alarms=alarms,
                    sort_by=cloudwatch.AlarmStatusWidgetSortBy.STATE_UPDATED_TIMESTAMP,
                    width=WIDTH,
                    height=5,
                )
            ],
            _numbers(own, pipeline),
            _jobs(own, pipeline, alarm_seconds=settings.unfinished_alarm_seconds),
            _causes(own, pipeline),
            _functions(pipeline),
        ],
    )


def _numbers(own: OwnMetrics, pipeline: PipelineStack) -> list[cloudwatch.IWidget]:
    return [
        cloudwatch.SingleValueWidget(
            title="In the time shown",
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
    own: OwnMetrics, pipeline: PipelineStack, *, alarm_seconds: int
) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Jobs",
            own.of(SubmitterMetric.SUBMITTED),
            own.of(DownloaderMetric.ARCHIVED),
        ),
        _graph(
            "From message to archive",
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "p50", label="Half of the jobs"),
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "p95", label="19 of 20"),
            own.of(DownloaderMetric.ARCHIVE_SECONDS, "Maximum", label="All"),
            axis="Seconds",
        ),
        _graph(
            "Oldest unfinished job",
            own.of(SubmitterMetric.UNFINISHED_SECONDS, "Maximum", label="Request tried again"),
            own.of(DownloaderMetric.UNFINISHED_SECONDS, "Maximum", label="Download tried again"),
            *(age(pair.queue, label=f"{name} waiting") for name, pair in pipeline.queues.items()),
            axis="Seconds",
            lines=[cloudwatch.HorizontalAnnotation(value=alarm_seconds, label="Alarm")],
        ),
    ]


def _causes(own: OwnMetrics, pipeline: PipelineStack) -> list[cloudwatch.IWidget]:
    return [
        _graph(
            "Why messages wait: put back, by reason",
            own.by_reason(SubmitterMetric.RETURNED),
            own.by_reason(DownloaderMetric.RETURNED),
            own.of(SubmitterMetric.CREDENTIALS_REFUSED, label="Keys refused to submit"),
            own.of(DownloaderMetric.CREDENTIALS_REFUSED, label="Keys refused to download"),
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
            # What is above "Refused" did not reach the function: too much at once, or too large.
            client_errors(pipeline.api, label="Answered with a 4xx"),
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
        ),
        _graph(
            "Duration, longest",
            *(
                of_function(function, "Duration", "Maximum", label=title)
                for title, function in pipeline.functions.items()
            ),
            axis="Milliseconds",
        ),
    ]


def _graph(
    title: str,
    *metrics: cloudwatch.IMetric,
    axis: str = "Count",
    lines: Sequence[cloudwatch.HorizontalAnnotation] = (),
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(min=0, label=axis, show_units=False),
        left_annotations=list(lines),
        width=WIDTH // 3,
        height=6,
    )
