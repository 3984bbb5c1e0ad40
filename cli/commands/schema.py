"""`schema`: the format of messages and events, as JSON Schema."""

import json
from enum import StrEnum

import typer


class Name(StrEnum):
    """The schemas."""

    REQUEST = "request"
    REQUEST_CENTRAL = "request-central"
    PDF_ARCHIVED = "pdf-archived"
    PDF_FAILED = "pdf-failed"


def show(name: Name) -> None:
    """Print the JSON Schema of a message or an event.

    Example: `reportflow schema request > request.json`
    """
    # Imported here, because `--help` does not need it.
    from cli.schemas import schema

    typer.echo(json.dumps(schema(name), indent=2, ensure_ascii=False))
