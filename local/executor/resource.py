"""What a resource type is: the properties it may have, and how one is created from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec

from local.backend import Backend
from local.executor.errors import ExecutionError
from local.executor.parts import Parts

type Properties = dict[str, Any]
"""Checked properties, as the template spells them."""

_NONE: Mapping[str, Any] = {}


def shape(required: Mapping[str, Any] = _NONE, /, **optional: Any) -> type[msgspec.Struct]:  # noqa: ANN401  (types)
    """The properties that the executor knows at one level of a template, with their types.

    The executor refuses any other property and type. If you add one here, apply it, too.
    """
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        *required.items(),
        *((name, kind, msgspec.UNSET) for name, kind in optional.items()),
    ]
    return msgspec.defstruct("Properties", fields, forbid_unknown_fields=True, kw_only=True)


def many(kind: Any) -> GenericAlias:  # noqa: ANN401  (a type)
    """A list of such values."""
    return GenericAlias(list, (kind,))


@dataclass(frozen=True)
class Context:
    """Where a resource is created: its place in the stack, and the AWS around it."""

    backend: Backend
    parts: Parts
    stack: str
    logical_id: str
    assets: Mapping[str, Path]

    def client(self, service: str) -> Any:  # noqa: ANN401  (the template's values have no types)
        """The client of a service."""
        client: Callable[[Any], Any] = self.backend.client
        return client(service)

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


@dataclass(frozen=True)
class Created:
    """A created resource: what `Ref` gives for it, and its attributes by `Fn::GetAtt` name."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResourceType:
    """A resource type by its CloudFormation name. `create` gets checked properties."""

    name: str
    shape: type[msgspec.Struct]
    create: Callable[[Properties, Context], Created]

    def check(self, properties: Mapping[str, Any]) -> None:
        """Check properties whose intrinsics have been resolved.

        Raises:
            msgspec.ValidationError: one is unknown, missing or of another type, at any depth; the
                message says which.
        """
        msgspec.convert(properties, self.shape)
