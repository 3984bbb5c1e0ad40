"""The monitoring stack: alarms on what a person must act on, and a dashboard."""

from typing import Final, cast

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch_actions import SnsAction
from aws_cdk.aws_sns_subscriptions import EmailSubscription
from constructs import Construct

from stacks.dashboard import dashboard
from stacks.metrics import (
    DownloaderMetric,
    FunctionMetric,
    OwnMetrics,
    SubmitterMetric,
    WebhookMetric,
    age_while_waiting,
    end_of_backlog,
    filled,
    of_function,
    server_errors,
    too_old_seconds,
    waiting,
)
from stacks.pipeline import PipelineStack
from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS
from stacks.settings import DeploymentSettings

LONGEST_WAIT_MINUTES = 60
"""A retried message comes back within an hour. An alarm on its metric looks back as far, because it
would otherwise end and begin with each retry."""

SILENCE_MINUTES = 15
LOSS_MINUTES = 6 * 60
HOUR_MINUTES = 60

DAYS_UNTIL_OLD = 7
"""The longest time that an alarm can look back; SQS deletes a dead letter after twice that."""

BURST_OF_FAILURES = 10
NEAR_TIMEOUT = 0.9

_REACHED = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD

_NOTHING_HAPPENED = cloudwatch.TreatMissingData.NOT_BREACHING
"""For a metric that never had data: `FILL` adds values only to existing data."""

_AS_BEFORE = cloudwatch.TreatMissingData.IGNORE
"""SQS sends no metrics of a queue without calls for hours, even if messages wait in it."""

_LATE: Final = 1
"""The number of short periods whose data may be late. Until it arrives, `FILL` shows zero, which
could end an alarm too early or prevent it."""

_OF_QUEUES: Final = (
    "SQS delivers its messages again.",
    "how long ReportFlow takes to answer, then batch size and time-out.",
)
_ADVICE: Final = {
    "submitter": _OF_QUEUES,
    "downloader": _OF_QUEUES,
    "webhook": (
        "A completion check finds the webhook's PDF later.",
        "how long SQS and Secrets Manager take, then memory and time-out.",
    ),
}
"""For each function: what happens to its work after a crash, and what to look at if it is slow."""


class MonitoringStack(Stack):
    """The alarms, their topic, and the dashboard."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        pipeline: PipelineStack,
    ) -> None:
        super().__init__(
            scope, construct_id, description="ReportFlow pipeline: alarms and dashboard"
        )
        self._settings = settings
        self._own = OwnMetrics(settings.stack_prefix)
        self._topic = self._alarm_topic()
        self._action = SnsAction(self._topic)
        self._alarms: list[cloudwatch.Alarm] = []
        self._watch_jobs(pipeline)
        self._watch_backlog(pipeline)
        self._watch_reportflow()
        self._watch_webhooks(pipeline)
        self._watch_functions(pipeline)
        shown = dashboard(
            self, settings=settings, own=self._own, pipeline=pipeline, alarms=self._alarms
        )
        CfnOutput(
            self,
            "AlarmTopicArn",
            value=self._topic.topic_arn,
            description="The topic of all alarms: subscribe your receivers",
        )
        CfnOutput(
            self,
            "DashboardName",
            value=shown.dashboard_name,
            description="The CloudWatch dashboard",
        )

    def _alarm_topic(self) -> sns.Topic:
        # CloudWatch may not use AWS's own key for SNS.
        key = kms.Key(
            self,
            "AlarmKey",
            description="Encrypts the alarms on their way through SNS",
            enable_key_rotation=True,
            # Nothing is stored with this key, so nothing needs it after the stack is deleted.
            removal_policy=RemovalPolicy.DESTROY,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                # AWS documents no condition for this statement: SNS makes the call for CloudWatch.
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
            )
        )
        topic = sns.Topic(self, "AlarmTopic", master_key=key, enforce_ssl=True)
        # `enforce_ssl` creates a policy, which replaces SNS's default one for the account's alarms.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if self._settings.alarm_email:
            topic.add_subscription(EmailSubscription(self._settings.alarm_email))
        return topic

    def _watch_jobs(self, pipeline: PipelineStack) -> None:
        unfinished: dict[str, FunctionMetric] = {
            "Request": SubmitterMetric.UNFINISHED_SECONDS,
            "Download": DownloaderMetric.UNFINISHED_SECONDS,
        }
        failed: dict[str, FunctionMetric] = {
            "Request": SubmitterMetric.FAILED,
            "Download": DownloaderMetric.FAILED,
        }
        for name, pair in pipeline.queues.items():
            queue = f"{name.lower()} queue"
            self._alarm(
                f"{name}DeadLetters",
                waiting(pair.dead_letters),
                1,
                f"The dead-letter queue for {name.lower()}s holds a message.",
                "`reportflow dlq explain`: it prints each reason, and what to do.",
                missing=_AS_BEFORE,
            )
            # A dead letter that stays keeps that alarm red, so nobody is notified of the next ones.
            self._alarm_on_events(
                f"New{name}DeadLetters",
                self._own.of(failed[name]),
                BURST_OF_FAILURES,
                f"{BURST_OF_FAILURES} or more {name.lower()}s have failed within five minutes.",
                "`reportflow dlq explain`: most of them usually have the same reason.",
            )
            # Not the age of the oldest message: SQS leaves out messages received over three times.
            self._alarm(
                f"Old{name}DeadLetters",
                # With periods of a day, the day on which the queue is emptied would still count,
                # and SQS sends no data on the next one.
                filled(waiting(pair.dead_letters, minutes=HOUR_MINUTES), "REPEAT"),
                1,
                f"The dead-letter queue for {name.lower()}s has held messages for "
                f"{DAYS_UNTIL_OLD} days. SQS deletes each one after {SQS_MAXIMUM_RETENTION_DAYS}.",
                "`reportflow dlq explain`: it prints the oldest of each reason, and what to do.",
                periods=DAYS_UNTIL_OLD * 24,
            )
            seconds = self._settings.unfinished_alarm_seconds
            self._alarm_on_events(
                f"{name}sUnfinished",
                self._own.of(unfinished[name], "Maximum", minutes=LONGEST_WAIT_MINUTES),
                seconds,
                f"A message in the {queue} is still retried {seconds} s after it was sent.",
                "its error code, which `reportflow doctor` and the dashboard show.",
                notify_end=True,
            )
            self._alarm(
                f"{name}sNotTaken",
                age_while_waiting(pair.queue),
                seconds,
                f"A message has waited in the {queue} for {seconds} s, and was hardly delivered.",
                "whether the function's event source is enabled, then its Errors and Throttles.",
                missing=_AS_BEFORE,
                notify_end=True,
            )

    def _watch_backlog(self, pipeline: PipelineStack) -> None:
        settings = self._settings
        self._alarm(
            "BacklogTooLong",
            end_of_backlog(pipeline.queues["Request"].queue, settings),
            too_old_seconds(settings),
            "ReportFlow's rate limit hardly lets the request queue be emptied before its messages "
            f"are {settings.message_retention_days} days old. What is left then fails.",
            "how many requests wait, and whether they fall: raise the limit with ReportFlow, or "
            "stop the sender.",
            missing=_AS_BEFORE,
            notify_end=True,
        )

    def _watch_reportflow(self) -> None:
        keys: dict[str, FunctionMetric] = {
            "submitter": SubmitterMetric.CREDENTIALS_REFUSED,
            "downloader": DownloaderMetric.CREDENTIALS_REFUSED,
        }
        for name, metric in keys.items():
            self._alarm_on_events(
                f"{name.capitalize()}KeysRefused",
                self._own.of(metric, minutes=LONGEST_WAIT_MINUTES),
                1,
                f"ReportFlow refuses the {name}'s keys, or the secret has none. Jobs wait; none is "
                "lost.",
                "`reportflow doctor`, then the keys in ReportFlow's settings and in the secret.",
                notify_end=True,
            )
        self._alarm_on_events(
            "PossibleDuplicates",
            self._own.of(SubmitterMetric.POSSIBLE_DUPLICATES),
            1,
            "The submitter repeated a request whose outcome it does not know: ReportFlow may have "
            "made, and billed, the PDF twice.",
            "possibleDuplicates on the job in the table, then ReportFlow's list of files.",
        )

    def _watch_webhooks(self, pipeline: PipelineStack) -> None:
        self._alarm_on_events(
            "WebhooksRefused",
            self._own.of(WebhookMetric.REFUSED),
            self._settings.refused_webhooks_alarm,
            "The webhook refuses requests: somebody forges them, or ReportFlow has the wrong URL.",
            "the reason in the webhook's log, then the URL in ReportFlow's settings.",
        )
        self._alarm(
            "WebhooksMissing",
            # The submitter counts a zero here for each job. In a period without data, no webhook
            # was due, which is as good as one that came.
            filled(self._own.of(WebhookMetric.RECEIVED, minutes=SILENCE_MINUTES), 1),
            1,
            "Jobs are submitted, but no webhook comes. Completion checks find the PDFs later.",
            "`reportflow doctor`, then the webhook's URL in ReportFlow's settings.",
            # The webhook of a job at the end of one period comes in the next.
            periods=2,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            notify_end=True,
        )
        self._alarm_on_events(
            "WebhooksLost",
            self._own.of(DownloaderMetric.LOST_WEBHOOKS, minutes=LOSS_MINUTES),
            self._settings.lost_webhooks_alarm,
            "Completion checks found PDFs whose webhooks came late or never.",
            "WebhooksRefused, WebhooksNotStored and the 4xx answers on the dashboard; if no "
            "webhook comes, its URL in ReportFlow's settings.",
        )
        self._alarm_on_events(
            "WebhooksNotStored",
            self._own.of(WebhookMetric.NOT_STORED),
            1,
            "A genuine webhook could not be queued. A completion check finds its PDF later.",
            "the error code in the webhook's log: SQS or Secrets Manager failed.",
        )
        self._alarm_on_events(
            "WebhookApiErrors",
            server_errors(pipeline.api),
            1,
            "The webhook's API answered with a 5xx.",
            "the webhook's Errors and Throttles, then integrationError in the API's access log.",
        )

    def _watch_functions(self, pipeline: PipelineStack) -> None:
        for name, function in pipeline.functions.items():
            after_crash, when_slow = _ADVICE[name]
            timeout_seconds = round(cast("Duration", function.timeout).to_seconds())
            title = name.capitalize()
            self._alarm_on_events(
                f"{title}Errors",
                of_function(function, "Errors", "Sum"),
                1,
                f"The {name} function crashed or exceeded its time-out of {timeout_seconds} s.",
                f"its log at that minute. {after_crash}",
            )
            self._alarm_on_events(
                f"{title}Throttles",
                of_function(function, "Throttles", "Sum"),
                1,
                f"Lambda throttled the {name} function.",
                "the account's limit of concurrent executions, and which functions use it.",
            )
            self._alarm_on_events(
                f"{title}Slow",
                of_function(function, "Duration", "Maximum"),
                round(NEAR_TIMEOUT * 1000 * timeout_seconds),
                f"The {name} function has been close to its time-out of {timeout_seconds} s for 15 "
                "minutes.",
                when_slow,
                periods=3,
            )

    def _alarm_on_events(
        self,
        name: str,
        metric: cloudwatch.Metric,
        threshold: float,
        what: str,
        look_first: str,
        *,
        periods: int = 1,
        notify_end: bool = False,
    ) -> None:
        """Create an alarm on a metric that has data only for events: no data counts as zero.

        If a period has no data, CloudWatch looks back further than `periods`. Without the zeros,
        the alarm would last as long as CloudWatch finds the last value.
        """
        short = metric.period.to_minutes() < LONGEST_WAIT_MINUTES
        self._alarm(
            name,
            filled(metric, 0),
            threshold,
            what,
            look_first,
            periods=periods,
            late=_LATE if short else 0,
            notify_end=notify_end,
        )

    def _alarm(  # noqa: PLR0913  (an alarm has as many sides)
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        what: str,
        look_first: str,
        *,
        periods: int = 1,
        late: int = 0,
        comparison: cloudwatch.ComparisonOperator = _REACHED,
        missing: cloudwatch.TreatMissingData = _NOTHING_HAPPENED,
        notify_end: bool = False,
    ) -> None:
        """Create an alarm on a threshold in `periods` of the last `periods + late` periods.

        `notify_end` also sends a notification when the alarm ends: for outages, not for events.
        """
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._settings.stack_prefix}-{name}",
            alarm_description=f"{what} Look first at {look_first} More: docs/operations.md, {name}",
            metric=metric,
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=periods + late,
            datapoints_to_alarm=periods if late else None,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        if notify_end:
            alarm.add_ok_action(self._action)
        self._alarms.append(alarm)
