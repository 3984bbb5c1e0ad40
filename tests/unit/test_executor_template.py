from collections.abc import Mapping
from typing import Any

import pytest

from local.backend import Backend
from local.executor import ExecutionError, UnsupportedTemplateError
from tests.unit.small_templates import deploy_resources, deploy_stacks, queue, stack

REDRIVE = {"deadLetterTargetArn": "arn", "maxReceiveCount": 1}
JOIN_NUMBER = {"Fn::Join": ["-", ["a", 1, {"Ref": "AWS::Region"}]]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("as it is", "as it is"),
        ({"Fn::GetAtt": ["Q", "QueueName"]}, "own-name"),
        ({"Fn::GetAtt": "Q.QueueName"}, "own-name"),
        (JOIN_NUMBER, "a-1-{region}"),
        ({"Fn::Join": ["", [{"Fn::GetAtt": ["Q", "QueueName"]}, "/*"]]}, "own-name/*"),
        ({"Fn::Sub": "${Q.QueueName}!"}, "own-name!"),
        ({"Fn::Sub": ["${V}-${Q.QueueName}", {"V": {"Ref": "AWS::Region"}}]}, "{region}-own-name"),
        ({"Fn::Sub": "${!Q} ${AWS::AccountId}"}, "${Q} {account}"),
        ({"Fn::Sub": "${AWS::Partition}.${AWS::URLSuffix}"}, "aws.amazonaws.com"),
    ],
    ids=repr,
)
def test_intrinsics_become_what_they_stand_for(aws: Backend, value: object, expected: str) -> None:
    deployment, outputs = deploy_resources(
        aws, {"Q": queue(QueueName="own-name")}, Url={"Ref": "Q"}, Tested=value
    )
    assert outputs["Url"].endswith("/own-name")
    expected = expected.replace("{region}", deployment.region)
    assert outputs["Tested"] == expected.replace("{account}", deployment.account)


def test_an_export_reaches_the_stacks_that_follow(aws: Backend) -> None:
    exporting = stack(
        {"Q": queue(QueueName="exported")},
        outputs={
            "Name": {
                "Value": {"Fn::GetAtt": ["Q", "QueueName"]},
                "Export": {"Name": {"Fn::Sub": "${AWS::StackName}:name"}},
            }
        },
    )
    importing = stack(
        {}, outputs={"Imported": {"Value": {"Fn::ImportValue": f"{exporting.name}:name"}}}
    )
    outputs = deploy_stacks(aws, exporting, importing).outputs
    assert outputs[importing.name]["Imported"] == "exported"
    with pytest.raises(UnsupportedTemplateError, match=f"no stack .* exports {exporting.name}"):
        deploy_stacks(aws, importing)


def test_a_property_without_value_is_as_if_it_were_not_there(aws: Backend) -> None:
    _, outputs = deploy_resources(
        aws, {"Q": queue(DelaySeconds={"Ref": "AWS::NoValue"})}, Url={"Ref": "Q"}
    )
    attributes = aws.client("sqs").get_queue_attributes(
        QueueUrl=outputs["Url"], AttributeNames=["DelaySeconds"]
    )["Attributes"]
    assert attributes["DelaySeconds"] == "0"


def test_resources_come_after_those_they_need_however_they_are_written(aws: Backend) -> None:
    _, outputs = deploy_resources(
        aws,
        {
            "Source": queue(
                RedrivePolicy={
                    "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                    "maxReceiveCount": 3,
                }
            ),
            "Dead": {**queue(), "DependsOn": "First"},
            "First": queue(),
        },
        Source={"Ref": "Source"},
        Dead={"Fn::GetAtt": ["Dead", "Arn"]},
        Parts={"Fn::Sub": "${Source} ${Dead} ${First}"},
    )
    source, dead, first = outputs["Parts"].split()
    created = {
        url: float(
            aws.client("sqs").get_queue_attributes(
                QueueUrl=url, AttributeNames=["CreatedTimestamp"]
            )["Attributes"]["CreatedTimestamp"]
        )
        for url in (source, dead, first)
    }
    assert created[first] <= created[dead] <= created[source]


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        ({"X": {"Type": "AWS::CDK::Metadata"}}, r"X \(AWS::CDK::Metadata\): unknown resource type"),
        ({"X": queue(FifoQueue=True)}, r"X \(AWS::SQS::Queue\): .*FifoQueue"),
        (
            {"X": queue(RedrivePolicy={**REDRIVE, "nested": 1})},
            r"X .*unknown field `nested`.*RedrivePolicy",
        ),
        ({"X": queue(RedrivePolicy={"maxReceiveCount": 1})}, "X .*deadLetterTargetArn"),
        ({"X": queue(VisibilityTimeout="30")}, "X .*VisibilityTimeout"),
        ({"X": queue(QueueName={"Fn::Base64": "x"})}, "X .*unknown intrinsic Fn::Base64"),
        ({"X": queue(QueueName={"Fn::Join": "x"})}, "X .*unknown intrinsic Fn::Join of 'x'"),
        ({"X": queue(QueueName={"Ref": "Y"})}, "X .*Ref of Y"),
        ({"X": queue(QueueName={"Fn::Sub": "${Y.Arn}"})}, "X .*Ref of Y"),
        ({"X": queue(QueueName={"Ref": "AWS::StackId"})}, "X .*AWS::StackId"),
        ({"X": queue(QueueName={"Ref": "X2", "More": 1}), "X2": queue()}, "X .*Ref with keys"),
        ({"X": {**queue(), "DependsOn": ["Y"]}}, "X .*depends on Y"),
        ({"X": {**queue(), "Condition": "C"}}, "X .*unknown Condition"),
        ({"X": {**queue(), "DependsOn": ["X2"]}, "X2": {**queue(), "DependsOn": "X"}}, "X2? → X"),
    ],
    ids=repr,
)
def test_what_is_unknown_is_refused_by_name(
    aws: Backend, resources: Mapping[str, Any], complaint: str
) -> None:
    refused = stack(resources)
    with pytest.raises(UnsupportedTemplateError, match=complaint) as error:
        deploy_stacks(aws, refused)
    assert refused.name in str(error.value)


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"Conditions": {"C": True}}, "unknown section Conditions"),
        ({"Parameters": {"Mine": {}}}, "unknown entry Mine in section Parameters"),
        ({"outputs": {"O": {"Value": {"Fn::Split": ["", ""]}}}}, "output O: .*Fn::Split"),
        ({"outputs": {"O": {"Value": {"Ref": "Y"}}}}, "output O: .*Y"),
        ({"outputs": {"O": {"Value": {"Ref": "AWS::NoValue"}}}}, "output O: .*not a text"),
        ({"outputs": {"O": {"Value": "", "Condition": "C"}}}, "output O: unknown Condition"),
    ],
    ids=repr,
)
def test_unknown_parts_of_a_template_are_refused(
    aws: Backend, sections: Mapping[str, Any], complaint: str
) -> None:
    with pytest.raises(UnsupportedTemplateError, match=complaint):
        deploy_stacks(aws, stack({}, **sections))


def test_what_the_cdk_adds_for_its_bootstrap_is_no_part_of_the_deployment(aws: Backend) -> None:
    added = stack(
        {},
        outputs={"Region": {"Value": {"Ref": "AWS::Region"}}},
        Parameters={"BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>"}},
        Rules={"CheckBootstrapVersion": {"Assertions": []}},
    )
    assert deploy_stacks(aws, added).outputs[added.name] == {"Region": aws.region}


def test_a_refusal_lists_everything_and_creates_nothing(aws: Backend) -> None:
    stacks = (
        stack({"Good": queue(), "Bad": queue(Nope=1), "Worse": {"Type": "AWS::No::Such"}}),
        stack({"Other": queue(RedrivePolicy={"nope": 1})}),
    )
    with pytest.raises(UnsupportedTemplateError) as refused:
        deploy_stacks(aws, *stacks)
    for part in ("Bad", "Nope", "Worse", "AWS::No::Such", "Other", stacks[0].name, stacks[1].name):
        assert part in str(refused.value)
    assert not aws.client("sqs").list_queues(QueueNamePrefix=stacks[0].name).get("QueueUrls")


def test_an_unknown_attribute_is_refused_by_name(aws: Backend) -> None:
    resources = {"Q": queue(), "P": queue(QueueName={"Fn::GetAtt": ["Q", "Nope"]})}
    with pytest.raises(UnsupportedTemplateError, match=r"P .*Nope of Q"):
        deploy_resources(aws, resources)


def test_what_the_backend_refuses_is_reported_with_the_resource(aws: Backend) -> None:
    with pytest.raises(ExecutionError, match=r"Q \(AWS::SQS::Queue\): .*[Ii]nvalid"):
        deploy_resources(aws, {"Q": queue(QueueName="not a queue's name")})
