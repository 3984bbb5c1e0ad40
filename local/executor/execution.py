"""The deployment of a cloud assembly into an emulated AWS."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from local.assembly import Assembly, Stack
from local.backend import Backend
from local.deployment import Deployment
from local.executor.errors import ExecutionError, UnsupportedTemplateError
from local.executor.intrinsics import PseudoParameters, resolve
from local.executor.parts import Parts
from local.executor.resource import Context, Created
from local.executor.template import Resource, read_resources

_LOG = logging.getLogger(__name__)


def deploy(assembly: Assembly, backend: Backend) -> Deployment:
    """Create all stacks' resources in an empty backend.

    Raises:
        UnsupportedTemplateError: a template has something that the executor does not know. The
            message lists all of it, and nothing has been created.
        ExecutionError: a resource could not be created.
    """
    plans: list[tuple[Stack, tuple[Resource, ...]]] = []
    problems: list[str] = []
    for stack in assembly.stacks:
        try:
            plans.append((stack, read_resources(stack, _pseudo(stack, backend))))
        except UnsupportedTemplateError as error:
            problems.append(str(error))
    if problems:
        raise UnsupportedTemplateError(
            "Add these to local/executor, or remove them from the stacks:\n" + "\n".join(problems)
        )
    execution = _Execution(backend)
    for stack, resources in plans:
        execution.create(stack, resources)
    return execution.result()


@dataclass(frozen=True)
class _StackScope:
    """The values of names, after the resources before have been created."""

    created: Mapping[str, Created]
    exports: Mapping[str, str]

    def ref(self, logical_id: str) -> str:
        return self.created[logical_id].ref

    def attribute(self, logical_id: str, name: str) -> str:
        attributes = self.created[logical_id].attributes
        if name not in attributes:
            raise UnsupportedTemplateError(f"unknown attribute {name} of {logical_id}")
        return attributes[name]

    def imported(self, export_name: str) -> str:
        if export_name not in self.exports:
            raise UnsupportedTemplateError(f"no stack before this one exports {export_name}")
        return self.exports[export_name]


class _Execution:
    """The stacks created so far, and what they export to those that follow."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parts = Parts()
        self._exports: dict[str, str] = {}
        self._outputs: dict[str, Mapping[str, str]] = {}

    def create(self, stack: Stack, resources: tuple[Resource, ...]) -> None:
        pseudo = _pseudo(stack, self._backend)
        created: dict[str, Created] = {}
        scope = _StackScope(created, self._exports)
        for resource in resources:
            context = Context(
                self._backend, self._parts, stack.name, resource.logical_id, stack.assets
            )
            try:
                properties = resolve(resource.properties, scope, pseudo)
                resource.type.check(properties)
                created[resource.logical_id] = resource.type.create(properties, context)
            except (
                BotoCoreError,
                ClientError,
                ExecutionError,
                msgspec.ValidationError,
            ) as error:
                kind = type(error) if isinstance(error, ExecutionError) else ExecutionError
                raise kind(f"{stack.name}: {resource}: {error}") from error
            _LOG.info("%s: created %s", stack.name, resource)
        outputs: dict[str, str] = {}
        for key, output in stack.template.get("Outputs", {}).items():
            try:
                resolved = resolve(output, scope, pseudo)
            except UnsupportedTemplateError as error:
                raise UnsupportedTemplateError(f"{stack.name}: output {key}: {error}") from error
            outputs[key] = resolved["Value"]
            if "Export" in resolved:
                self._exports[resolved["Export"]["Name"]] = outputs[key]
        self._outputs[stack.name] = outputs

    def result(self) -> Deployment:
        region, account = self._backend.region, self._backend.account
        return Deployment(
            region=region,
            account=account,
            outputs=self._outputs,
            functions=tuple(self._parts.functions.values()),
            event_sources=tuple(self._parts.event_sources),
            routes=self._parts.routes(region, account),
            alarms=self._parts.alarms,
        )


def _pseudo(stack: Stack, backend: Backend) -> PseudoParameters:
    return PseudoParameters(backend.region, backend.account, stack.name)
