"""From the body of a verified webhook to the files that ReportFlow reports as finished."""

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec

from reportflow.contract import CONTRACTS
from reportflow.contract.document import DesignId, Version
from reportflow.contract.files import CompletedFile, ReportedFiles
from reportflow.contract.json_values import members, read_json
from reportflow.refusal import Refusal, Refused

MAX_FILES: Final = 100
"""ReportFlow makes at most so many files a request."""

COMPLETED: Final = "file.completed"

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")


class _Completed(msgspec.Struct, rename="camel"):
    workspace_id: str
    design_id: DesignId
    version: Version
    files: Annotated[list[Any], msgspec.Meta(max_length=MAX_FILES)]


def read_webhook(body: bytes, workspace_id: str) -> ReportedFiles:
    """The finished files that the body reports, each once; none if it is about something else.

    A malformed entry is counted and does not affect the others. Nothing of the customer's data is
    kept but a digest.

    Raises:
        Refused: the body is not JSON, has another shape or workspace, or no well-formed entry.
    """
    event = _object_in(body)
    if event.get("event") != COMPLETED:
        return ReportedFiles()
    try:
        read = members({**event, "version": _version(event)}, _Completed)
    except msgspec.ValidationError as error:
        raise Refused(Refusal.WRONG_SHAPE) from error
    if read.workspace_id != workspace_id:
        raise Refused(Refusal.WRONG_WORKSPACE)
    files = [_completed(event, read, entry) for entry in read.files]
    found = list(dict.fromkeys(file for file in files if file is not None))
    if files and not found:
        raise Refused(Refusal.WRONG_SHAPE)
    return ReportedFiles(found, files.count(None))


def _completed(event: Mapping[str, Any], read: _Completed, entry: object) -> CompletedFile | None:
    if not isinstance(entry, dict):
        return None
    for contract in CONTRACTS.values():
        with suppress(msgspec.ValidationError):
            return contract.completed(event, read.design_id, read.version, entry)
    return None


def _object_in(body: bytes) -> dict[str, Any]:
    """The object in the body; an empty one for an empty body, which a form sends to try the URL."""
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        return {}
    try:
        event = read_json(body.decode())
    except (ValueError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    if not isinstance(event, dict):
        raise Refused(Refusal.WRONG_SHAPE)
    return event


def _version(event: Mapping[str, Any]) -> object:
    """The version as a number; some senders write it as a text."""
    version = event.get("version")
    return int(version) if isinstance(version, str) and _NUMBER.fullmatch(version) else version
