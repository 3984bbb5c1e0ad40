"""Reads settings from the CDK context by their rules, and tells all mistakes at once."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class InvalidSettings(ValueError):
    """The deployment settings have mistakes; the message lists them all, one a line."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(
            f'{count} in the deployment settings (cdk.json "context", or -c KEY=VALUE):\n'
            + "\n".join(f"  {mistake}" for mistake in mistakes)
        )


class Rule(Protocol):
    """What a setting's value may be."""

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""

    def parse(self, raw: object, /) -> object:
        """Return the value that the raw one stands for; ValueError if it is not allowed."""


def context_of(file: Path) -> Mapping[str, Any]:
    """What stands under "context" in a cdk.json; nothing if there is no context.

    Raises:
        InvalidSettings: it is not JSON; the message says where.
    """
    try:
        document: Mapping[str, Any] = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidSettings([f"{file.name} is not JSON: {where}: {error.msg}"]) from error
    context: Mapping[str, Any] = document.get("context", {})
    return context


def parse(
    context: Mapping[str, object], rules: Mapping[str, Rule]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the settings that are given, and the mistakes, both by key.

    `-c` values come as text. What CDK itself keeps in the context is passed over.
    """
    own = {key: value for key, value in context.items() if not _is_cdks(key)}
    mistakes = {
        key: f"{key} = {own[key]!r}: no such setting{_suggestion(key, rules)}"
        for key in own.keys() - rules.keys()
    }
    values: dict[str, Any] = {}
    for key in rules.keys() & own.keys():
        try:
            values[key] = rules[key].parse(own[key])
        except ValueError:
            mistakes[key] = f"{key} = {own[key]!r}: must be {rules[key].allowed}"
    return values, mistakes


def _is_cdks(key: str) -> bool:
    return ":" in key or "@" in key or "aws-cdk" in key


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(key.replace("-", "_").lower(), known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
