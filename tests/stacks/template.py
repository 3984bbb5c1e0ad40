"""A synthesized template, looked at by what refers to what."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

Properties = Mapping[str, Any]

_SUBSTITUTED = re.compile(r"\$\{([^!}]+)\}")


@dataclass(frozen=True)
class Template:
    document: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(json.loads(path.read_text()))

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        resources: Mapping[str, Mapping[str, Any]] = self.document["Resources"]
        return resources

    def of_type(self, kind: str) -> dict[str, Properties]:
        found = {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }
        assert found, f"the template has no {kind}"
        return found

    def one(self, kind: str) -> Properties:
        (properties,) = self.of_type(kind).values()
        return properties

    def exports(self) -> dict[str, str]:
        """The resource behind each export name."""
        return {
            output["Export"]["Name"]: next(references(output["Value"]))
            for output in self.document["Outputs"].values()
            if "Export" in output
        }


def called(template: Template, value: object) -> str:
    """The function that an event source or an API calls by its alias."""
    alias = template.resources[reference(value)]
    assert alias["Type"] == "AWS::Lambda::Alias"
    return reference(alias["Properties"]["FunctionName"])


def statements(role: Properties) -> list[Mapping[str, Any]]:
    """What a role allows."""
    return [
        statement
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def senders(queue_policy: Properties) -> Iterator[str]:
    """Whom the policy of a queue lets in: an account's id, else an ARN."""
    for statement in queue_policy["PolicyDocument"]["Statement"]:
        match statement["Principal"]:
            case _ if statement["Effect"] == "Deny":
                continue
            case {"AWS": {"Fn::Join": [_, parts]}}:
                yield parts[-1].split(":")[3]
            case {"AWS": str(arn)}:
                yield arn
            case {"Service": _}:
                yield statement["Condition"]["ArnEquals"]["aws:SourceArn"]


def references(value: object) -> Iterator[str]:
    """The names that intrinsics in a value refer to: resources, pseudo parameters, exports."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]} | {"Fn::ImportValue": str(name)}:
            yield name
        case {"Fn::Sub": str(text)}:
            yield from (name.partition(".")[0] for name in _SUBSTITUTED.findall(text))
        case Mapping():
            for part in value.values():
                yield from references(part)
        case list():
            for part in value:
                yield from references(part)


def reference(value: object) -> str:
    (name,) = references(value)
    return name
