"""Creates the functions with their packages, layers, roles, log groups and event sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from aws_cdk import Duration, RemovalPolicy, Size, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs

from reportflow.settings import FunctionSettings
from stacks.nag import acknowledge
from stacks.packaging import function_package, shared_layer, vendor_layer
from stacks.quotas import TMP_MINIMUM_MB
from stacks.removal import removal_policy
from stacks.settings import DeploymentSettings

ALIAS: Final = "live"


@dataclass(frozen=True)
class DeployedFunction:
    """A function, and the alias that its event source or API calls.

    CloudFormation updates a function in several calls. Between them, the new code can run with the
    old layers or the old environment. CloudFormation publishes a version after the last call, and
    only then moves the alias to it. A version never changes.
    """

    function: lambda_.Function
    alias: lambda_.Alias


class FunctionFactory:
    """Makes the functions of one stack, which share their layers."""

    def __init__(
        self, stack: Stack, settings: DeploymentSettings, resources: Mapping[str, str]
    ) -> None:
        """`resources` maps fields of `reportflow.settings` to the names of resources."""
        self._stack = stack
        self._settings = settings
        self._resources = resources
        self._layers = _layers(stack)

    def function(
        self,
        name: str,
        statements: Sequence[iam.PolicyStatement],
        *,
        reads: type[FunctionSettings],
        timeout_seconds: int,
        memory_mb: int,
        tmp_mb: int = TMP_MINIMUM_MB,
    ) -> DeployedFunction:
        """Make the function of `functions/{name}` with its own log group and role.

        `reads` is the class in `reportflow.settings` that the function loads. This method writes
        the role itself, because the constructs' grants and CDK's managed policy allow more than a
        function needs.
        """
        logged = log_group(self._stack, f"{name.capitalize()}Logs", settings=self._settings)
        role = iam.Role(
            self._stack,
            f"{name.capitalize()}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={
                "Function": iam.PolicyDocument(
                    statements=[
                        *statements,
                        allow(["logs:CreateLogStream", "logs:PutLogEvents"], logged.log_group_arn),
                    ]
                )
            },
        )
        function = lambda_.Function(
            self._stack,
            name.capitalize(),
            code=lambda_.Code.from_asset(str(function_package(name))),
            handler="handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            layers=self._layers,
            role=role,
            log_group=logged,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": self._settings.stack_prefix,
                "POWERTOOLS_LOG_LEVEL": self._settings.log_level,
                **self._settings.variables(reads, self._resources),
            },
            timeout=Duration.seconds(timeout_seconds),
            memory_size=memory_mb,
            ephemeral_storage_size=Size.mebibytes(tmp_mb),
            # After the alias has moved, Lambda sends calls to the previous version for a moment,
            # and answers "Function not found" if it was deleted. A version takes a few kilobytes
            # and is deleted with its function. After a failed upgrade the new version must be
            # deleted, because Lambda publishes the same code and configuration only once.
            current_version_options=lambda_.VersionOptions(
                removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
            ),
        )
        acknowledge(
            function,
            "L1",
            "The layers are compiled for this Python version, and every test runs on it.",
        )
        return DeployedFunction(function, _alias(function))


def feed(
    deployed: DeployedFunction, queue: sqs.Queue, *, batch_size: int, maximum_concurrency: int
) -> None:
    """Let the queue invoke the function, which returns the messages to retry.

    Reserved concurrency would throttle instead, and throttled messages use up their receives.
    """
    source = lambda_.EventSourceMapping(
        Stack.of(deployed.function),
        f"{deployed.function.node.id}Source",
        target=deployed.alias,
        event_source_arn=queue.queue_arn,
        batch_size=batch_size,
        max_concurrency=maximum_concurrency,
        report_batch_item_failures=True,
    )
    # The construct would name the alias by parts of its ARN, which the template has to take apart.
    resource = cast("lambda_.CfnEventSourceMapping", source.node.default_child)
    resource.function_name = deployed.alias.alias_ref.alias_arn


def log_group(stack: Stack, construct_id: str, *, settings: DeploymentSettings) -> logs.LogGroup:
    """Make a log group that keeps its entries as long as the settings say."""
    group = logs.LogGroup(stack, construct_id, removal_policy=removal_policy(settings))
    # The construct accepts an enum only; the resource accepts days.
    resource = cast("logs.CfnLogGroup", group.node.default_child)
    resource.retention_in_days = settings.log_retention_days
    return group


def allow(actions: Sequence[str], *resources: str) -> iam.PolicyStatement:
    """Return one statement of a function's role."""
    return iam.PolicyStatement(actions=list(actions), resources=list(resources))


def _alias(function: lambda_.Function) -> lambda_.Alias:
    """Publish a version of the function, and point the alias at it."""
    return lambda_.Alias(
        Stack.of(function),
        f"{function.node.id}Alias",
        alias_name=ALIAS,
        version=function.current_version,
    )


def _layers(stack: Stack) -> list[lambda_.ILayerVersion]:
    """Return the layers of all functions; a later layer overrides the files of an earlier one."""
    return [
        lambda_.LayerVersion(
            stack,
            "VendorLayer",
            description="Third-party packages, pinned by hash",
            code=lambda_.Code.from_asset(str(vendor_layer("arm64"))),
            compatible_architectures=[lambda_.Architecture.ARM_64],
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
        ),
        lambda_.LayerVersion(
            stack,
            "SharedLayer",
            description="The code that the functions share",
            code=lambda_.Code.from_asset(str(shared_layer())),
            compatible_architectures=[lambda_.Architecture.ARM_64, lambda_.Architecture.X86_64],
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
        ),
    ]
