"""SQS: queues and their policies."""

import json
from typing import Any, cast

from local.executor.resource import (
    Context,
    Created,
    PolicyDocument,
    Properties,
    ResourceType,
    to_api,
)


class RedrivePolicy(Properties, rename="camel"):
    """Where a message goes that was received too often."""

    dead_letter_target_arn: str
    max_receive_count: int


class Queue(Properties):
    """AWS::SQS::Queue, the standard kind. Times are in seconds, sizes in bytes."""

    queue_name: str | None = None
    delay_seconds: int | None = None
    maximum_message_size: int | None = None
    message_retention_period: int | None = None
    receive_message_wait_time_seconds: int | None = None
    redrive_policy: RedrivePolicy | None = None
    sqs_managed_sse_enabled: bool | None = None
    visibility_timeout: int | None = None


class QueuePolicy(Properties):
    """AWS::SQS::QueuePolicy."""

    queues: tuple[str, ...]
    policy_document: PolicyDocument


def create_queue(properties: Queue, context: Context) -> Created:
    """Create a queue; its attributes have the same names in SQS and in the template."""
    attributes = {key: json.dumps(value) for key, value in to_api(properties).items()}
    attributes.pop("QueueName", None)
    name = properties.queue_name or context.name(80)
    url = context.backend.client("sqs").create_queue(
        QueueName=name,
        Attributes=cast("Any", attributes),
    )["QueueUrl"]
    return Created(url, {"Arn": context.arn("sqs", name), "QueueName": name, "QueueUrl": url})


def create_queue_policy(properties: QueuePolicy, context: Context) -> Created:
    """Attach a policy to queues."""
    for url in properties.queues:
        context.backend.client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": json.dumps(properties.policy_document)}
        )
    return Created(context.name(255))


RESOURCE_TYPES = (
    ResourceType("AWS::SQS::Queue", Queue, create_queue),
    ResourceType("AWS::SQS::QueuePolicy", QueuePolicy, create_queue_policy),
)
