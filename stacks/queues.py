"""Creates the queues, their dead-letter queues, and the permissions to send to a queue."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS
from stacks.removal import removal_policy
from stacks.settings import SPARE_RECEIVES, VISIBILITY_PER_TIMEOUT, DeploymentSettings


@dataclass(frozen=True)
class QueuePair:
    """A queue that a function consumes, and its dead-letter queue."""

    queue: sqs.Queue
    dead_letters: sqs.Queue


def queue_pair(
    stack: Stack, name: str, *, settings: DeploymentSettings, consumer_timeout_seconds: int
) -> QueuePair:
    """Create `{name}Queue` and `{name}DeadLetterQueue`.

    The visibility timeout is a multiple of the consumer's time-out.
    """
    removal = removal_policy(settings)
    dead_letters = sqs.Queue(
        stack,
        f"{name}DeadLetterQueue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(SQS_MAXIMUM_RETENTION_DAYS),
        removal_policy=removal,
    )
    queue = sqs.Queue(
        stack,
        f"{name}Queue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=Duration.seconds(VISIBILITY_PER_TIMEOUT * consumer_timeout_seconds),
        retention_period=Duration.days(settings.message_retention_days),
        dead_letter_queue=sqs.DeadLetterQueue(
            queue=dead_letters,
            max_receive_count=settings.max_receive_count + SPARE_RECEIVES,
        ),
        removal_policy=removal,
    )
    return QueuePair(queue, dead_letters)


def allow_senders(queue: sqs.Queue, senders: Sequence[str]) -> None:
    """Allow accounts, roles, users, SNS topics and EventBridge rules to send to the queue."""
    for sender in senders:
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                principals=[_principal(sender)],
            )
        )


def _principal(sender: str) -> iam.IPrincipal:
    if sender.isdigit():
        return iam.AccountPrincipal(sender)
    service = sender.split(":")[2]
    if service == "iam":
        return iam.ArnPrincipal(sender)
    # Without the condition, every topic or rule of every account could send.
    return iam.ServicePrincipal(
        f"{service}.amazonaws.com", conditions={"ArnEquals": {"aws:SourceArn": sender}}
    )
