"""Lambda: functions, versions, aliases, layers, event source mappings and permissions.

The runner runs them. Every function is created once, so all its versions and aliases are the same.
"""

from typing import Annotated, Final, Literal

import msgspec

from local.deployment import EventSource, Function, Layer
from local.executor.errors import ExecutionError
from local.executor.parts import Permission, Target
from local.executor.resource import Context, Created, Properties, ResourceType, many, shape


def _create_function(properties: Properties, context: Context) -> Created:
    layers = tuple(context.parts.layer(arn) for arn in properties.get("Layers", []))
    architectures = properties.get("Architectures", ["x86_64"])
    for layer in layers:
        if not layer.architectures.issuperset(architectures):
            raise ExecutionError(f"layer {layer.path.name} is not for {architectures}")
    name = properties.get("FunctionName") or context.name(64)
    context.parts.functions[name] = Function(
        name=name,
        handler=properties["Handler"],
        code=context.asset(properties["Code"]["S3Key"]),
        layers=layers,
        environment=properties.get("Environment", {}).get("Variables", {}),
        timeout_seconds=properties.get("Timeout", 3),
        memory_mb=properties.get("MemorySize", 128),
    )
    return Created(name, {"Arn": context.arn("lambda", f"function:{name}")})


def _create_layer(properties: Properties, context: Context) -> Created:
    name = properties.get("LayerName") or context.name(140)
    arn = context.arn("lambda", f"layer:{name}:1")
    context.parts.layers[arn] = Layer(
        path=context.asset(properties["Content"]["S3Key"]),
        architectures=frozenset(properties["CompatibleArchitectures"]),
    )
    return Created(arn)


def _create_version(properties: Properties, context: Context) -> Created:
    """Publish a function's version; ExecutionError if it has one, because nothing has changed."""
    function = context.parts.target(properties["FunctionName"]).function
    version = "1"
    if Target(function, version) in context.parts.qualified:
        raise ExecutionError(f"a version for {function.name} exists ({version})")
    context.parts.qualified.append(Target(function, version))
    return Created(
        context.arn("lambda", f"function:{function.name}:{version}"), {"Version": version}
    )


def _create_alias(properties: Properties, context: Context) -> Created:
    version = f"{properties['FunctionName']}:{properties['FunctionVersion']}"
    alias = Target(context.parts.target(version).function, properties["Name"])
    if alias in context.parts.qualified:
        raise ExecutionError(f"{alias} exists")
    context.parts.qualified.append(alias)
    arn = context.arn("lambda", f"function:{alias}")
    return Created(arn, {"AliasArn": arn})


def _create_event_source(properties: Properties, context: Context) -> Created:
    """Give an event source to the runner, after the checks that AWS makes of it."""
    function = context.parts.target(properties["FunctionName"]).function
    sqs = context.client("sqs")
    arn = properties["EventSourceArn"]
    url = sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
    wanted = ["VisibilityTimeout"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    visibility = int(attributes["VisibilityTimeout"])
    if visibility < function.timeout_seconds:
        raise ExecutionError(
            f"the queue's visibility of {visibility} s is shorter than "
            f"the function's time-out of {function.timeout_seconds} s"
        )
    batch_size = properties.get("BatchSize", 10)
    window = properties.get("MaximumBatchingWindowInSeconds", 0)
    if batch_size > 10 and not window:
        raise ExecutionError("a batch of more than 10 needs a batching window")
    context.parts.event_sources.append(
        EventSource(
            function_name=function.name,
            queue_url=url,
            queue_arn=arn,
            batch_size=batch_size,
            batching_window_seconds=window,
            maximum_concurrency=properties.get("ScalingConfig", {}).get("MaximumConcurrency"),
            report_item_failures=bool(properties.get("FunctionResponseTypes")),
        )
    )
    return Created(context.name(64))


def _create_permission(properties: Properties, context: Context) -> Created:
    target = context.parts.target(properties["FunctionName"])
    context.parts.permissions.append(Permission(target, properties["SourceArn"]))
    return Created(context.name(100))


_ARCHITECTURES: Final = many(Literal["arm64", "x86_64"])
_RUNTIME: Final = Literal["python3.13"]
_PACKAGE: Final = shape({"S3Bucket": str, "S3Key": str})

RESOURCE_TYPES: Final = (
    ResourceType(
        "AWS::Lambda::Function",
        shape(
            {"Code": _PACKAGE, "Handler": str, "Role": str, "Runtime": _RUNTIME},
            Architectures=_ARCHITECTURES,
            Description=str,
            Environment=shape({"Variables": dict[str, str]}),
            EphemeralStorage=shape({"Size": int}),
            FunctionName=str,
            Layers=many(str),
            LoggingConfig=shape(
                LogGroup=str, LogFormat=str, ApplicationLogLevel=str, SystemLogLevel=str
            ),
            MemorySize=int,
            Timeout=int,
            TracingConfig=shape({"Mode": str}),
        ),
        _create_function,
    ),
    ResourceType(
        "AWS::Lambda::Version", shape({"FunctionName": str}, Description=str), _create_version
    ),
    ResourceType(
        "AWS::Lambda::Alias",
        shape({"FunctionName": str, "FunctionVersion": str, "Name": str}, Description=str),
        _create_alias,
    ),
    ResourceType(
        "AWS::Lambda::LayerVersion",
        shape(
            {
                "CompatibleArchitectures": _ARCHITECTURES,
                "CompatibleRuntimes": many(_RUNTIME),
                "Content": _PACKAGE,
            },
            Description=str,
            LayerName=str,
        ),
        _create_layer,
    ),
    ResourceType(
        "AWS::Lambda::EventSourceMapping",
        shape(
            {"EventSourceArn": str, "FunctionName": str},
            BatchSize=Annotated[int, msgspec.Meta(ge=1, le=10_000)],
            Enabled=Literal[True],
            FunctionResponseTypes=many(Literal["ReportBatchItemFailures"]),
            MaximumBatchingWindowInSeconds=Annotated[int, msgspec.Meta(ge=0, le=300)],
            ScalingConfig=shape(
                {"MaximumConcurrency": Annotated[int, msgspec.Meta(ge=2, le=1000)]}
            ),
        ),
        _create_event_source,
    ),
    ResourceType(
        "AWS::Lambda::Permission",
        shape(
            {
                "Action": Literal["lambda:InvokeFunction"],
                "FunctionName": str,
                "Principal": Literal["apigateway.amazonaws.com"],
                "SourceArn": str,
            }
        ),
        _create_permission,
    ),
)
