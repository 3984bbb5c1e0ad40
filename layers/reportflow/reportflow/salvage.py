"""What can be read of a message that is refused."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from reportflow.contract import Contract
from reportflow.errors import Permanent
from reportflow.messages import GenerationRequest, parse_request, unwrapped

_RIGHT: Final = {"designId": "d", "version": 1}
_RIGHT_CONTENT: Final = {"fileName": "a.pdf", "params": {}}
_SALVAGED: Final = frozenset({"designId", "version", "metadata", "fileName", "passthrough"})


class Salvaged(msgspec.Struct, frozen=True):
    """The valid fields of a refused message; the others are empty.

    `metadata` and `passthrough` are JSON text.
    """

    design_id: str = ""
    version: int = 0
    file_name: str = ""
    metadata: str = ""
    passthrough: str = ""


def salvage(body: bytes, contract: Contract) -> Salvaged:
    """Read the valid fields of a message, by the rules of `parse_request`."""
    read: dict[str, GenerationRequest[Any]] = {}
    for name, trial in trials(body):
        if name in _SALVAGED:
            with suppress(Permanent):
                read[name] = parse_request(trial, contract)
    return Salvaged(
        design_id=read["designId"].design_id if "designId" in read else "",
        version=read["version"].version if "version" in read else 0,
        file_name=read["fileName"].content.file_name if "fileName" in read else "",
        metadata=read["metadata"].metadata_json() if "metadata" in read else "",
        passthrough=read["passthrough"].content.passthrough_json() if "passthrough" in read else "",
    )


def trials(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Each field that the message has or needs, in a message that is right otherwise.

    A field of `content` comes by its own name. None come if the body is no object.
    """
    try:
        fields = _members(unwrapped(body))
    except (ValueError, RecursionError):
        return
    right = _RIGHT | {"content": _RIGHT_CONTENT}
    for name in fields | _RIGHT:
        if name != "content":
            yield name, msgspec.json.encode(_with(name, right, fields))
    try:
        content = _members(fields["content"])
    except (KeyError, ValueError, RecursionError):
        yield "content", msgspec.json.encode(_with("content", right, fields))
        return
    for name in content | _RIGHT_CONTENT:
        inner = _with(name, _RIGHT_CONTENT, content)
        yield name, msgspec.json.encode(_RIGHT | {"content": inner})


def _members(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def _with(name: str, right: Mapping[str, Any], given: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    """The right members, but this one as given, or missing."""
    others = {each: value for each, value in right.items() if each != name}
    return others | ({name: given[name]} if name in given else {})
