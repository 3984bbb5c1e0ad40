"""API Gateway: HTTP APIs of Lambda proxies, payload format 2.0. The runner serves them."""

from hashlib import sha256
from typing import Final, Literal

from local.executor.errors import ExecutionError
from local.executor.parts import RouteTarget
from local.executor.resource import Context, Created, Properties, ResourceType, shape


def _create_api(_properties: Properties, context: Context) -> Created:
    api_id = _identifier(context)
    endpoint = f"https://{api_id}.execute-api.{context.backend.region}.amazonaws.com"
    return Created(api_id, {"ApiId": api_id, "ApiEndpoint": endpoint})


def _create_integration(properties: Properties, context: Context) -> Created:
    target = context.parts.target(properties["IntegrationUri"])
    context.parts.integrations[_identifier(context)] = target
    return Created(_identifier(context))


def _create_route(properties: Properties, context: Context) -> Created:
    method, _, path = properties["RouteKey"].partition(" ")
    if not path:
        raise ExecutionError(f"route key {properties['RouteKey']} is not a method and a path")
    integration_id = properties["Target"].removeprefix("integrations/")
    context.parts.targets.append(RouteTarget(properties["ApiId"], method, path, integration_id))
    return Created(_identifier(context))


def _create_stage(properties: Properties, context: Context) -> Created:
    if properties["ApiId"] in context.parts.stages:
        raise ExecutionError("the runner serves one stage per API, and this is another")
    context.parts.stages[properties["ApiId"]] = properties["StageName"]
    return Created(properties["StageName"])


def _identifier(context: Context) -> str:
    return sha256(f"{context.stack}/{context.logical_id}".encode()).hexdigest()[:10]


RESOURCE_TYPES: Final = (
    ResourceType(
        "AWS::ApiGatewayV2::Api",
        shape({"Name": str, "ProtocolType": Literal["HTTP"]}, Description=str),
        _create_api,
    ),
    ResourceType(
        "AWS::ApiGatewayV2::Integration",
        shape(
            {
                "ApiId": str,
                "IntegrationType": Literal["AWS_PROXY"],
                "IntegrationUri": str,
                "PayloadFormatVersion": Literal["2.0"],
            }
        ),
        _create_integration,
    ),
    ResourceType(
        "AWS::ApiGatewayV2::Route",
        shape({"ApiId": str, "RouteKey": str, "Target": str}, AuthorizationType=Literal["NONE"]),
        _create_route,
    ),
    ResourceType(
        "AWS::ApiGatewayV2::Stage",
        shape(
            {"ApiId": str, "AutoDeploy": Literal[True], "StageName": str},
            AccessLogSettings=shape({"DestinationArn": str, "Format": str}),
            DefaultRouteSettings=shape(
                DetailedMetricsEnabled=bool, ThrottlingBurstLimit=int, ThrottlingRateLimit=float
            ),
        ),
        _create_stage,
    ),
)
