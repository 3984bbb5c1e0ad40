"""What the runner runs instead of the backend, collected while the stacks are created."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from local.deployment import EventSource, Function, Layer, Route
from local.executor.errors import ExecutionError


@dataclass(frozen=True)
class Target:
    """A function, or with a qualifier its version or alias."""

    function: Function
    qualifier: str = ""

    def __str__(self) -> str:
        return f"{self.function.name}:{self.qualifier}" if self.qualifier else self.function.name


@dataclass(frozen=True)
class RouteTarget:
    """A route before its API's stage is known."""

    api_id: str
    method: str
    path: str
    integration_id: str


@dataclass(frozen=True)
class Permission:
    """An API Gateway's permission to invoke a target from the routes that a pattern matches."""

    target: Target
    source_arn: str


@dataclass(frozen=True)
class Parts:
    """The parts so far.

    `qualified` are the functions' versions and aliases; `stages` are by API id, `integrations` are
    the invoked functions by id, and `alarms` are the requests to CloudWatch by name.
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    qualified: list[Target] = field(default_factory=list)
    event_sources: list[EventSource] = field(default_factory=list)
    permissions: list[Permission] = field(default_factory=list)
    integrations: dict[str, Target] = field(default_factory=dict)
    targets: list[RouteTarget] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    alarms: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def layer(self, version_arn: str) -> Layer:
        """Return the layer version; ExecutionError if no stack has made it."""
        if version_arn not in self.layers:
            raise ExecutionError(f"no layer version {version_arn} in these stacks")
        return self.layers[version_arn]

    def target(self, name_or_arn: str) -> Target:
        """Return the function, version or alias; ExecutionError if no stack has made it."""
        qualified = name_or_arn.rpartition(":function:")[2]
        name, _, qualifier = qualified.partition(":")
        if name not in self.functions:
            raise ExecutionError(f"no function {name_or_arn} in these stacks")
        target = Target(self.functions[name], qualifier)
        if qualifier and target not in self.qualified:
            raise ExecutionError(f"no version or alias {qualified} in these stacks")
        return target

    def routes(self, region: str, account: str) -> tuple[Route, ...]:
        """Return the routes, each with its function and stage.

        Raises:
            ExecutionError: AWS would answer 404 or 500 at one of them: its API has no stage,
                its integration is missing, or its function permits no call from there.
        """
        return tuple(self._route(target, region, account) for target in self.targets)

    def _route(self, target: RouteTarget, region: str, account: str) -> Route:
        route = f"route {target.method} {target.path}"
        if target.api_id not in self.stages:
            raise ExecutionError(f"{route}: its API has no stage, so no request reaches it")
        if target.integration_id not in self.integrations:
            raise ExecutionError(f"{route}: no integration {target.integration_id}")
        invoked = self.integrations[target.integration_id]
        stage = self.stages[target.api_id]
        source = (
            f"arn:aws:execute-api:{region}:{account}:"
            f"{target.api_id}/{stage}/{target.method}{target.path}"
        )
        if not any(
            permission.target == invoked and fnmatchcase(source, permission.source_arn)
            for permission in self.permissions
        ):
            raise ExecutionError(
                f"{route}: {invoked} permits no call from it: "
                f"add an AWS::Lambda::Permission for {source}"
            )
        return Route(target.method, target.path, invoked.function.name, target.api_id, stage)
