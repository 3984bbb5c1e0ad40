"""What stands round the webhook's function: its role, its route and what is written down of it."""

import json
from collections.abc import Mapping
from typing import Any

from reportflow.aws import PROMPT_SECONDS
from stacks.setting_types import bounds
from stacks.settings import DeploymentSettings
from tests.stacks.template import Properties, Template, reference, references


def webhook(template: Template) -> Properties:
    (function,) = (
        function
        for function in template.of_type("AWS::Lambda::Function").values()
        if function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "webhook"
    )
    return function


def environment(function: Properties) -> Mapping[str, Any]:
    variables: Mapping[str, Any] = function["Environment"]["Variables"]
    return variables


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_webhook_may_send_to_one_queue_read_one_secret_and_log(pipeline: Template) -> None:
    function = webhook(pipeline)
    told = environment(function)
    role = pipeline.of_type("AWS::IAM::Role")[reference(function["Role"])]
    allowed = {
        (action, *references(statement["Resource"]))
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
    }
    log_group = reference(function["LoggingConfig"]["LogGroup"])
    assert allowed == {
        ("sqs:SendMessage", reference(told["DOWNLOAD_QUEUE_URL"])),
        ("secretsmanager:GetSecretValue", reference(told["SECRET_ARN"])),
        ("logs:CreateLogStream", log_group),
        ("logs:PutLogEvents", log_group),
    }


def test_only_lambda_takes_the_webhooks_role(pipeline: Template) -> None:
    role = pipeline.of_type("AWS::IAM::Role")[reference(webhook(pipeline)["Role"])]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_nothing_but_api_gateway_reaches_the_webhook(pipeline: Template) -> None:
    (api,) = pipeline.of_type("AWS::ApiGatewayV2::Api")
    for permission in pipeline.of_type("AWS::Lambda::Permission").values():
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert api in references(permission["SourceArn"])
    assert "AWS::Lambda::Url" not in {one["Type"] for one in pipeline.resources.values()}


def test_the_access_log_has_nothing_that_a_caller_or_api_gateway_words(pipeline: Template) -> None:
    """A path, a header or a message about either could carry the token."""
    stage = pipeline.one("AWS::ApiGatewayV2::Stage")
    entry = json.loads(stage["AccessLogSettings"]["Format"])
    free = ("path", "uri", "message", "header", "useragent", "query", "customdomain")
    own = "$context.integrationErrorMessage"  # Lambda's word about the function, not the request.
    assert not [
        variable
        for variable in entry.values()
        if variable != own and any(word in variable.lower() for word in free)
    ]


def test_the_token_stands_in_no_template(storage: Template, pipeline: Template) -> None:
    """CloudFormation makes it, and nothing resolves it into a property or an output."""
    for template in (storage, pipeline):
        text = json.dumps(template.document)
        assert "{{resolve:" not in text
        for output in template.document["Outputs"].values():
            assert "token" not in json.dumps(output["Value"]).lower()


def test_no_deployment_gives_the_webhook_less_time_than_its_calls_need(pipeline: Template) -> None:
    shortest, _ = bounds(DeploymentSettings.model_fields["webhook_timeout_seconds"])
    assert shortest > PROMPT_SECONDS
    assert webhook(pipeline)["Timeout"] > PROMPT_SECONDS


def test_signatures_are_off_unless_the_deployment_says_otherwise(
    pipeline: Template, changed_pipeline: Template
) -> None:
    assert environment(webhook(pipeline))["WEBHOOK_SIGNATURE"] == "off"
    assert environment(webhook(changed_pipeline))["WEBHOOK_SIGNATURE"] == "required"
