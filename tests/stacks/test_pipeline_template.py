import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import fields

from reportflow.settings import DownloaderSettings, SubmitterSettings, WebhookSettings
from stacks.packaging import REPOSITORY
from stacks.settings import DeploymentSettings
from tests.stacks.synthesis import CHANGED, DEFAULTS
from tests.stacks.template import (
    Properties,
    Template,
    called,
    reference,
    references,
    statements,
)

FUNCTION = "AWS::Lambda::Function"
SOURCE = "AWS::Lambda::EventSourceMapping"
QUEUE = "AWS::SQS::Queue"
ROLE = "AWS::IAM::Role"

OUTPUTS = {
    "storage": {"JobsTableName", "ArchiveBucketName", "EventBusName", "SecretArn"},
    "pipeline": {
        "RequestQueueUrl",
        "RequestQueueArn",
        "RequestDeadLetterQueueUrl",
        "DownloadQueueUrl",
        "DownloadDeadLetterQueueUrl",
        "WebhookBaseUrl",
        "SubmitterFunctionName",
        "SubmitterRoleArn",
        "WebhookFunctionName",
        "DownloaderFunctionName",
    },
}


def by_name(template: Template) -> dict[str, Properties]:
    """The functions by the name of their folder."""
    return {
        function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: function
        for function in template.of_type(FUNCTION).values()
    }


def environment(function: Properties) -> dict[str, Any]:
    """The function's variables beside the settings of Powertools."""
    variables: Mapping[str, Any] = function["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if not name.startswith("POWERTOOLS_")}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_function_folder_is_deployed(pipeline: Template) -> None:
    folders = {handler.parent.name for handler in REPOSITORY.glob("functions/*/handler.py")}
    assert by_name(pipeline).keys() == folders
    assert {function["Handler"] for function in by_name(pipeline).values()} == {"handler.handler"}


def test_functions_run_on_what_the_layers_are_built_for(pipeline: Template) -> None:
    layers = pipeline.of_type("AWS::Lambda::LayerVersion")
    for function in pipeline.of_type(FUNCTION).values():
        assert {reference(layer) for layer in function["Layers"]} == layers.keys()
        assert function["Architectures"] == ["arm64"]
        assert function["Runtime"] == "python3.13"
    for layer in layers.values():
        assert "arm64" in layer["CompatibleArchitectures"]
        assert layer["CompatibleRuntimes"] == ["python3.13"]


def test_only_the_vendor_layer_is_made_for_one_architecture(pipeline: Template) -> None:
    made_for = [
        set(layer["CompatibleArchitectures"])
        for layer in pipeline.of_type("AWS::Lambda::LayerVersion").values()
    ]
    assert sorted(made_for, key=len) == [{"arm64"}, {"arm64", "x86_64"}]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("submitter", SubmitterSettings),
        ("webhook", WebhookSettings),
        ("downloader", DownloaderSettings),
    ],
)
def test_a_function_gets_just_the_variables_that_it_reads(
    pipeline: Template,
    name: str,
    settings: type[SubmitterSettings | WebhookSettings | DownloaderSettings],
) -> None:
    read = {field.name.upper() for field in fields(settings)}
    assert environment(by_name(pipeline)[name]).keys() == read


def test_visibility_is_six_timeouts_of_the_consumer(pipeline: Template) -> None:
    functions = pipeline.of_type(FUNCTION)
    queues = pipeline.of_type(QUEUE)
    for source in pipeline.of_type(SOURCE).values():
        queue = queues[reference(source["EventSourceArn"])]
        timeout = functions[called(pipeline, source["FunctionName"])]["Timeout"]
        window = source.get("MaximumBatchingWindowInSeconds", 0)
        assert queue["VisibilityTimeout"] >= 6 * timeout + window


def test_a_consumed_queue_has_dead_letters_that_are_kept_as_long(pipeline: Template) -> None:
    queues = pipeline.of_type(QUEUE)
    for source in pipeline.of_type(SOURCE).values():
        queue = queues[reference(source["EventSourceArn"])]
        dead_letters = queues[reference(queue["RedrivePolicy"]["deadLetterTargetArn"])]
        assert dead_letters["MessageRetentionPeriod"] >= queue["MessageRetentionPeriod"]
        assert "RedrivePolicy" not in dead_letters


def test_queues_are_encrypted(pipeline: Template) -> None:
    assert all(queue["SqsManagedSseEnabled"] for queue in pipeline.of_type(QUEUE).values())


def test_one_bad_message_does_not_bring_its_batch_back(pipeline: Template) -> None:
    for source in pipeline.of_type(SOURCE).values():
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert source.get("Enabled", True) is True


def test_concurrency_is_limited_where_no_message_pays_for_it(pipeline: Template) -> None:
    for source in pipeline.of_type(SOURCE).values():
        assert source["ScalingConfig"]["MaximumConcurrency"] >= 2
    assert "ReservedConcurrentExecutions" not in json.dumps(pipeline.document)


def test_a_batch_of_the_largest_files_fits_on_disk(
    pipeline: Template, changed_pipeline: Template
) -> None:
    for template in (pipeline, changed_pipeline):
        functions = template.of_type(FUNCTION)
        checked = [
            functions[called(template, source["FunctionName"])]["EphemeralStorage"]["Size"]
            * 1024
            * 1024
            > source["BatchSize"] * int(variables["MAX_FILE_BYTES"])
            for source in template.of_type(SOURCE).values()
            if "MAX_FILE_BYTES"
            in (variables := environment(functions[called(template, source["FunctionName"])]))
        ]
        assert checked == [True]


def test_each_function_has_a_role_and_logs_of_its_own(pipeline: Template) -> None:
    functions = pipeline.of_type(FUNCTION).values()
    roles = {reference(function["Role"]) for function in functions}
    log_groups = {reference(function["LoggingConfig"]["LogGroup"]) for function in functions}
    assert roles == pipeline.of_type(ROLE).keys()
    assert len(roles) == len(log_groups) == len(functions)
    assert all(
        group["RetentionInDays"] for group in pipeline.of_type("AWS::Logs::LogGroup").values()
    )


def test_no_role_has_a_wildcard_or_a_policy_of_somebody_elses(pipeline: Template) -> None:
    for role in pipeline.of_type(ROLE).values():
        assert "ManagedPolicyArns" not in role
        for statement in statements(role):
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in as_list(statement["Action"]))
            assert "*" not in as_list(statement["Resource"])
    assert not any(
        resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for resource in pipeline.resources.values()
    )


def test_a_role_reaches_what_its_function_is_configured_with_and_nothing_else(
    pipeline: Template, storage: Template
) -> None:
    exports = storage.exports()
    roles = pipeline.of_type(ROLE)

    def resources(value: object) -> set[str]:
        return {exports.get(name, name) for name in references(value)}

    for function in pipeline.of_type(FUNCTION).values():
        allowed = statements(roles[reference(function["Role"])])
        reached = resources([statement["Resource"] for statement in allowed])
        told = resources(list(environment(function).values()))
        assert reached == told | {reference(function["LoggingConfig"]["LogGroup"])}


def test_a_function_may_send_to_the_queues_that_it_fills(pipeline: Template) -> None:
    roles = pipeline.of_type(ROLE)
    filled = {
        name: {
            reference(resource)
            for statement in statements(roles[reference(function["Role"])])
            if "sqs:SendMessage" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }
        for name, function in by_name(pipeline).items()
    }
    told = {name: environment(function) for name, function in by_name(pipeline).items()}
    downloads = reference(told["downloader"]["DOWNLOAD_QUEUE_URL"])
    assert filled == {
        "submitter": {downloads, reference(told["submitter"]["REQUEST_DLQ_URL"])},
        "webhook": {downloads},
        "downloader": {reference(told["downloader"]["DOWNLOAD_DLQ_URL"])},
    }


def test_payload_buckets_are_read_only_where_configured(
    pipeline: Template, changed_pipeline: Template
) -> None:
    def readable(template: Template) -> list[Any]:
        role = template.of_type(ROLE)[reference(by_name(template)["submitter"]["Role"])]
        return [
            resource["Fn::Join"][1][-1]
            for statement in statements(role)
            if any(action.startswith("s3:") for action in as_list(statement["Action"]))
            for resource in as_list(statement["Resource"])
        ]

    assert readable(pipeline) == []
    assert readable(changed_pipeline) == [
        ":s3:::acme-payloads/*",
        ":s3:::acme-more-payloads/*",
        ":s3:::acme-payloads",
        ":s3:::acme-more-payloads",
    ]


def test_keys_of_payload_buckets_decrypt_for_s3_only(
    pipeline: Template, changed_pipeline: Template
) -> None:
    def decrypting(template: Template) -> list[Mapping[str, Any]]:
        return [
            statement
            for role in template.of_type(ROLE).values()
            for statement in statements(role)
            if any(action.startswith("kms:") for action in as_list(statement["Action"]))
        ]

    assert decrypting(pipeline) == []
    # The key's region, wherever the deployment is.
    s3 = {"Fn::Join": ["", ["s3.eu-west-1.", {"Ref": "AWS::URLSuffix"}]]}
    (statement,) = decrypting(changed_pipeline)
    assert statement == {
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": "arn:aws:kms:eu-west-1:111122223333:key/1a2b-3c",
        "Condition": {"StringEquals": {"kms:ViaService": s3}},
    }


def test_only_named_senders_may_send_and_to_the_request_queue_only(
    pipeline: Template, changed_pipeline: Template
) -> None:
    def allowed(template: Template) -> list[Mapping[str, Any]]:
        return [
            statement
            for policy in template.of_type("AWS::SQS::QueuePolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
        ]

    assert allowed(pipeline) == []
    given = allowed(changed_pipeline)
    assert [statement["Principal"] for statement in given] == [
        {"AWS": {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":iam::444455556666:root"]]}},
        {"AWS": "arn:aws:iam::111122223333:role/apps/billing"},
        {"Service": "sns.amazonaws.com"},
        {"Service": "events.amazonaws.com"},
    ]
    assert {
        statement["Principal"]["Service"]: statement["Condition"]
        for statement in given
        if "Service" in statement["Principal"]
    } == {
        "sns.amazonaws.com": {
            "ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:111122223333:orders"}
        },
        "events.amazonaws.com": {
            "ArnEquals": {"aws:SourceArn": "arn:aws:events:us-east-1:111122223333:rule/shop/paid"}
        },
    }
    queue = reference(
        environment(by_name(changed_pipeline)["submitter"])["REQUEST_QUEUE_URL"],
    )
    assert {(statement["Action"], reference(statement["Resource"])) for statement in given} == {
        ("sqs:SendMessage", queue)
    }


def test_only_the_webhooks_route_is_open(pipeline: Template) -> None:
    routes = pipeline.of_type("AWS::ApiGatewayV2::Route").values()
    integration = pipeline.one("AWS::ApiGatewayV2::Integration")
    permissions = pipeline.of_type("AWS::Lambda::Permission").values()
    # A greedy variable also matches a URL with a slash at its end.
    assert {route["RouteKey"] for route in routes} == {
        f"{method} /webhooks/{{token+}}" for method in ("POST", "GET", "HEAD")
    }
    assert integration["PayloadFormatVersion"] == "2.0"
    functions = pipeline.of_type(FUNCTION)
    assert (
        functions[called(pipeline, integration["IntegrationUri"])] == by_name(pipeline)["webhook"]
    )
    for permission in permissions:
        assert (
            functions[called(pipeline, permission["FunctionName"])] == by_name(pipeline)["webhook"]
        )
        assert permission["SourceArn"]["Fn::Join"][1][-1].endswith("/webhooks/{token+}")
    assert "CorsConfiguration" not in pipeline.one("AWS::ApiGatewayV2::Api")


def test_the_access_log_never_holds_the_webhooks_secret(pipeline: Template) -> None:
    stage = pipeline.one("AWS::ApiGatewayV2::Stage")
    entry = json.loads(stage["AccessLogSettings"]["Format"])
    assert "$context.routeKey" in entry.values()
    assert not any("path" in variable.lower() for variable in entry.values())
    assert reference(stage["AccessLogSettings"]["DestinationArn"]) in pipeline.of_type(
        "AWS::Logs::LogGroup"
    )


def test_the_stage_is_throttled(pipeline: Template, changed_pipeline: Template) -> None:
    for template, settings in ((pipeline, DEFAULTS), (changed_pipeline, CHANGED)):
        limits = template.one("AWS::ApiGatewayV2::Stage")["DefaultRouteSettings"]
        rate = DeploymentSettings.from_context(settings).webhook_requests_per_second
        assert limits["ThrottlingRateLimit"] == rate
        assert limits["ThrottlingRateLimit"] < limits["ThrottlingBurstLimit"]


def test_outputs_have_what_people_and_programs_need(storage: Template, pipeline: Template) -> None:
    told = {
        name: {
            key: output
            for key, output in template.document["Outputs"].items()
            if "Export" not in output
        }
        for name, template in {"storage": storage, "pipeline": pipeline}.items()
    }
    assert {name: outputs.keys() for name, outputs in told.items()} == OUTPUTS
    assert all(output.get("Description") for of in told.values() for output in of.values())


def test_no_resource_runs_code_at_deployment(storage: Template, pipeline: Template) -> None:
    for template in (storage, pipeline):
        assert not any(
            resource["Type"].startswith(("Custom::", "AWS::CloudFormation::"))
            for resource in template.resources.values()
        )
