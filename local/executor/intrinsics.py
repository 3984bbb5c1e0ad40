"""CloudFormation's intrinsic functions and pseudo parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from local.executor.errors import UnsupportedTemplateError

_NO_VALUE = object()
_SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")


class Scope(Protocol):
    """The values of the names in an intrinsic.

    Each method raises `UnsupportedTemplateError` for an unknown name.
    """

    def ref(self, logical_id: str) -> str:
        """Return what `Ref` gives for a resource."""
        ...

    def attribute(self, logical_id: str, name: str) -> str:
        """Return what `Fn::GetAtt` gives for a resource's attribute."""
        ...

    def imported(self, export_name: str) -> str:
        """Return what `Fn::ImportValue` gives for another stack's export."""
        ...


@dataclass(frozen=True)
class PseudoParameters:
    """The values of `AWS::Region` and its like in one stack."""

    region: str
    account: str
    stack_name: str

    def get(self, name: str) -> str:
        """Return the value of a name that begins with `AWS::`.

        Raises:
            UnsupportedTemplateError: there is none by this name.
        """
        values = {
            "AWS::AccountId": self.account,
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackName": self.stack_name,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name not in values:
            raise UnsupportedTemplateError(f"unknown pseudo parameter {name}")
        return values[name]


def resolve(value: object, scope: Scope, pseudo: PseudoParameters) -> Any:  # noqa: ANN401  (JSON)
    """Return the JSON value with every intrinsic in it replaced by its value.

    Raises:
        UnsupportedTemplateError: it has an unknown or malformed intrinsic, or an unknown name.
    """
    return _Resolver(scope, pseudo).resolve(value)


class _Resolver:
    def __init__(self, scope: Scope, pseudo: PseudoParameters) -> None:
        self._scope = scope
        self._pseudo = pseudo

    def resolve(self, value: object) -> Any:  # noqa: ANN401  (JSON)
        match value:
            case dict():
                if intrinsics := [key for key in value if key == "Ref" or key.startswith("Fn::")]:
                    if len(value) > 1:
                        raise UnsupportedTemplateError(f"{intrinsics[0]} with keys beside it")
                    return self._call(intrinsics[0], value[intrinsics[0]])
                resolved = {key: self.resolve(each) for key, each in value.items()}
                return {key: each for key, each in resolved.items() if each is not _NO_VALUE}
            case list():
                return [each for each in map(self.resolve, value) if each is not _NO_VALUE]
            case _:
                return value

    def _call(self, name: str, argument: object) -> object:
        match name, argument:
            case "Ref", str():
                return self._ref(argument)
            case "Fn::GetAtt", str() if "." in argument:
                return self._scope.attribute(*argument.split(".", 1))
            case "Fn::GetAtt", [str(logical_id), str(attribute)]:
                return self._scope.attribute(logical_id, attribute)
            case "Fn::ImportValue", _:
                return self._scope.imported(self.resolve(argument))
            case "Fn::Join", [str(delimiter), list(parts)]:
                return delimiter.join(map(str, self.resolve(parts)))
            case "Fn::Sub", str():
                return self._substitute(argument, {})
            case "Fn::Sub", [str(text), dict(variables)]:
                return self._substitute(text, self.resolve(variables))
            case _:
                raise UnsupportedTemplateError(f"unknown intrinsic {name} of {argument!r}")

    def _ref(self, name: str) -> object:
        if name == "AWS::NoValue":
            return _NO_VALUE
        return self._pseudo.get(name) if name.startswith("AWS::") else self._scope.ref(name)

    def _substitute(self, text: str, variables: Mapping[str, object]) -> str:
        def value_of(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            if name in variables:
                return str(variables[name])
            return str(self._call("Fn::GetAtt" if "." in name else "Ref", name))

        return _SUBSTITUTION.sub(value_of, text)
