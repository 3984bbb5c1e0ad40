"""What is watched: an alarm for each thing that a person has to hear of, and one dashboard."""

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
    filled,
    of_function,
    server_errors,
    untaken,
    waiting,
)
from stacks.pipeline import PipelineStack
from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS
from stacks.settings import DeploymentSettings

LONGEST_WAIT_MINUTES = 60
"""A message that is tried again comes back within an hour. An alarm on what is only known when it
comes looks back as far, or it would end and begin again with every try."""

SILENCE_MINUTES = 15
LOSS_MINUTES = 6 * 60
HOUR_MINUTES = 60

DAYS_LEFT_LYING = 7
"""The longest that an alarm can look back; a dead letter is deleted after twice that."""

BURST_OF_FAILURES = 10
NEAR_TIMEOUT = 0.9

_REACHED = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD

_NOTHING_HAPPENED = cloudwatch.TreatMissingData.NOT_BREACHING
"""For a metric that never had any data, in which there is nothing to fill in."""

_AS_BEFORE = cloudwatch.TreatMissingData.IGNORE
"""SQS falls silent about a queue that nobody has touched for hours, whatever lies on it."""

_LATE: Final = 1
"""Periods that the data of a short period may be late. Until it is there, `FILL` has a zero for it,
which would end an alarm too early or keep it from beginning."""

_OF_QUEUES: Final = (
    "Its messages come again by themselves.",
    "how long ReportFlow takes to answer, then batch size and time-out.",
)
_ADVICE: Final = {
    "submitter": _OF_QUEUES,
    "downloader": _OF_QUEUES,
    "webhook": (
        "The check finds the PDF that it was about, only later.",
        "how long SQS and Secrets Manager take, then memory and time-out.",
    ),
}
"""By function: what becomes of its work when it crashes, and what to look at when it is slow."""


class MonitoringStack(Stack):
    """Alarms, where they are sent, and the dashboard."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        pipeline: PipelineStack,
    ) -> None:
        super().__init__(scope, construct_id, description="ReportFlow pipeline: what is watched")
        self._settings = settings
        self._own = OwnMetrics(settings.stack_prefix)
        self._topic = self._alarm_topic()
        self._action = SnsAction(self._topic)
        self._alarms: list[cloudwatch.Alarm] = []
        self._watch_jobs(pipeline)
        self._watch_reportflow()
        self._watch_webhooks(pipeline)
        self._watch_functions(pipeline)
        shown = dashboard(
            self, settings=settings, own=self._own, pipeline=pipeline, alarms=self._alarms
        )
        CfnOutput(self, "AlarmTopicArn", value=self._topic.topic_arn)
        CfnOutput(self, "DashboardName", value=shown.dashboard_name)

    def _alarm_topic(self) -> sns.Topic:
        # A key of our own: CloudWatch may not use the one that AWS keeps for SNS.
        key = kms.Key(
            self,
            "AlarmKey",
            description="Encrypts the alarms on their way through SNS",
            enable_key_rotation=True,
            # Alarms are not kept, so nothing can ever need it again.
            removal_policy=RemovalPolicy.DESTROY,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                # Without a condition, as AWS documents it: SNS asks here, for the alarm.
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
            )
        )
        topic = sns.Topic(self, "AlarmTopic", master_key=key, enforce_ssl=True)
        # The policy that refuses plain http replaces the one that lets the account's alarms in.
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
            self._alarm(
                f"{name}DeadLetters",
                waiting(pair.dead_letters),
                1,
                f"A message has ended in the {name.lower()}s' dead-letter queue.",
                "`python -m cli dlq explain`: each one's reason and what to do about it.",
                missing=_AS_BEFORE,
            )
            # A letter left lying keeps that alarm red, and whatever comes later tells nobody.
            self._alarm_on_events(
                f"New{name}DeadLetters",
                self._own.of(failed[name]),
                BURST_OF_FAILURES,
                f"{BURST_OF_FAILURES} or more {name.lower()}s have failed within five minutes.",
                "`python -m cli dlq explain`: most have failed for the same reason.",
            )
            # Not the age of the oldest: SQS leaves out of it what was looked at three times.
            self._alarm(
                f"Old{name}DeadLetters",
                # In hours: on the day on which the queue is emptied there were messages, too, and
                # SQS is silent on the next.
                filled(waiting(pair.dead_letters, minutes=HOUR_MINUTES), "REPEAT"),
                1,
                f"The {name.lower()}s' dead-letter queue has not been empty for {DAYS_LEFT_LYING} "
                f"days. SQS deletes its messages after {SQS_MAXIMUM_RETENTION_DAYS}.",
                "`python -m cli dlq explain`: the oldest of each reason, and what to do about it.",
                periods=DAYS_LEFT_LYING * 24,
            )
            self._alarm_on_events(
                f"{name}sUnfinished",
                self._own.of(unfinished[name], "Maximum", minutes=LONGEST_WAIT_MINUTES),
                self._settings.unfinished_alarm_seconds,
                f"A message of the {name.lower()}s' queue has been tried for too long.",
                "what it waits for: `python -m cli doctor` and the dashboard tell it by its code.",
                tell_end=True,
            )
            self._alarm(
                f"{name}sNotTaken",
                untaken(pair.queue),
                self._settings.unfinished_alarm_seconds,
                f"A message of the {name.lower()}s' queue has hardly been tried at all.",
                "whether the function's event source is enabled, then its Errors and Throttles.",
                missing=_AS_BEFORE,
                tell_end=True,
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
                f"ReportFlow refuses the {name}'s keys. Its jobs wait, none is lost.",
                "`python -m cli doctor`, then the keys in ReportFlow's settings and in the secret.",
                tell_end=True,
            )
        self._alarm_on_events(
            "PossibleDuplicates",
            self._own.of(SubmitterMetric.POSSIBLE_DUPLICATES),
            1,
            "A job was submitted again without knowing what became of the first time: ReportFlow "
            "may have made, and billed, its PDF twice.",
            "possibleDuplicates on the job in the table, then ReportFlow's list of files.",
        )

    def _watch_webhooks(self, pipeline: PipelineStack) -> None:
        self._alarm_on_events(
            "WebhooksRefused",
            self._own.of(WebhookMetric.REFUSED),
            self._settings.refused_webhooks_alarm,
            "Webhooks are refused: somebody forges them, or ReportFlow has another URL than ours.",
            "the reason in the webhook's log, then the URL in ReportFlow's settings.",
        )
        self._alarm(
            "WebhooksMissing",
            # The submitter counts a zero here for each job. In a period without any data none was
            # due, which is as good as one that came.
            filled(self._own.of(WebhookMetric.RECEIVED, minutes=SILENCE_MINUTES), 1),
            1,
            "Jobs are submitted and no webhook comes. The checks find the PDFs, only later.",
            "`python -m cli doctor`, then the webhook's URL in ReportFlow's settings.",
            # What is submitted at the end of one period has its webhook in the next.
            periods=2,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            tell_end=True,
        )
        self._alarm_on_events(
            "WebhooksLost",
            self._own.of(DownloaderMetric.LOST_WEBHOOKS, minutes=LOSS_MINUTES),
            self._settings.lost_webhooks_alarm,
            "PDFs were found by the check: their webhooks never came, or late.",
            "WebhooksRefused, WebhooksNotStored and the 4xx on the dashboard; if no webhook comes, "
            "its URL in ReportFlow's settings.",
        )
        self._alarm_on_events(
            "WebhooksNotStored",
            self._own.of(WebhookMetric.NOT_STORED),
            1,
            "A webhook was genuine and could not be queued. The check finds its PDF, only later.",
            "the error code in the webhook's log: SQS or Secrets Manager refused.",
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
                f"The {name} crashed or ran into its time-out of {timeout_seconds} s.",
                f"its log at that minute. {after_crash}",
            )
            self._alarm_on_events(
                f"{title}Throttles",
                of_function(function, "Throttles", "Sum"),
                1,
                f"Lambda had no room to run the {name}.",
                "the account's limit of concurrent executions, and who else uses it.",
            )
            self._alarm_on_events(
                f"{title}Slow",
                of_function(function, "Duration", "Maximum"),
                round(NEAR_TIMEOUT * 1000 * timeout_seconds),
                f"The {name} has been near its time-out of {timeout_seconds} s for 15 minutes.",
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
        tell_end: bool = False,
    ) -> None:
        """Alarm people of what has data only when it happens: the rest of the time counts as zero.

        CloudWatch looks back further than `periods` when some of these have no data. Without the
        zeros, the alarm would go on for as long as that finds the last value.
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
            tell_end=tell_end,
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
        tell_end: bool = False,
    ) -> None:
        """Tell people when a metric is at its threshold in `periods` of its last `periods + late`.

        They hear of the end only where somebody waits for it: an outage, not a single event.
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
        if tell_end:
            alarm.add_ok_action(self._action)
        self._alarms.append(alarm)
