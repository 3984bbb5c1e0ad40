"""What the webhook must do with a request, said a second time and without care for speed.

Written from the promises, not from the code that it judges:

A request is answered, by the first of these that is true,

1. 404 when it is none of POST, GET and HEAD, or its path's token, without one slash at its end,
   is neither the current nor the previous one;
2. 404 when signatures are asked for and it has no right one (`signatures.py`);
3. 200 with nothing stored when it is a GET or a HEAD, or has nothing but white space in its body:
   a form tries the URL;
4. 400 when its body, without a byte order mark, is not JSON in UTF-8 by the grammar of RFC 8259, or
   no object;
5. 200 with nothing stored when its `event` is anything else than `file.completed`;
6. 400 when it does not have the documented shape, is of another workspace, names more files than
   anybody honest, or no entry of its files is one: an id with characters outside of the alphabet;
7. 200 with one message stored for each file that it names rightly: by `fileId` and `uuid`, or, if
   the event has a `requestId`, by that and `fileId`; with the mark of a job if `passthrough` has
   one in the safe alphabet.

Of a name that an object says twice, the last value counts.

Where the promises leave room (a depth or length beyond what anybody honest sends, and below what
must be refused) it may be stored or refused.
"""

import json
import string
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

HONEST_FILES: Final = 100
MAX_FILES: Final = 1000
HONEST_DEPTH: Final = 100
MAX_ID_LENGTH: Final = 128
LARGEST_VERSION: Final = 2**31 - 1

_LETTERS_AND_DIGITS: Final = frozenset(string.ascii_letters + string.digits)
_BOM: Final = b"\xef\xbb\xbf"


class Fate(StrEnum):
    """What becomes of a request."""

    STORED = "stored"
    IGNORED = "ignored"
    UNDECIDED = "stored or refused"
    NOT_FOUND = "unknown method or token"
    UNSIGNED = "not signed right"
    NOT_JSON = "not JSON"
    WRONG = "wrong shape, workspace or id"


STATUSES: Final[Mapping[Fate, Collection[int]]] = {
    Fate.STORED: {200},
    Fate.IGNORED: {200},
    Fate.UNDECIDED: {200, 400, 404},
    Fate.NOT_FOUND: {404},
    Fate.UNSIGNED: {404},
    Fate.NOT_JSON: {400},
    Fate.WRONG: {400},
}

type IsSigned = Callable[[Mapping[str, Any], bytes], bool | None]


@dataclass(frozen=True)
class Verdict:
    """What is to become of a request.

    `files` are the ids that are stored if any are, `marks` those of the jobs that they name.
    """

    fate: Fate
    files: frozenset[str] = frozenset()
    marks: frozenset[tuple[str, str, str]] = frozenset()


class _Number(str):
    """A number that is no integer of a usual size, as it was written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """A JSON object with all that it says, twice if it says it twice."""

    def last(self, name: str) -> Any:
        """The member's value, the last of several; None where there is none."""
        return next((value for key, value in reversed(self) if key == name), None)


def judge(
    event: Mapping[str, Any],
    tokens: Collection[str],
    workspace_id: str,
    is_signed: IsSigned | None = None,
) -> Verdict:
    """The verdict on an event of API Gateway, payload format 2.0."""
    body = _body(event)
    token = _at(event, "pathParameters", "token")
    method = _at(event, "requestContext", "http", "method")
    is_known = isinstance(token, str) and (token in tokens or token[:-1] in tokens)
    if method not in ("POST", "GET", "HEAD") or not is_known:
        return Verdict(Fate.NOT_FOUND)
    if token not in tokens and token[-1] != "/":
        return Verdict(Fate.NOT_FOUND)
    signed: bool | None = True
    if is_signed is not None:
        signed = False if body is None else is_signed(event, body)
        if signed is False:
            return Verdict(Fate.UNSIGNED)
    verdict = _judge_body(body, workspace_id, is_try=method != "POST")
    if signed is None:
        return replace(verdict, fate=Fate.UNDECIDED)
    return verdict


def _judge_body(body: bytes | None, workspace_id: str, *, is_try: bool) -> Verdict:
    if is_try:
        return Verdict(Fate.IGNORED)
    text = body if body is None or not body.startswith(_BOM) else body[len(_BOM) :]
    if text is not None and not text.strip():
        return Verdict(Fate.IGNORED)
    try:
        content = _parse(text)
    except (ValueError, RecursionError):
        return Verdict(Fate.NOT_JSON)
    return _judge_content(content, workspace_id)


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
    return json.loads(
        body.decode(),
        object_pairs_hook=_Object,
        parse_float=_Number,
        parse_int=lambda text: int(text) if len(text) <= 20 else _Number(text),
        parse_constant=_refuse,
    )


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _depth(content: object) -> int:
    depth, level = 0, [content]
    while level := [part for value in level if isinstance(value, list) for part in value]:
        # An object's members are pairs here, which are no level of their own.
        level = [part for value in level for part in (value if type(value) is tuple else (value,))]
        depth += 1
    return depth


def _judge_content(content: object, workspace_id: str) -> Verdict:
    if not isinstance(content, _Object):
        return Verdict(Fate.WRONG)
    unusual = _depth(content) > HONEST_DEPTH
    if content.last("event") != "file.completed" or isinstance(content.last("event"), _Number):
        return Verdict(Fate.UNDECIDED if unusual else Fate.IGNORED)
    files = content.last("files")
    if not isinstance(files, list) or isinstance(files, _Object) or len(files) > MAX_FILES:
        return Verdict(Fate.WRONG)
    right = (
        content.last("workspaceId") == workspace_id
        and type(content.last("workspaceId")) is str
        and is_id(content.last("designId"))
        and _is_version(content.last("version"))
    )
    named = [(_file_id(content, file), file) for file in files] if right else []
    ids = frozenset(file_id for file_id, _ in named if file_id is not None)
    if not right or (files and not ids):
        return Verdict(Fate.WRONG)
    marks = frozenset(
        (file_id, *mark)
        for file_id, file in named
        if file_id is not None and (mark := _mark(file)) is not None
    )
    undecided = unusual or len(files) > HONEST_FILES
    return Verdict(Fate.UNDECIDED if undecided else Fate.STORED, ids, marks)


def _is_version(value: object) -> bool:
    """A whole number, also as 1.0 or as a text of its digits."""
    if isinstance(value, _Number):
        number = float(value)
        return number.is_integer() and 1 <= number <= LARGEST_VERSION
    if type(value) is str:
        digits = value.isascii() and value.isdecimal() and value[0] != "0"
        return digits and len(value) <= 10 and int(value) <= LARGEST_VERSION
    return type(value) is int and 1 <= value <= LARGEST_VERSION


def _file_id(event: _Object, file: object) -> str | None:
    """The id under which a file is stored; None if the entry names none."""
    if not isinstance(file, _Object) or not is_id(file.last("fileId")):
        return None
    file_id = str(file.last("fileId"))
    if any(name == "uuid" for name, _ in file):
        return file_id if is_id(file.last("uuid")) else None
    return f"{event.last('requestId')}/{file_id}" if is_id(event.last("requestId")) else None


def _mark(file: _Object) -> tuple[str, str] | None:
    """The job's id and tag in an entry of `central`."""
    if any(name == "uuid" for name, _ in file):
        return None
    part = _last(file.last("passthrough"), "reportflowJob")
    job_id, tag = _last(part, "jobId"), _last(part, "tag")
    return (job_id, tag) if is_id(job_id) and is_id(tag) else None


def _last(value: object, name: str) -> Any:
    return value.last(name) if isinstance(value, _Object) else None


def is_id(value: object) -> bool:
    """Whether this may stand in a URL, a key or an expression."""
    return (
        type(value) is str
        and 1 <= len(value) <= MAX_ID_LENGTH
        and value[0] in _LETTERS_AND_DIGITS | set("-_")
        and set(value) <= _LETTERS_AND_DIGITS | set("-_.~")
    )
