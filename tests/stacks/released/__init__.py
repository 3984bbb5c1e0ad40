"""The last released templates, as far as they must outlive an upgrade; and what would not let them.

`python -m tests.stacks.released` writes the templates of the working tree over them: that belongs
to a release, and to nothing else. CloudFormation replaces a resource whose logical id or
create-only property is another, and what was in it stays behind.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.stacks.template import Properties, Template

FOLDER = Path(__file__).parent

MUST_OUTLIVE = {
    # Its address stands in ReportFlow's settings, where only a person can change it.
    "AWS::ApiGatewayV2::Api",
    "AWS::DynamoDB::Table",
    # Others have rules on it.
    "AWS::Events::EventBus",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    # Its subscriptions were confirmed by people.
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
    "AWS::SQS::Queue",
}

NAMED_ELSEWHERE = {"AWS::Lambda::Function"}
"""Another stack imports their names, and CloudFormation refuses an upgrade that would change one.

They stand in the metadata: without its code, no function can be deployed.
"""

_RETAINED = {"Retain", "RetainExceptOnCreate"}
"""The second differs while the resource is being made, and what is released has been."""

_NAMED = "NamedElsewhere"

STACKS = ("Storage", "Pipeline", "Monitoring")


def reduced(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template of nothing but what must outlive an upgrade. It can be deployed."""
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] in MUST_OUTLIVE
    }
    named = {
        name: {"Type": resource["Type"], "Properties": _fixed(resource)}
        for name, resource in template["Resources"].items()
        if resource["Type"] in NAMED_ELSEWHERE
    }
    return {**({"Metadata": {_NAMED: named}} if named else {}), "Resources": kept}


def read(stack: str) -> Template:
    return Template.read(FOLDER / f"{stack}.json")


def write(assembly: Path) -> None:
    """Make the templates of an assembly the released ones."""
    for stack in STACKS:
        (template,) = assembly.glob(f"*-{stack}.template.json")
        kept = reduced(json.loads(template.read_text()))
        (FOLDER / f"{stack}.json").write_text(json.dumps(kept, indent=1) + "\n")


def dangers(before: Template, after: Template) -> Iterator[str]:
    """What an upgrade from one template to the other would replace, delete or overwrite."""
    named = before.document.get("Metadata", {}).get(_NAMED, {})
    for name, resource in {**before.resources, **named}.items():
        what = f"{name} ({resource['Type']})"
        now = after.resources.get(name)
        if now is None or now["Type"] != resource["Type"]:
            yield f"{what} is gone: another would be made, and this one left behind or deleted"
            continue
        for path in _replacing(resource["Type"]):
            if _at(resource, path) != _at(now, path):
                yield f"{what} would be replaced: {path} is another"
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if resource.get(policy) in _RETAINED and now.get(policy) not in _RETAINED:
                yield f"{what} would no longer be retained: {policy}"
        old, new = resource.get("Properties", {}), now.get("Properties", {})
        match resource["Type"]:
            case "AWS::SecretsManager::Secret":
                yield from _overwritten_value(what, old, new)
            case "AWS::DynamoDB::Table":
                yield from _changed_indexes(what, old, new)


def schema_of(kind: str) -> dict[str, Any]:
    """CloudFormation's own schema of a resource type."""
    # Each process that collects the tests would import it, for most of a second.
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # noqa: PLC0415  (see above)

    # A region has no schema of its own where it is as in the first.
    schema: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return schema


def _replacing(kind: str) -> list[str]:
    """The properties that CloudFormation's own schema lets nobody change in place."""
    schema = schema_of(kind)
    return [
        *schema.get("createOnlyProperties", ()),
        *schema.get("conditionalCreateOnlyProperties", ()),
    ]


def _fixed(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that cannot be changed in place, as far as there are some."""
    names = {path.split("/")[2] for path in _replacing(resource["Type"])}
    return {key: of for key, of in resource.get("Properties", {}).items() if key in names}


def _at(resource: Mapping[str, Any], path: str) -> object:
    _, _properties, *keys = path.split("/")
    value: Any = resource.get("Properties", {})
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _overwritten_value(what: str, old: Properties, new: Properties) -> Iterator[str]:
    for source in ("GenerateSecretString", "SecretString"):
        if old.get(source) != new.get(source):
            yield f"{what} would lose the keys that people filled in: {source} is another"


def _changed_indexes(what: str, old: Properties, new: Properties) -> Iterator[str]:
    was = {index["IndexName"]: index for index in old.get("GlobalSecondaryIndexes", ())}
    now = {index["IndexName"]: index for index in new.get("GlobalSecondaryIndexes", ())}
    for name in was.keys() & now.keys():
        for part in ("KeySchema", "Projection"):
            if was[name][part] != now[name][part]:
                yield f"{what} would be without its index {name} for a while: {part} is another"
    if len(was.keys() ^ now.keys()) > 1:
        yield f"{what} has more than one index made or deleted, and DynamoDB takes one an upgrade"
