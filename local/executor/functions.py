"""Lambda: functions, versions, aliases, layers, event source mappings and permissions.

The runner plays them. Every function is created once, so its versions and aliases are all the same.
"""

from typing import Annotated, Literal

import msgspec

from local.deployment import EventSource, Function, Layer
from local.executor.errors import ExecutionError
from local.executor.played import Permission, Target
from local.executor.resource import Context, Created, Properties, ResourceType

type Architecture = Literal["arm64", "x86_64"]
type Runtime = Literal["python3.13"]


class S3Location(Properties):
    """Where `cdk deploy` puts a package."""

    s3_bucket: str = msgspec.field(name="S3Bucket")
    s3_key: str = msgspec.field(name="S3Key")


class Environment(Properties):
    """The environment variables of a function."""

    variables: dict[str, str]


class EphemeralStorage(Properties):
    """The size of /tmp in MiB."""

    size: int


class LoggingConfig(Properties):
    """Where and how a function logs."""

    log_group: str | None = None
    log_format: Literal["JSON", "Text"] | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None


class TracingConfig(Properties):
    """Whether requests are traced."""

    mode: Literal["Active", "PassThrough"]


class LambdaFunction(Properties):
    """AWS::Lambda::Function; `Timeout` is in seconds, `MemorySize` in MiB."""

    code: S3Location
    handler: str
    role: str
    runtime: Runtime
    architectures: tuple[Architecture, ...] = ("x86_64",)
    description: str | None = None
    environment: Environment | None = None
    ephemeral_storage: EphemeralStorage | None = None
    function_name: str | None = None
    layers: tuple[str, ...] = ()
    logging_config: LoggingConfig | None = None
    memory_size: int = 128
    timeout: int = 3
    tracing_config: TracingConfig | None = None


class LayerVersion(Properties):
    """AWS::Lambda::LayerVersion."""

    compatible_architectures: tuple[Architecture, ...]
    compatible_runtimes: tuple[Runtime, ...]
    content: S3Location
    description: str | None = None
    layer_name: str | None = None
    license_info: str | None = None


class Version(Properties):
    """AWS::Lambda::Version: a function as it is at that moment."""

    function_name: str
    description: str | None = None


class Alias(Properties):
    """AWS::Lambda::Alias of one version."""

    function_name: str
    function_version: str
    name: str
    description: str | None = None


class ScalingConfig(Properties):
    """How many invocations there are at a time."""

    maximum_concurrency: Annotated[int, msgspec.Meta(ge=2, le=1000)]


class EventSourceMapping(Properties):
    """AWS::Lambda::EventSourceMapping of an SQS queue."""

    event_source_arn: str
    function_name: str
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    enabled: Literal[True] | None = None
    function_response_types: tuple[Literal["ReportBatchItemFailures"], ...] = ()
    maximum_batching_window_in_seconds: Annotated[int, msgspec.Meta(ge=0, le=300)] = 0
    scaling_config: ScalingConfig | None = None


class InvokePermission(Properties):
    """AWS::Lambda::Permission for an HTTP API."""

    action: Literal["lambda:InvokeFunction"]
    function_name: str
    principal: Literal["apigateway.amazonaws.com"]
    source_arn: str


def create_function(properties: LambdaFunction, context: Context) -> Created:
    """Hand a function to the runner."""
    layers = tuple(context.played.layer(arn) for arn in properties.layers)
    for layer in layers:
        if not layer.architectures.issuperset(properties.architectures):
            raise ExecutionError(f"layer {layer.path.name} is not for {properties.architectures}")
    name = properties.function_name or context.name(64)
    context.played.functions[name] = Function(
        name=name,
        handler=properties.handler,
        code=context.asset(properties.code.s3_key),
        layers=layers,
        environment=properties.environment.variables if properties.environment else {},
        timeout_seconds=properties.timeout,
        memory_mb=properties.memory_size,
    )
    return Created(name, {"Arn": context.arn("lambda", f"function:{name}")})


def create_layer(properties: LayerVersion, context: Context) -> Created:
    """Keep a layer for the functions that name it."""
    name = properties.layer_name or context.name(140)
    arn = context.arn("lambda", f"layer:{name}:1")
    context.played.layers[arn] = Layer(
        path=context.asset(properties.content.s3_key),
        architectures=frozenset(properties.compatible_architectures),
    )
    return Created(arn)


def create_version(properties: Version, context: Context) -> Created:
    """Publish a function's version; ExecutionError if it has one: nothing has changed since."""
    function = context.played.target(properties.function_name).function
    version = "1"
    if Target(function, version) in context.played.qualified:
        raise ExecutionError(f"a version for {function.name} exists ({version})")
    context.played.qualified.append(Target(function, version))
    return Created(
        context.arn("lambda", f"function:{function.name}:{version}"), {"Version": version}
    )


def create_alias(properties: Alias, context: Context) -> Created:
    """Name a version of a function."""
    named = context.played.target(f"{properties.function_name}:{properties.function_version}")
    alias = Target(named.function, properties.name)
    if alias in context.played.qualified:
        raise ExecutionError(f"{alias} exists")
    context.played.qualified.append(alias)
    arn = context.arn("lambda", f"function:{alias}")
    return Created(arn, {"AliasArn": arn})


def create_event_source(properties: EventSourceMapping, context: Context) -> Created:
    """Hand an event source to the runner, after the checks that AWS makes of it."""
    function = context.played.target(properties.function_name).function
    sqs = context.backend.client("sqs")
    queue_name = properties.event_source_arn.rsplit(":", 1)[-1]
    url = sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
    visibility = int(
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"][
            "VisibilityTimeout"
        ]
    )
    if visibility < function.timeout_seconds:
        raise ExecutionError(
            f"the queue's visibility of {visibility} s is shorter than "
            f"the function's time-out of {function.timeout_seconds} s"
        )
    if properties.batch_size > 10 and not properties.maximum_batching_window_in_seconds:
        raise ExecutionError("a batch of more than 10 needs a batching window")
    scaling = properties.scaling_config
    context.played.event_sources.append(
        EventSource(
            function_name=function.name,
            queue_url=url,
            queue_arn=properties.event_source_arn,
            batch_size=properties.batch_size,
            batching_window_seconds=properties.maximum_batching_window_in_seconds,
            maximum_concurrency=scaling.maximum_concurrency if scaling else None,
            report_item_failures=bool(properties.function_response_types),
        )
    )
    return Created(context.name(64))


def create_permission(properties: InvokePermission, context: Context) -> Created:
    """Keep a permission for the check of the routes."""
    target = context.played.target(properties.function_name)
    context.played.permissions.append(Permission(target, properties.source_arn))
    return Created(context.name(100))


RESOURCE_TYPES = (
    ResourceType("AWS::Lambda::Function", LambdaFunction, create_function),
    ResourceType("AWS::Lambda::Version", Version, create_version),
    ResourceType("AWS::Lambda::Alias", Alias, create_alias),
    ResourceType("AWS::Lambda::LayerVersion", LayerVersion, create_layer),
    ResourceType("AWS::Lambda::EventSourceMapping", EventSourceMapping, create_event_source),
    ResourceType("AWS::Lambda::Permission", InvokePermission, create_permission),
)
