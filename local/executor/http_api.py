"""API Gateway: HTTP APIs of Lambda proxies, payload format 2.0. The runner plays them."""

from hashlib import sha256
from typing import Literal

from local.executor.errors import ExecutionError
from local.executor.played import RouteTarget
from local.executor.resource import Context, Created, Properties, ResourceType


class Api(Properties):
    """AWS::ApiGatewayV2::Api."""

    name: str
    protocol_type: Literal["HTTP"]
    description: str | None = None


class Integration(Properties):
    """AWS::ApiGatewayV2::Integration of a function."""

    api_id: str
    integration_type: Literal["AWS_PROXY"]
    integration_uri: str
    payload_format_version: Literal["2.0"]


class ApiRoute(Properties):
    """AWS::ApiGatewayV2::Route of one method and path."""

    api_id: str
    route_key: str
    target: str
    authorization_type: Literal["NONE"] = "NONE"


class AccessLogSettings(Properties):
    """Where and how requests are logged."""

    destination_arn: str
    format: str


class RouteSettings(Properties):
    """How many requests pass, and what is counted of them."""

    detailed_metrics_enabled: bool | None = None
    throttling_burst_limit: int | None = None
    throttling_rate_limit: float | None = None


class Stage(Properties):
    """AWS::ApiGatewayV2::Stage that deploys every change of its API."""

    api_id: str
    auto_deploy: Literal[True]
    stage_name: str
    access_log_settings: AccessLogSettings | None = None
    default_route_settings: RouteSettings | None = None


def create_api(_properties: Api, context: Context) -> Created:
    """Make up the id of an API."""
    api_id = _identifier(context)
    endpoint = f"https://{api_id}.execute-api.{context.backend.region}.amazonaws.com"
    return Created(api_id, {"ApiId": api_id, "ApiEndpoint": endpoint})


def create_integration(properties: Integration, context: Context) -> Created:
    """Keep an integration for the routes that name it."""
    integration_id = _identifier(context)
    target = context.played.target(properties.integration_uri)
    context.played.integrations[integration_id] = target
    return Created(integration_id)


def create_route(properties: ApiRoute, context: Context) -> Created:
    """Hand a route to the runner."""
    method, _, path = properties.route_key.partition(" ")
    if not path:
        raise ExecutionError(f"route key {properties.route_key} is not a method and a path")
    integration_id = properties.target.removeprefix("integrations/")
    context.played.targets.append(RouteTarget(properties.api_id, method, path, integration_id))
    return Created(_identifier(context))


def create_stage(properties: Stage, context: Context) -> Created:
    """Keep a stage for its API's routes."""
    if properties.api_id in context.played.stages:
        raise ExecutionError("the runner plays one stage of an API, and this is another")
    context.played.stages[properties.api_id] = properties.stage_name
    return Created(properties.stage_name)


def _identifier(context: Context) -> str:
    return sha256(f"{context.stack}/{context.logical_id}".encode()).hexdigest()[:10]


RESOURCE_TYPES = (
    ResourceType("AWS::ApiGatewayV2::Api", Api, create_api),
    ResourceType("AWS::ApiGatewayV2::Integration", Integration, create_integration),
    ResourceType("AWS::ApiGatewayV2::Route", ApiRoute, create_route),
    ResourceType("AWS::ApiGatewayV2::Stage", Stage, create_stage),
)
