"""A queue that a function consumes, and the dead-letter queue behind it."""

from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_sqs as sqs

from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS
from stacks.settings import SPARE_RECEIVES, VISIBILITY_PER_TIMEOUT, DeploymentSettings


@dataclass(frozen=True)
class QueuePair:
    """A queue that a function consumes, and where its messages end that cannot."""

    queue: sqs.Queue
    dead_letters: sqs.Queue


def queue_pair(
    stack: Stack, name: str, *, settings: DeploymentSettings, consumer_timeout_seconds: int
) -> QueuePair:
    """Make `{name}Queue` and `{name}DeadLetterQueue`.

    A message that is not ended comes back after some of the consumer's time-outs.
    """
    removal_policy = RemovalPolicy[settings.removal_policy.upper()]
    dead_letters = sqs.Queue(
        stack,
        f"{name}DeadLetterQueue",
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(SQS_MAXIMUM_RETENTION_DAYS),
        removal_policy=removal_policy,
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
        removal_policy=removal_policy,
    )
    return QueuePair(queue, dead_letters)
