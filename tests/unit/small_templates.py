"""Stacks of a few resources, as a cloud assembly would hold them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.assembly import Assembly, Stack
from local.backend import Backend
from local.deployment import Deployment
from local.executor import deploy


def stack(
    resources: Mapping[str, Any],
    *,
    outputs: Mapping[str, Any] | None = None,
    name: str | None = None,
    assets: Mapping[str, Path] | None = None,
    **sections: Mapping[str, Any],
) -> Stack:
    """A stack with a name of its own, for tests that share a backend."""
    template = {"Resources": resources, "Outputs": outputs or {}, **sections}
    return Stack(name or f"Stack-{uuid4().hex[:8]}", template, assets or {})


def deploy_stacks(backend: Backend, *stacks: Stack) -> Deployment:
    return deploy(Assembly(Path(), stacks), backend)


def deploy_resources(
    backend: Backend,
    resources: Mapping[str, Any],
    assets: Mapping[str, Path] | None = None,
    /,
    **values: object,
) -> tuple[Deployment, Mapping[str, str]]:
    """Deploys one stack with the values as its outputs, and returns what they became."""
    outputs = {name: {"Value": value} for name, value in values.items()}
    made = stack(resources, outputs=outputs, assets=assets)
    deployment = deploy_stacks(backend, made)
    return deployment, deployment.outputs[made.name]


def queue(**properties: object) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}
