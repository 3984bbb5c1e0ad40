from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from local.backend import Backend
from local.deployment import Layer
from local.executor import ExecutionError, UnsupportedTemplateError
from tests.unit.small_templates import deploy_resources, queue

ASSETS = {"code.zip": Path("assembly/asset.code"), "layer.zip": Path("assembly/asset.layer")}


def package(key: str) -> dict[str, Any]:
    return {"S3Bucket": {"Fn::Sub": "assets-${AWS::AccountId}"}, "S3Key": key}


def resource(kind: str, **properties: object) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


ROLE = resource("AWS::IAM::Role", AssumeRolePolicyDocument={"Statement": []})
LAYER = resource(
    "AWS::Lambda::LayerVersion",
    CompatibleArchitectures=["arm64"],
    CompatibleRuntimes=["python3.13"],
    Content=package("layer.zip"),
)
FUNCTION = resource(
    "AWS::Lambda::Function",
    Architectures=["arm64"],
    Code=package("code.zip"),
    Environment={"Variables": {"QUEUE_URL": {"Ref": "Queue"}}},
    Handler="handler.handler",
    Layers=[{"Ref": "Layer"}],
    MemorySize=512,
    Role={"Fn::GetAtt": ["Role", "Arn"]},
    Runtime="python3.13",
    Timeout=30,
)
SOURCE = resource(
    "AWS::Lambda::EventSourceMapping",
    BatchSize=10,
    EventSourceArn={"Fn::GetAtt": ["Queue", "Arn"]},
    FunctionName={"Ref": "Function"},
    FunctionResponseTypes=["ReportBatchItemFailures"],
    ScalingConfig={"MaximumConcurrency": 2},
)
WORKER = {
    "Queue": queue(VisibilityTimeout=180),
    "Role": ROLE,
    "Layer": LAYER,
    "Function": FUNCTION,
    "Source": SOURCE,
}
API = {
    "Queue": queue(),
    "Role": ROLE,
    "Layer": LAYER,
    "Function": FUNCTION,
    "Api": resource("AWS::ApiGatewayV2::Api", Name="api", ProtocolType="HTTP"),
    "Integration": resource(
        "AWS::ApiGatewayV2::Integration",
        ApiId={"Ref": "Api"},
        IntegrationType="AWS_PROXY",
        IntegrationUri={"Fn::GetAtt": ["Function", "Arn"]},
        PayloadFormatVersion="2.0",
    ),
    "Route": resource(
        "AWS::ApiGatewayV2::Route",
        ApiId={"Ref": "Api"},
        AuthorizationType="NONE",
        RouteKey="POST /webhooks/{token}",
        Target={"Fn::Join": ["", ["integrations/", {"Ref": "Integration"}]]},
    ),
    "Stage": resource(
        "AWS::ApiGatewayV2::Stage", ApiId={"Ref": "Api"}, AutoDeploy=True, StageName="$default"
    ),
    "Permission": resource(
        "AWS::Lambda::Permission",
        Action="lambda:InvokeFunction",
        FunctionName={"Fn::GetAtt": ["Function", "Arn"]},
        Principal="apigateway.amazonaws.com",
        SourceArn={
            "Fn::Sub": "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:"
            "${Api}/*/*/webhooks/{token}"
        },
    ),
}

VERSION = {
    "Version": resource("AWS::Lambda::Version", FunctionName={"Ref": "Function"}),
    "Alias": resource(
        "AWS::Lambda::Alias",
        FunctionName={"Ref": "Function"},
        FunctionVersion={"Fn::GetAtt": ["Version", "Version"]},
        Name="live",
    ),
}


def changed(resources: dict[str, Any], logical_id: str, **properties: object) -> dict[str, Any]:
    """The resources with other properties in one of them; None takes a property away."""
    made = deepcopy(resources)
    made[logical_id]["Properties"] |= properties
    made[logical_id]["Properties"] = {
        key: value for key, value in made[logical_id]["Properties"].items() if value is not None
    }
    return made


def test_a_function_comes_with_its_package_layers_and_environment(aws: Backend) -> None:
    deployment, outputs = deploy_resources(
        aws, WORKER, ASSETS, Queue={"Ref": "Queue"}, Name={"Ref": "Function"}
    )
    (function,) = deployment.functions
    assert function.name == outputs["Name"]
    assert function.code == ASSETS["code.zip"]
    assert function.layers == (Layer(ASSETS["layer.zip"], frozenset({"arm64"})),)
    assert function.environment == {"QUEUE_URL": outputs["Queue"]}
    assert function.handler == "handler.handler"
    assert (function.timeout_seconds, function.memory_mb) == (30, 512)


def test_what_the_template_leaves_out_is_as_lambda_has_it(aws: Backend) -> None:
    resources = changed(WORKER, "Function", Timeout=None, MemorySize=None, Environment=None)
    resources = changed(
        resources, "Source", BatchSize=None, FunctionResponseTypes=None, ScalingConfig=None
    )
    deployment, _ = deploy_resources(aws, resources, ASSETS)
    (function,), (source,) = deployment.functions, deployment.event_sources
    assert (function.timeout_seconds, function.memory_mb, function.environment) == (3, 128, {})
    assert (source.batch_size, source.batching_window_seconds) == (10, 0)
    assert source.maximum_concurrency is None
    assert source.report_item_failures is False


def test_an_event_source_joins_a_queue_and_a_function(aws: Backend) -> None:
    deployment, outputs = deploy_resources(
        aws,
        changed(WORKER, "Source", BatchSize=20, MaximumBatchingWindowInSeconds=1),
        ASSETS,
        Url={"Ref": "Queue"},
        Arn={"Fn::GetAtt": ["Queue", "Arn"]},
        Function={"Ref": "Function"},
    )
    (source,) = deployment.event_sources
    assert source.function_name == outputs["Function"]
    assert source.queue_url == outputs["Url"]
    assert source.queue_arn == outputs["Arn"]
    assert (source.batch_size, source.batching_window_seconds) == (20, 1)
    assert source.maximum_concurrency == 2
    assert source.report_item_failures is True


def test_a_route_leads_to_its_function(aws: Backend) -> None:
    deployment, outputs = deploy_resources(
        aws,
        API,
        ASSETS,
        Api={"Ref": "Api"},
        Endpoint={"Fn::GetAtt": ["Api", "ApiEndpoint"]},
        Function={"Ref": "Function"},
    )
    (route,) = deployment.routes
    assert (route.method, route.path) == ("POST", "/webhooks/{token}")
    assert route.function_name == outputs["Function"]
    assert (route.api_id, route.stage) == (outputs["Api"], "$default")
    assert outputs["Api"] in outputs["Endpoint"]


ALIASED_WORKER = changed({**WORKER, **VERSION}, "Source", FunctionName={"Ref": "Alias"})
ALIASED_API = changed(
    changed({**API, **VERSION}, "Integration", IntegrationUri={"Ref": "Alias"}),
    "Permission",
    FunctionName={"Ref": "Alias"},
)


def test_event_source_and_route_lead_to_the_function_behind_an_alias(aws: Backend) -> None:
    deployment, outputs = deploy_resources(
        aws, ALIASED_WORKER, ASSETS, Function={"Ref": "Function"}, Alias={"Ref": "Alias"}
    )
    assert deployment.event_sources[0].function_name == outputs["Function"]
    assert outputs["Alias"].endswith(f":function:{outputs['Function']}:live")
    deployment, outputs = deploy_resources(
        aws, ALIASED_API, ASSETS, Function={"Ref": "Function"}, Version={"Ref": "Version"}
    )
    assert deployment.routes[0].function_name == outputs["Function"]
    assert outputs["Version"].endswith(f":function:{outputs['Function']}:1")


@pytest.mark.parametrize("name", ["Function", "Alias", "Version"])
def test_an_alias_is_named_by_its_functions_name_as_well_as_by_its_arn(
    aws: Backend, name: str
) -> None:
    qualifiers = {"Function": "", "Alias": ":live", "Version": ":1"}
    source = {"Fn::Sub": f"${{Function}}{qualifiers[name]}"}
    resources = changed(ALIASED_WORKER, "Source", FunctionName=source)
    resources["Source"]["DependsOn"] = ["Alias"]
    deployment, outputs = deploy_resources(aws, resources, ASSETS, Function={"Ref": "Function"})
    assert deployment.event_sources[0].function_name == outputs["Function"]


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        (changed(WORKER, "Queue", VisibilityTimeout=29), "Source .*visibility of 29 s"),
        (changed(WORKER, "Source", BatchSize=11), "Source .*batching window"),
        (changed(WORKER, "Function", Code=package("other.zip")), "Function .*other.zip"),
        (changed(WORKER, "Function", Layers=["arn:aws:lambda:layer:x:1"]), "Function .*layer:x:1"),
        (changed(WORKER, "Function", Architectures=["x86_64"]), "Function .*x86_64"),
        (changed(WORKER, "Source", FunctionName="other"), "Source .*no function other"),
        (changed(API, "Route", RouteKey="$default"), "Route .*default"),
        (changed(API, "Route", Target="integrations/x"), "no integration x"),
        (changed(API, "Permission", SourceArn="arn:aws:execute-api:*:other"), "permits no call"),
        ({key: value for key, value in API.items() if key != "Stage"}, "no stage"),
        ({**API, "Again": API["Stage"]}, "one stage"),
        (
            changed(WORKER, "Source", FunctionName={"Fn::Sub": "${Function}:live"}),
            "no version or alias .*:live",
        ),
        (changed(ALIASED_WORKER, "Alias", FunctionVersion="2"), "no version or alias .*:2"),
        ({**ALIASED_WORKER, "Again": ALIASED_WORKER["Version"]}, r"a version .* exists \(1\)"),
        ({**ALIASED_WORKER, "Again": ALIASED_WORKER["Alias"]}, ":live exists"),
        (changed(ALIASED_API, "Permission", FunctionName={"Ref": "Function"}), "permits no call"),
        (
            changed(ALIASED_API, "Integration", IntegrationUri={"Fn::GetAtt": ["Function", "Arn"]}),
            "permits no call",
        ),
    ],
)
def test_what_would_not_work_on_aws_does_not_work_here(
    aws: Backend, resources: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ExecutionError, match=complaint):
        deploy_resources(aws, resources, ASSETS)


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        (changed(WORKER, "Function", ReservedConcurrentExecutions=1), "ReservedConcurrent"),
        (changed(WORKER, "Function", Runtime="python3.12"), "python3.12"),
        (changed(WORKER, "Source", FilterCriteria={}), "FilterCriteria"),
        (changed(ALIASED_WORKER, "Alias", RoutingConfig={}), "RoutingConfig"),
        (changed(ALIASED_WORKER, "Version", CodeSha256="x"), "CodeSha256"),
        (changed(WORKER, "Source", Enabled=False), "Enabled"),
        (changed(WORKER, "Source", ScalingConfig={"MaximumConcurrency": 1}), "MaximumConcurrency"),
        (changed(API, "Integration", PayloadFormatVersion="1.0"), "1.0"),
        (changed(API, "Stage", AutoDeploy=False), "AutoDeploy"),
        (changed(API, "Route", AuthorizationType="AWS_IAM"), "AWS_IAM"),
    ],
)
def test_what_the_runner_cannot_play_is_refused(
    aws: Backend, resources: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UnsupportedTemplateError, match=complaint):
        deploy_resources(aws, resources, ASSETS)
