"""What can be read of a message that is refused, and all that is wrong with it.

Each field is read in a message that is right otherwise, by the rules of `parse_request`.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from reportflow.contract import Contract
from reportflow.contract.document import Content
from reportflow.errors import Permanent
from reportflow.messages import GenerationRequest, parse_request, refuse_repeated_names, unwrapped

_RIGHT: Final = {"designId": "d", "version": 1}
_RIGHT_CONTENT: Final = {"fileName": "a.pdf", "params": {}}
_BOM: Final = b"\xef\xbb\xbf"
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

type _Members = dict[str, msgspec.Raw]


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
    """Read the valid fields of a message, whatever the others are.

    If a name occurs twice, nothing is read: two readers could see different values.
    """
    body = unwrapped(body).removeprefix(_BOM)
    try:
        fields = _members(body)
        content = _content(fields) or {}
        refuse_repeated_names(body, memoryview(content.get("params", b"")))
    except (*_UNREADABLE, Permanent):
        return Salvaged()

    def read(name: str) -> GenerationRequest[Content] | None:
        if name not in fields:
            return None
        with suppress(Permanent):
            return parse_request(_with(name, fields), contract)
        return None

    def read_content(name: str) -> Content | None:
        if name not in content:
            return None
        with suppress(Permanent):
            return parse_request(_with_content(name, content), contract).content
        return None

    design, version, metadata = read("designId"), read("version"), read("metadata")
    named, passed = read_content("fileName"), read_content("passthrough")
    return Salvaged(
        design_id=design.design_id if design else "",
        version=version.version if version else 0,
        file_name=named.file_name if named else "",
        metadata=metadata.metadata_json() if metadata else "",
        passthrough=passed.passthrough_json() if passed else "",
    )


def mistakes(body: bytes, contract: Contract) -> list[str]:
    """Name each field that is wrong, and what is wrong with it; none if the body is no object."""
    try:
        fields = _members(unwrapped(body).removeprefix(_BOM))
    except _UNREADABLE:
        return []
    found = []
    for trial in _trials(fields):
        try:
            parse_request(trial, contract)
        except Permanent as error:
            found.append(error.message)
    return list(dict.fromkeys(found))


def _trials(fields: _Members) -> Iterator[bytes]:
    for name in fields | _RIGHT:
        if name != "content":
            yield _with(name, fields)
    content = _content(fields)
    if content is None:
        yield _with("content", fields)
        return
    for name in content | _RIGHT_CONTENT:
        yield _with_content(name, content)


def _content(fields: _Members) -> _Members | None:
    """The members of `content`; None if it is missing, or no object."""
    try:
        return _members(fields["content"])
    except (KeyError, *_UNREADABLE):
        return None


def _members(body: bytes | msgspec.Raw) -> _Members:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])


def _with(name: str, fields: _Members) -> bytes:
    """A right message but for one field, which is as given or missing."""
    return msgspec.json.encode(_swapped(_RIGHT | {"content": _RIGHT_CONTENT}, name, fields))


def _with_content(name: str, content: _Members) -> bytes:
    return msgspec.json.encode(_RIGHT | {"content": _swapped(_RIGHT_CONTENT, name, content)})


def _swapped(right: dict[str, Any], name: str, given: _Members) -> dict[str, Any]:
    others = {each: value for each, value in right.items() if each != name}
    return others | ({name: given[name]} if name in given else {})
