"""What a resource type is: the properties it may have, and how one is created from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from local.backend import Backend
from local.executor.differences import Difference
from local.executor.errors import ExecutionError
from local.executor.played import Played

type PolicyDocument = dict[str, Any]
"""An IAM policy, which goes to the backend as it stands."""


class Properties(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """Properties as the template spells them, at any level of nesting.

    A field that is missing here is one that the executor refuses, and so is a value of another
    type. Whoever adds a field applies it as well.
    """


def to_api(properties: Properties) -> dict[str, Any]:
    """Return the properties for an AWS API that spells them as CloudFormation does.

    Those that the template does not have, None here, are left out.
    """

    def without_none(value: object) -> object:
        match value:
            case dict():
                return {key: without_none(of) for key, of in value.items() if of is not None}
            case list() | tuple():
                return [without_none(each) for each in value]
            case _:
                return value

    made = without_none(msgspec.to_builtins(properties))
    return made if isinstance(made, dict) else {}


@dataclass(frozen=True)
class Context:
    """Where a resource is created: its place in the stack, and the AWS around it."""

    backend: Backend
    played: Played
    stack: str
    logical_id: str
    assets: Mapping[str, Path]

    def name(self, limit: int) -> str:
        """Return a physical name as CloudFormation makes them, of at most `limit` characters."""
        suffix = sha256(f"{self.stack}/{self.logical_id}".encode()).hexdigest()[:12].upper()
        return f"{self.stack}-{self.logical_id}"[: limit - 13].rstrip("-") + f"-{suffix}"

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.backend.region}:{self.backend.account}:{resource}"

    def asset(self, object_key: str) -> Path:
        """Return the folder of the asset that is deployed under this S3 key.

        Raises:
            ExecutionError: the assembly has none.
        """
        if object_key not in self.assets:
            raise ExecutionError(f"the assembly has no asset {object_key}")
        return self.assets[object_key]

    def differs(self, difference: Difference) -> bool:
        """Return whether this backend differs from AWS in this way."""
        return self.backend.kind in difference.backends


@dataclass(frozen=True)
class Created:
    """A created resource: what `Ref` gives for it, and its attributes by `Fn::GetAtt` name."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceType[P: Properties]:
    """A resource type by its CloudFormation name."""

    name: str
    properties: type[P]
    create: Callable[[P, Context], Created]

    def check(self, properties: Mapping[str, Any]) -> None:
        """Check properties whose intrinsics have been resolved.

        Raises:
            msgspec.ValidationError: there is an unknown one, at any depth, or a missing one, or
                one of another type; the message says where.
        """
        msgspec.convert(properties, self.properties)

    def create_from(self, properties: Mapping[str, Any], context: Context) -> Created:
        """Create a resource.

        Raises:
            msgspec.ValidationError: as `check` does.
            ExecutionError: AWS would refuse it too.
            botocore.exceptions.ClientError: the backend refused it.
        """
        return self.create(msgspec.convert(properties, self.properties), context)
