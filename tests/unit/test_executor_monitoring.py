"""What watches the pipeline, created on both backends as the template says."""

import json
from typing import Any

import pytest

from local.backend import Backend, BackendKind
from local.executor import UnsupportedTemplateError
from tests.conftest import Backends
from tests.unit.small_templates import deploy_resources

KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
        }
    ],
}


@pytest.fixture(scope="module", params=list(BackendKind))
def backend(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    return backends(request.param)


def topic(**properties: object) -> dict[str, Any]:
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


def alarm(**properties: object) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "EvaluationPeriods": 2,
            "MetricName": "ApproximateNumberOfMessagesVisible",
            "Namespace": "AWS/SQS",
            "Period": 60,
            "Statistic": "Maximum",
            "Threshold": 1.5,
            **properties,
        },
    }


def test_an_alarm_on_a_metric_is_as_the_template_says(backend: Backend) -> None:
    properties = {
        "AlarmDescription": "what to look at first",
        "Dimensions": [{"Name": "QueueName", "Value": "orders"}],
        "TreatMissingData": "ignore",
    }
    _, outputs = deploy_resources(
        backend,
        {
            "Topic": topic(),
            "Alarm": alarm(
                **properties,
                AlarmName="own-name",
                AlarmActions=[{"Ref": "Topic"}],
                OKActions=[{"Ref": "Topic"}],
            ),
        },
        Name={"Ref": "Alarm"},
        Arn={"Fn::GetAtt": ["Alarm", "Arn"]},
        Topic={"Ref": "Topic"},
    )
    assert outputs["Name"] == "own-name"
    described = backend.client("cloudwatch").describe_alarms(AlarmNames=["own-name"])
    (made,) = described["MetricAlarms"]
    assert made["AlarmArn"] == outputs["Arn"]
    assert {name: dict(made).get(name) for name in properties} == properties
    assert (made["MetricName"], made["Namespace"]) == (
        "ApproximateNumberOfMessagesVisible",
        "AWS/SQS",
    )
    assert (made["Period"], made["Statistic"]) == (60, "Maximum")
    assert (made["EvaluationPeriods"], made["Threshold"]) == (2, 1.5)
    assert made["AlarmActions"] == made["OKActions"] == [outputs["Topic"]]


def test_a_property_of_an_alarm_that_nobody_applies_is_refused(backend: Backend) -> None:
    with pytest.raises(UnsupportedTemplateError, match="ThresholdMetricId"):
        deploy_resources(backend, {"Alarm": alarm(ThresholdMetricId="expr")})


def on_expression(expression: str) -> dict[str, Any]:
    properties = alarm(AlarmName="filled", DatapointsToAlarm=1)["Properties"]
    stat = {
        "Metric": {name: properties.pop(name) for name in ("MetricName", "Namespace")},
        "Period": properties.pop("Period"),
        "Stat": properties.pop("Statistic"),
    }
    metrics = [
        {"Id": "expr", "Expression": expression, "ReturnData": True},
        {"Id": "m", "MetricStat": stat, "ReturnData": False},
    ]
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {**properties, "Metrics": metrics}}


def test_an_alarm_on_an_expression_is_handed_to_the_runner(backend: Backend) -> None:
    resource = on_expression("FILL(m, 0)")
    deployment, _ = deploy_resources(backend, {"Alarm": resource})
    assert deployment.alarms == {"filled": resource["Properties"]}
    described = backend.client("cloudwatch").describe_alarms(AlarmNames=["filled"])
    assert [made["DatapointsToAlarm"] for made in described["MetricAlarms"]] == [1]


def test_metric_math_that_the_runner_cannot_calculate_is_refused(backend: Backend) -> None:
    with pytest.raises(UnsupportedTemplateError, match=r"Alarm .*RATE\(m\)"):
        deploy_resources(backend, {"Alarm": on_expression("RATE(m)")})


def test_a_dashboard_has_its_body(backend: Backend) -> None:
    body = {"widgets": [{"type": "text", "properties": {"markdown": "in words"}}]}
    _, outputs = deploy_resources(
        backend,
        {
            "Dashboard": {
                "Type": "AWS::CloudWatch::Dashboard",
                "Properties": {
                    "DashboardName": "at-a-glance",
                    "DashboardBody": {"Fn::Join": ["", [json.dumps(body)]]},
                },
            }
        },
        Name={"Ref": "Dashboard"},
    )
    made = backend.client("cloudwatch").get_dashboard(DashboardName=outputs["Name"])
    assert outputs["Name"] == "at-a-glance"
    assert json.loads(made["DashboardBody"]) == body


def test_a_topic_is_encrypted_guarded_and_sent_on(backend: Backend) -> None:
    publish = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": {"Ref": "Topic"},
    }
    _, outputs = deploy_resources(
        backend,
        {
            "Key": {
                "Type": "AWS::KMS::Key",
                "Properties": {
                    "Description": "what it is for",
                    "EnableKeyRotation": True,
                    "KeyPolicy": KEY_POLICY,
                },
            },
            "Topic": topic(KmsMasterKeyId={"Fn::GetAtt": ["Key", "Arn"]}, DisplayName="Alarms"),
            "Policy": {
                "Type": "AWS::SNS::TopicPolicy",
                "Properties": {
                    "Topics": [{"Ref": "Topic"}],
                    "PolicyDocument": {"Version": "2012-10-17", "Statement": [publish]},
                },
            },
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "TopicArn": {"Ref": "Topic"},
                    "Protocol": "email",
                    "Endpoint": "night-shift@example.com",
                },
            },
        },
        Topic={"Ref": "Topic"},
        Key={"Ref": "Key"},
        KeyArn={"Fn::GetAtt": ["Key", "Arn"]},
    )
    sns, kms = backend.client("sns"), backend.client("kms")
    attributes = sns.get_topic_attributes(TopicArn=outputs["Topic"])["Attributes"]
    assert attributes["KmsMasterKeyId"] == outputs["KeyArn"]
    assert attributes["DisplayName"] == "Alarms"
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement == {**publish, "Resource": outputs["Topic"]}
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=outputs["Topic"])["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == (
        "email",
        "night-shift@example.com",
    )
    described = kms.describe_key(KeyId=outputs["Key"])["KeyMetadata"]
    assert (described["Arn"], described["Description"]) == (outputs["KeyArn"], "what it is for")
    assert kms.get_key_rotation_status(KeyId=outputs["Key"])["KeyRotationEnabled"] is True
    policy = kms.get_key_policy(KeyId=outputs["Key"], PolicyName="default")["Policy"]
    assert json.loads(policy) == KEY_POLICY
