"""SNS: topics, their policies and their subscriptions."""

import json
from typing import Literal

from local.executor.resource import (
    Context,
    Created,
    PolicyDocument,
    Properties,
    ResourceType,
)


class Topic(Properties):
    """AWS::SNS::Topic, the standard kind."""

    display_name: str | None = None
    kms_master_key_id: str | None = None
    topic_name: str | None = None


class TopicPolicy(Properties):
    """AWS::SNS::TopicPolicy."""

    policy_document: PolicyDocument
    topics: tuple[str, ...]


class Subscription(Properties):
    """AWS::SNS::Subscription of a person or a program."""

    endpoint: str
    protocol: Literal["email", "https", "lambda", "sqs"]
    topic_arn: str


def create_topic(properties: Topic, context: Context) -> Created:
    """Create a topic."""
    name = properties.topic_name or context.name(256)
    attributes = {
        "DisplayName": properties.display_name,
        "KmsMasterKeyId": properties.kms_master_key_id,
    }
    arn = context.backend.client("sns").create_topic(
        Name=name, Attributes={key: value for key, value in attributes.items() if value}
    )["TopicArn"]
    return Created(arn, {"TopicArn": arn, "TopicName": name})


def create_topic_policy(properties: TopicPolicy, context: Context) -> Created:
    """Attach a policy to topics."""
    for arn in properties.topics:
        context.backend.client("sns").set_topic_attributes(
            TopicArn=arn,
            AttributeName="Policy",
            AttributeValue=json.dumps(properties.policy_document),
        )
    return Created(context.name(255))


def create_subscription(properties: Subscription, context: Context) -> Created:
    """Subscribe an endpoint to a topic."""
    arn = context.backend.client("sns").subscribe(
        TopicArn=properties.topic_arn,
        Protocol=properties.protocol,
        Endpoint=properties.endpoint,
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]
    return Created(arn)


RESOURCE_TYPES = (
    ResourceType("AWS::SNS::Topic", Topic, create_topic),
    ResourceType("AWS::SNS::TopicPolicy", TopicPolicy, create_topic_policy),
    ResourceType("AWS::SNS::Subscription", Subscription, create_subscription),
)
