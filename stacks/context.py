"""Reads cdk.json, and reports all mistakes in the settings at once."""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.setting_types import allowed

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


class InvalidSettings(ValueError):
    """The deployment settings have mistakes; the message lists all of them, one per line."""

    def __init__(self, mistakes: list[str]) -> None:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(
            f'{count} in the deployment settings (cdk.json "context", or -c KEY=VALUE):\n'
            + "\n".join(f"  {mistake}" for mistake in mistakes)
        )


def context_of(file: Path) -> Mapping[str, Any]:
    """Return the "context" of a cdk.json; empty if it has none.

    Raises:
        InvalidSettings: the file is not JSON; the message says where.
    """
    try:
        document: Mapping[str, Any] = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidSettings([f"{file.name} is not JSON: {where}: {error.msg}"]) from error
    context: Mapping[str, Any] = document.get("context", {})
    return context


def without_cdks_own(context: Mapping[str, object]) -> dict[str, object]:
    """Return the context without the keys that CDK itself keeps there."""
    return {
        key: value
        for key, value in context.items()
        if not (":" in key or "@" in key or "aws-cdk" in key)
    }


def explained(
    errors: Iterable["ErrorDetails"],
    given: Mapping[str, object],
    settings: Mapping[str, "FieldInfo"],
    paths: Mapping[str, str],
) -> dict[str, str]:
    """Translate pydantic's errors to one message per setting."""
    mistakes = {}
    for error in errors:
        key = str(error["loc"][0])
        if key in given:
            mistakes[key] = f"{paths.get(key, key)} = {given[key]!r}: " + (
                f"must be {allowed(settings[key])}"
                if key in settings
                else f"no such setting{_suggestion(key, settings)}"
            )
        elif error["type"] == "missing":
            mistakes[key] = f"{key} is missing: {allowed(settings[key])}"
        # Otherwise the error is in a default that derives from a wrong value.
    return mistakes


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(key.replace("-", "_").lower(), known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
