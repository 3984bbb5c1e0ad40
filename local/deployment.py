"""The parts of the template that the runner runs: functions, event sources, routes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Layer:
    """A layer version of the template.

    `path` is the asset's folder in the cloud assembly. It has `python/`, as Lambda has it in
    `/opt`. `architectures` are the template's `CompatibleArchitectures`.
    """

    path: Path
    architectures: frozenset[str]


@dataclass(frozen=True)
class Function:
    """A Lambda function of the template; `code` is its asset's folder in the cloud assembly."""

    name: str
    handler: str
    code: Path
    layers: tuple[Layer, ...]
    environment: Mapping[str, str]
    timeout_seconds: int
    memory_mb: int


@dataclass(frozen=True)
class EventSource:
    """An SQS event source mapping of the template.

    `maximum_concurrency` is None if the template sets no limit. `report_item_failures` is whether
    `FunctionResponseTypes` has partial batch responses.
    """

    function_name: str
    queue_url: str
    queue_arn: str
    batch_size: int
    batching_window_seconds: int
    maximum_concurrency: int | None
    report_item_failures: bool


@dataclass(frozen=True)
class Route:
    """A route of the HTTP API, such as `POST /webhooks/{token}`; payload format 2.0 only."""

    method: str
    path: str
    function_name: str
    api_id: str
    stage: str


@dataclass(frozen=True)
class Deployment:
    """The created system: stack outputs by stack name and output key, and the runner's parts.

    `alarms` are by name, as PutMetricAlarm takes them.
    """

    region: str
    account: str
    outputs: Mapping[str, Mapping[str, str]]
    functions: tuple[Function, ...]
    event_sources: tuple[EventSource, ...]
    routes: tuple[Route, ...]
    alarms: Mapping[str, Mapping[str, Any]]
