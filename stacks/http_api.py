"""Creates the HTTP API that receives ReportFlow's webhooks."""

import json

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration

from stacks.nag import acknowledge
from stacks.settings import DeploymentSettings

BURST_SECONDS = 10
"""The API accepts a burst of this many seconds of its rate, for example after an outage."""

ACCESS_LOG = {
    "requestId": "$context.requestId",
    "routeKey": "$context.routeKey",
    "status": "$context.status",
    "responseLatency": "$context.responseLatency",
    "sourceIp": "$context.identity.sourceIp",
    "error": "$context.error.responseType",
    "integrationError": "$context.integrationErrorMessage",
}
"""It leaves out the path, which contains the webhook's secret, and API Gateway's message, which
could quote the path."""


def http_api(
    stack: Stack,
    *,
    webhook: lambda_.IFunction,
    access_logs: logs.LogGroup,
    settings: DeploymentSettings,
) -> apigateway.HttpApi:
    """Create the stack's API with the single path `/webhooks/{token}`.

    GET and HEAD are for settings pages that test a URL before they save it. The variable is greedy,
    because other routes do not match a URL with a slash at its end.
    """
    api = apigateway.HttpApi(
        stack,
        "Api",
        api_name=stack.stack_name,
        description="Receives ReportFlow's webhooks",
        create_default_stage=False,
    )
    routes = api.add_routes(
        path="/webhooks/{token+}",
        methods=[
            apigateway.HttpMethod.POST,
            apigateway.HttpMethod.GET,
            apigateway.HttpMethod.HEAD,
        ],
        integration=HttpLambdaIntegration("Webhook", webhook),
    )
    for route in routes:
        acknowledge(
            route,
            "APIG4",
            "ReportFlow's settings accept a URL and no credentials. The URL's last segment is the "
            "secret, which the function checks before it reads the body.",
        )
    _permit_first(api)
    # The construct for stages accepts access log settings from JavaScript only.
    apigateway.CfnStage(
        stack,
        "Stage",
        api_id=api.api_id,
        stage_name="$default",
        auto_deploy=True,
        default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
            throttling_rate_limit=settings.webhook_requests_per_second,
            throttling_burst_limit=BURST_SECONDS * settings.webhook_requests_per_second,
        ),
        access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=access_logs.log_group_ref.log_group_arn,
            format=json.dumps(ACCESS_LOG),
        ),
    )
    return api


def _permit_first(api: apigateway.HttpApi) -> None:
    """Permit API Gateway to invoke a function before an integration points to it."""
    parts = api.node.find_all()
    permissions = [part for part in parts if isinstance(part, lambda_.CfnPermission)]
    for part in parts:
        if isinstance(part, apigateway.CfnIntegration):
            for permission in permissions:
                part.add_resource_dependency(permission)
