"""Reads a stack's template before anything is created: checks it, and finds the order."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from local.assembly import Stack
from local.executor import cloudwatch, functions, http_api, services, storage
from local.executor.errors import UnsupportedTemplateError
from local.executor.intrinsics import PseudoParameters, resolve
from local.executor.resource import ResourceType

RESOURCE_TYPES: Mapping[str, ResourceType] = {
    resource_type.name: resource_type
    for module in (cloudwatch, functions, http_api, services, storage)
    for resource_type in module.RESOURCE_TYPES
}
_SECTIONS = {"AWSTemplateFormatVersion", "Description", "Outputs", "Resources"}
# With these, the CDK checks at each deployment whether the account was bootstrapped.
_BOOTSTRAP = {"Parameters": {"BootstrapVersion"}, "Rules": {"CheckBootstrapVersion"}}
_RESOURCE_KEYS = {
    *("Type", "Properties", "DependsOn", "Metadata"),
    *("DeletionPolicy", "UpdateReplacePolicy"),
}
_OUTPUT_KEYS = {"Description", "Export", "Value"}


@dataclass(frozen=True)
class Resource:
    """A resource of a template, its intrinsics not yet resolved."""

    logical_id: str
    type: ResourceType
    properties: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.logical_id} ({self.type.name})"


def read_resources(stack: Stack, pseudo: PseudoParameters) -> tuple[Resource, ...]:
    """Return a stack's resources, each after the resources that it needs.

    Raises:
        UnsupportedTemplateError: something in the template is unknown, missing or circular; the
            message lists all of it, one a line, each with the stack and the logical id.
    """
    template = stack.template
    definitions: Mapping[str, Any] = template.get("Resources", {})
    problems = [*_check_sections(template), *_check_outputs(template, pseudo)]
    resources: dict[str, Resource] = {}
    needs: dict[str, list[str]] = {}
    for logical_id, definition in definitions.items():
        name = f"{logical_id} ({definition['Type']})"
        problems += [
            f"{name}: unknown {key} beside its properties"
            for key in definition
            if key not in _RESOURCE_KEYS
        ]
        if definition["Type"] not in RESOURCE_TYPES:
            problems.append(f"{name}: unknown resource type")
            continue
        resource = Resource(
            logical_id, RESOURCE_TYPES[definition["Type"]], definition.get("Properties", {})
        )
        dependencies = _Dependencies(definitions, set(_depends_on(definition)))
        try:
            resource.type.check(resolve(resource.properties, dependencies, pseudo))
        except (UnsupportedTemplateError, msgspec.ValidationError) as error:
            problems.append(f"{name}: {error}")
        problems += [
            f"{name}: depends on {other}, which is not in the stack"
            for other in sorted(dependencies.found - definitions.keys())
        ]
        resources[logical_id] = resource
        needs[logical_id] = sorted(dependencies.found)
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        problems.append(f"circular dependency: {' → '.join(error.args[1])}")
    if problems:
        raise UnsupportedTemplateError("\n".join(f"{stack.name}: {each}" for each in problems))
    return tuple(resources[logical_id] for logical_id in order)


@dataclass(frozen=True)
class _Dependencies:
    """A scope in which every name is its own value. It collects the names."""

    known: Collection[str]
    found: set[str] = field(default_factory=set)

    def ref(self, logical_id: str) -> str:
        if logical_id not in self.known:
            raise UnsupportedTemplateError(f"Ref of {logical_id}, which is not in the stack")
        self.found.add(logical_id)
        return logical_id

    def attribute(self, logical_id: str, name: str) -> str:
        return f"{self.ref(logical_id)}.{name}"

    def imported(self, export_name: str) -> str:
        return export_name


def _depends_on(definition: Mapping[str, Any]) -> list[str]:
    names = definition.get("DependsOn", [])
    return [names] if isinstance(names, str) else names


def _check_sections(template: Mapping[str, Any]) -> Iterator[str]:
    for section in template.keys() - _SECTIONS:
        if section not in _BOOTSTRAP:
            yield f"unknown section {section}"
            continue
        for name in template[section].keys() - _BOOTSTRAP[section]:
            yield f"unknown entry {name} in section {section}"


def _check_outputs(template: Mapping[str, Any], pseudo: PseudoParameters) -> Iterator[str]:
    scope = _Dependencies(template.get("Resources", {}))
    for key, output in template.get("Outputs", {}).items():
        for unknown in output.keys() - _OUTPUT_KEYS:
            yield f"output {key}: unknown {unknown}"
        try:
            value = resolve(output, scope, pseudo).get("Value")
            if not isinstance(value, str):
                yield f"output {key}: its value is not a text"
        except UnsupportedTemplateError as error:
            yield f"output {key}: {error}"
