"""SQS, SNS, EventBridge, KMS, CloudWatch Logs, Secrets Manager and IAM."""

import json
from typing import Any, Final, Literal

from local.executor.resource import Context, Created, Properties, ResourceType, many, shape

_POLICY: Final = dict[str, Any]
"""An IAM policy, which goes to the backend as it is."""


def _create_queue(properties: Properties, context: Context) -> Created:
    name = properties.pop("QueueName", None) or context.name(80)
    attributes = {key: json.dumps(value) for key, value in properties.items()}
    url = context.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return Created(url, {"Arn": context.arn("sqs", name), "QueueName": name, "QueueUrl": url})


def _create_queue_policy(properties: Properties, context: Context) -> Created:
    policy = json.dumps(properties["PolicyDocument"])
    for url in properties["Queues"]:
        context.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return Created(context.name(255))


def _create_topic(properties: Properties, context: Context) -> Created:
    name = properties.pop("TopicName", None) or context.name(256)
    arn = context.client("sns").create_topic(Name=name, Attributes=properties)["TopicArn"]
    return Created(arn, {"TopicArn": arn, "TopicName": name})


def _create_topic_policy(properties: Properties, context: Context) -> Created:
    policy = json.dumps(properties["PolicyDocument"])
    for arn in properties["Topics"]:
        context.client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=policy
        )
    return Created(context.name(255))


def _create_subscription(properties: Properties, context: Context) -> Created:
    answer = context.client("sns").subscribe(**properties, ReturnSubscriptionArn=True)
    return Created(answer["SubscriptionArn"])


def _create_event_bus(properties: Properties, context: Context) -> Created:
    arn = context.client("events").create_event_bus(**properties)["EventBusArn"]
    return Created(properties["Name"], {"Arn": arn, "Name": properties["Name"]})


def _create_key(properties: Properties, context: Context) -> Created:
    kms = context.client("kms")
    made = kms.create_key(
        Policy=json.dumps(properties["KeyPolicy"]), Description=properties.get("Description", "")
    )["KeyMetadata"]
    if properties.get("EnableKeyRotation"):
        kms.enable_key_rotation(KeyId=made["KeyId"])
    return Created(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]})


def _create_log_group(properties: Properties, context: Context) -> Created:
    logs = context.client("logs")
    name = properties.get("LogGroupName") or context.name(512)
    logs.create_log_group(logGroupName=name)
    if days := properties.get("RetentionInDays"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    return Created(name, {"Arn": context.arn("logs", f"log-group:{name}:*")})


def _create_secret(properties: Properties, context: Context) -> Created:
    """Create a secret whose password the backend makes."""
    client = context.client("secretsmanager")
    generate = properties["GenerateSecretString"]
    value = json.loads(generate.pop("SecretStringTemplate"))
    key = generate.pop("GenerateStringKey")
    value[key] = client.get_random_password(**generate)["RandomPassword"]
    arn = client.create_secret(
        Name=properties.get("Name") or context.name(512),
        Description=properties.get("Description", ""),
        SecretString=json.dumps(value),
    )["ARN"]
    return Created(arn, {"Id": arn})


def _create_role(properties: Properties, context: Context) -> Created:
    iam = context.client("iam")
    name = properties.get("RoleName") or context.name(64)
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(properties["AssumeRolePolicyDocument"]),
        Description=properties.get("Description", ""),
    )["Role"]
    for arn in properties.get("ManagedPolicyArns", []):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in properties.get("Policies", []):
        _put_role_policy(name, policy, context)
    return Created(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def _create_policy(properties: Properties, context: Context) -> Created:
    for role in properties["Roles"]:
        _put_role_policy(role, properties, context)
    return Created(context.name(128))


def _put_role_policy(role: str, policy: Properties, context: Context) -> None:
    context.client("iam").put_role_policy(
        RoleName=role,
        PolicyName=policy["PolicyName"],
        PolicyDocument=json.dumps(policy["PolicyDocument"]),
    )


RESOURCE_TYPES: Final = (
    ResourceType(
        "AWS::SQS::Queue",
        shape(
            QueueName=str,
            DelaySeconds=int,
            MaximumMessageSize=int,
            MessageRetentionPeriod=int,
            ReceiveMessageWaitTimeSeconds=int,
            RedrivePolicy=shape({"deadLetterTargetArn": str, "maxReceiveCount": int}),
            SqsManagedSseEnabled=bool,
            VisibilityTimeout=int,
        ),
        _create_queue,
    ),
    ResourceType(
        "AWS::SQS::QueuePolicy",
        shape({"Queues": many(str), "PolicyDocument": _POLICY}),
        _create_queue_policy,
    ),
    ResourceType(
        "AWS::SNS::Topic",
        shape(DisplayName=str, KmsMasterKeyId=str, TopicName=str),
        _create_topic,
    ),
    ResourceType(
        "AWS::SNS::TopicPolicy",
        shape({"Topics": many(str), "PolicyDocument": _POLICY}),
        _create_topic_policy,
    ),
    ResourceType(
        "AWS::SNS::Subscription",
        shape(
            {
                "Endpoint": str,
                "Protocol": Literal["email", "https", "lambda", "sqs"],
                "TopicArn": str,
            }
        ),
        _create_subscription,
    ),
    ResourceType("AWS::Events::EventBus", shape({"Name": str}), _create_event_bus),
    ResourceType(
        "AWS::KMS::Key",
        shape({"KeyPolicy": _POLICY}, Description=str, EnableKeyRotation=bool),
        _create_key,
    ),
    ResourceType(
        "AWS::Logs::LogGroup", shape(LogGroupName=str, RetentionInDays=int), _create_log_group
    ),
    ResourceType(
        "AWS::SecretsManager::Secret",
        shape(
            {
                "GenerateSecretString": shape(
                    {"SecretStringTemplate": str, "GenerateStringKey": str},
                    ExcludeCharacters=str,
                    ExcludePunctuation=bool,
                    PasswordLength=int,
                )
            },
            Description=str,
            Name=str,
        ),
        _create_secret,
    ),
    ResourceType(
        "AWS::IAM::Role",
        shape(
            {"AssumeRolePolicyDocument": _POLICY},
            Description=str,
            ManagedPolicyArns=many(str),
            Policies=many(shape({"PolicyName": str, "PolicyDocument": _POLICY})),
            RoleName=str,
        ),
        _create_role,
    ),
    ResourceType(
        "AWS::IAM::Policy",
        shape({"PolicyName": str, "PolicyDocument": _POLICY, "Roles": many(str)}),
        _create_policy,
    ),
)
