"""What the webhook must do with a request, said a second time and without care for speed.

Written from the promises, not from the code that it judges:

A request is answered, by the first of these that is true,

1. 413 when its body is longer than a Lambda function can be handed;
2. 404 when it is not a POST, or its path's token is neither the current nor the previous one;
3. 404 when signatures are asked for and it has no right one (`signatures.py`);
4. 400 when its body is not JSON in UTF-8: the grammar of RFC 8259, and what RFC 7493 adds against
   texts that two parsers read differently (no half surrogates, no name twice in what is read);
5. 200 with nothing stored when it is an object whose `event` is another text than
   `file.completed`;
6. 400 when it does not have the documented shape, is of another workspace, names more files than
   anybody honest, or an id with characters outside of the alphabet;
7. 200 with one message stored for each file that it names.

Where the promises leave room (a depth or length beyond what anybody honest sends, and below what
must be refused) it may be stored or refused.
"""

import json
import string
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
HONEST_FILES: Final = 100
MAX_FILES: Final = 1000
HONEST_DEPTH: Final = 100
HONEST_DIGITS: Final = 1000
MAX_ID_LENGTH: Final = 128
LARGEST_VERSION: Final = 2**31 - 1

_LETTERS_AND_DIGITS: Final = frozenset(string.ascii_letters + string.digits)
_HEX: Final = frozenset(string.hexdigits)


class Fate(StrEnum):
    """What becomes of a request."""

    STORED = "stored"
    IGNORED = "ignored"
    UNDECIDED = "stored or refused"
    TOO_LARGE = "too large"
    NOT_FOUND = "not POST or unknown token"
    UNSIGNED = "not signed right"
    NOT_JSON = "not JSON"
    WRONG = "wrong shape, workspace or id"


STATUSES: Final[Mapping[Fate, Collection[int]]] = {
    Fate.STORED: {200},
    Fate.IGNORED: {200},
    Fate.UNDECIDED: {200, 400, 404},
    Fate.TOO_LARGE: {413},
    Fate.NOT_FOUND: {404},
    Fate.UNSIGNED: {404},
    Fate.NOT_JSON: {400},
    Fate.WRONG: {400},
}

type IsSigned = Callable[[Mapping[str, Any], bytes], bool | None]


@dataclass(frozen=True)
class Verdict:
    """What is to become of a request; `files` are the ids that are stored if any are."""

    fate: Fate
    files: frozenset[str] = frozenset()


class _Number(str):
    """A number that is no integer of a usual size, as it was written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """A JSON object with all that it says, twice if it says it twice."""

    def only(self, name: str) -> Any:
        """The member's value, None where there is none; `KeyError` where there are two."""
        values = [value for key, value in self if key == name]
        if len(values) > 1:
            raise KeyError(name)
        return values[0] if values else None

    def says_twice(self) -> bool:
        return len({name for name, _ in self}) < len(self)


def judge(
    event: Mapping[str, Any],
    tokens: Collection[str],
    workspace_id: str,
    is_signed: IsSigned | None = None,
) -> Verdict:
    """The verdict on an event of API Gateway, payload format 2.0."""
    body = _body(event)
    if body is not None and len(body) > MAX_BODY_BYTES:
        return Verdict(Fate.TOO_LARGE)
    token = _at(event, "pathParameters", "token")
    if _at(event, "requestContext", "http", "method") != "POST" or token not in tokens:
        return Verdict(Fate.NOT_FOUND)
    signed: bool | None = True
    if is_signed is not None:
        signed = False if body is None else is_signed(event, body)
        if signed is False:
            return Verdict(Fate.UNSIGNED)
    try:
        content = _parse(body)
    except (ValueError, RecursionError):
        return Verdict(Fate.NOT_JSON)
    verdict = _judge_content(content, workspace_id)
    if signed is None:
        return Verdict(Fate.UNDECIDED, verdict.files)
    return verdict


def _at(event: object, *path: str) -> Any:
    for name in path:
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def _body(event: Mapping[str, Any]) -> bytes | None:
    """The request's bytes; None where they are not encoded as the event says."""
    text = event.get("body", "")
    encoded = bool(event.get("isBase64Encoded"))
    if not isinstance(text, str):
        return b""
    try:
        if not encoded:
            return text.encode()
        body = b64decode(text, validate=True)
        return body if b64encode(body).decode() == text else None
    except ValueError:
        return None


def _parse(body: bytes | None) -> Any:
    if body is None:
        raise ValueError("no body")
    content = json.loads(
        body.decode(),
        object_pairs_hook=_Object,
        parse_float=_Number,
        parse_int=lambda text: int(text) if len(text) <= 20 else _Number(text),
        parse_constant=_refuse,
    )
    for value in _all(content):
        if isinstance(value, str):
            value.encode()  # which half a surrogate cannot be
    return content


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _all(content: object) -> list[Any]:
    """Every value and name at every depth."""
    found = [content]
    for value in found:
        if isinstance(value, _Object):
            found += [part for member in value for part in member]
        elif isinstance(value, list):
            found += value
    return found


def _depth(content: object) -> int:
    depth, level = 0, [content]
    while level := [part for value in level if isinstance(value, list) for part in value]:
        # An object's members are pairs here, which are no level of their own.
        level = [part for value in level for part in (value if type(value) is tuple else (value,))]
        depth += 1
    return depth


def _is_unusual(content: object) -> bool:
    values = _all(content)
    return _depth(content) > HONEST_DEPTH or any(
        (isinstance(value, _Number) and len(value) > HONEST_DIGITS)
        or (isinstance(value, _Object) and value.says_twice())
        for value in values
    )


def _judge_content(content: object, workspace_id: str) -> Verdict:
    if not isinstance(content, _Object) or content.says_twice():
        return Verdict(Fate.WRONG)
    event = content.only("event")
    if type(event) is not str:
        return Verdict(Fate.WRONG)
    unusual = _is_unusual(content)
    if event != "file.completed":
        return Verdict(Fate.UNDECIDED if unusual else Fate.IGNORED)
    files = content.only("files")
    if not isinstance(files, list) or isinstance(files, _Object) or len(files) > MAX_FILES:
        return Verdict(Fate.WRONG)
    version = content.only("version")
    right = (
        content.only("workspaceId") == workspace_id
        and type(content.only("workspaceId")) is str
        and _is_uuid(content.only("designId"))
        and type(version) is int
        and 1 <= version <= LARGEST_VERSION
        and all(_is_file(file) for file in files)
    )
    if not right:
        return Verdict(Fate.WRONG)
    ids = frozenset(file.only("fileId") for file in files)
    if unusual or len(files) > HONEST_FILES:
        return Verdict(Fate.UNDECIDED, ids)
    return Verdict(Fate.STORED, ids)


def _is_file(file: object) -> bool:
    return (
        isinstance(file, _Object)
        and not file.says_twice()
        and is_id(file.only("fileId"))
        and is_id(file.only("uuid"))
        and ("fileName" not in dict(file) or type(file.only("fileName")) is str)
    )


def is_id(value: object) -> bool:
    """Whether this may stand in a URL, a key or an expression."""
    return (
        type(value) is str
        and 1 <= len(value) <= MAX_ID_LENGTH
        and value[0] in _LETTERS_AND_DIGITS
        and set(value) <= _LETTERS_AND_DIGITS | set("-_")
    )


def _is_uuid(value: object) -> bool:
    if type(value) is not str:
        return False
    parts = value.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and set("".join(parts)) <= _HEX
