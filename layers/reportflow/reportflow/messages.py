"""What travels on the queues: the request that upstream sends, and the completed file."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from math import isfinite
from threading import Lock
from typing import Annotated, Any, Final, Literal

import msgspec

from reportflow.errors import Permanent

# `$` alone also matches before a final newline.
_END: Final = r"$(?!\n)"
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_JOB_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + _END
# The characters that a URL's path and an S3 key take as they are; never "." or "..".
_OPAQUE_ID: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}" + _END
_JAPANESE: Final = "々〆〇ぁ-ゖ゙-ゟァ-ヿㇰ-ㇿ㐀-䶿一-鿿豈-﫿０-９Ａ-Ｚａ-ｚｦ-ﾟ\U00020000-\U000323af"
_FILE_NAME: Final = rf"^[A-Za-z0-9_{_JAPANESE}-][A-Za-z0-9._{_JAPANESE}-]{{0,199}}" + _END

MAX_METADATA_BYTES: Final = 16 * 1024
MAX_REQUEST_BYTES: Final = 20 * 1024 * 1024
"""ReportFlow's documented limit of a `workspace` request body."""

MAX_BESIDE_PARAMS: Final = 64 * 1024
"""Bytes of a message without its parameters: four times the metadata, for escapes and indents."""

MAX_METADATA_DEPTH: Final = 100
"""EventBridge reads the event that carries the metadata, and takes about 1,000 levels in all."""

MAX_PARAMS_DEPTH: Final = 500
"""Every program that reads a document calls itself once a level, and has room for about 1,000."""

MAX_DIGITS: Final = 4300
"""Python itself, for one, reads no longer integer."""

OWN_JOB_ID: Final = "reportflowJobId"
"""The message attribute by which our command line names a message's job."""

_BOM: Final = b"\xef\xbb\xbf"

JobId = Annotated[str, msgspec.Meta(pattern=_JOB_ID)]
DesignId = Annotated[str, msgspec.Meta(pattern=_OPAQUE_ID)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
FileName = Annotated[str, msgspec.Meta(pattern=_FILE_NAME)]
JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
OpaqueId = Annotated[str, msgspec.Meta(pattern=_OPAQUE_ID)]

_ALLOWED: Final = {
    "jobId": "1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit",
    "designId": "1 to 128 letters, digits, '_', '-', '.' or '~', not starting with '.' or '~'",
    "content.fileName": "1 to 200 letters, digits, Japanese characters, '-', '_' or '.', "
    "not starting with '.'",
}


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The PDF's name and the template's parameters, kept as the very bytes that upstream sent.

    Numbers of any length or form reach ReportFlow as they were written.
    """

    file_name: FileName
    params: JsonObject


class GenerationRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", dict=True
):
    """One message on the request queue: ReportFlow's own request body and two fields of ours.

    `job_id` is the caller's idempotency key; `metadata` stays with the job and is never sent to
    ReportFlow.
    """

    design_id: DesignId
    version: Version
    content: Content
    job_id: JobId | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, msgspec.Raw] = {}

    def service_body(self) -> bytes:
        """The JSON that ReportFlow gets: everything but what is ours."""
        return msgspec.json.encode(
            {"designId": self.design_id, "version": self.version, "content": self.content}
        )

    def metadata_json(self) -> str:
        """The metadata as JSON text."""
        return msgspec.json.encode(self.metadata).decode()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the PDF is made of; the order of keys and white space do not matter."""
        return document_digest(
            self.design_id, self.version, self.content.file_name, self.content.params
        )


class CompletedFile(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="completed",
):
    """One message on the download queue: ReportFlow says that this file is done.

    `uuid` is the other half of the download path; it comes with the webhook only.
    `request_digest` says which requests the file can be the answer to. It is empty if it is
    unknown, because the webhook does not quote the whole document.
    """

    file_id: OpaqueId
    uuid: OpaqueId
    design_id: DesignId
    version: Version
    request_digest: str


class Check(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="check",
):
    """The other message on the download queue: look whether the job's webhook got lost."""

    job_id: JobId


type Download = CompletedFile | Check


class _OnlyJobId(msgspec.Struct, rename="camel"):
    job_id: JobId


_UNKNOWN_FIELD: Final = "unknown field; the dead letter and the job's record name it"

_request_decoder: Final = msgspec.json.Decoder(GenerationRequest)
_download_decoder: Final[msgspec.json.Decoder[Download]] = msgspec.json.Decoder(
    CompletedFile | Check
)
_job_id_decoder: Final = msgspec.json.Decoder(_OnlyJobId)


def parse_request(body: bytes) -> GenerationRequest:
    """Read a message of the request queue.

    The file name is kept in its composed form, whatever the sender's file system made of it.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field and what it allows.
    """
    body = body.removeprefix(_BOM)
    try:
        request = _request_decoder.decode(body)
        metadata = request.metadata_json().encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(_explain(error)) from error
    if not bytes(request.content.params).lstrip().startswith(b"{"):
        raise _invalid("content.params: expected an object")
    name = composed(request.content.file_name)
    if name != request.content.file_name:
        content = msgspec.structs.replace(request.content, file_name=name)
        request = msgspec.structs.replace(request, content=content)
    try:
        # Reads the params to their end: what cannot be read is refused here, not at the claim.
        _ = request.digest
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _invalid(f"content.params: {_explain(error)}") from error
    _check_metadata(metadata)
    _refuse_repeated_names(body, memoryview(request.content.params))
    return request


def _check_metadata(metadata: bytes) -> None:
    """Refuse metadata that the record or the completion event could not hold."""
    if len(metadata) > MAX_METADATA_BYTES:
        size = len(metadata)
        raise _invalid(f"metadata: {size} bytes of JSON, at most {MAX_METADATA_BYTES} are kept")
    if nests_deeper(metadata, MAX_METADATA_DEPTH):
        raise _invalid(f"metadata: nested too deeply, at most {MAX_METADATA_DEPTH} levels")
    try:
        content = msgspec.json.decode(metadata)
    except msgspec.DecodeError as error:
        # It passes for JSON, and no reader of the completion event could hold it.
        raise _invalid("metadata: a number is out of range, or a text is not Unicode") from error
    if not _is_exact(content):
        raise _invalid("metadata: a whole number has more than 64 bits; write it as a text")


def _is_exact(content: object) -> bool:
    """Whether EventBridge takes all whole numbers of it."""
    if isinstance(content, dict):
        return all(map(_is_exact, content.values()))
    if isinstance(content, list):
        return all(map(_is_exact, content))
    return not isinstance(content, int) or -(2**63) <= content < 2**63


def normal_design(design_id: str) -> str:
    """The one way to write a design's id: a UUID in small letters, any other id as it is."""
    return design_id.lower() if _UUID.fullmatch(design_id) else design_id


def same_design(one: str, other: str) -> bool:
    """Whether both are the id of one design; only in a UUID do capitals not matter."""
    return normal_design(one) == normal_design(other)


def composed(file_name: str) -> str:
    """The file name in Unicode's composed form (NFC), which a Mac's file system takes apart.

    Compatibility ideographs stay, although NFC replaces them: they are how a person's name is
    written.
    """
    return _COMPOSABLE.sub(lambda run: unicodedata.normalize("NFC", run[0]), file_name)


_COMPOSABLE: Final = re.compile("[^\uf900-\ufaff\U0002f800-\U0002fa1f]+")


def nests_deeper(text: bytes, levels: int) -> bool:
    """Whether valid JSON nests deeper than so many levels; reads it without nesting itself."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes side by side leave every bracket inside or outside of a string, as it was.
    marks = unescaped.translate(_BRACKETS, _NO_MARKS).replace(b'""', b"")
    brackets = _STRING.sub(b"", marks)
    for _ in range(levels):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


_STRING: Final = re.compile(rb'"[^"]*"')
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))


def document_digest(design_id: str, version: int, file_name: str, params: msgspec.Raw) -> str:
    """SHA-256 in hex over what a PDF is made of; see `digest_of`.

    Raises:
        ValueError, msgspec.DecodeError: `params` are no JSON in UTF-8, or nest deeper than
            `MAX_PARAMS_DEPTH`.
    """
    with _reading:
        text = bytes(params)
        if nests_deeper(text, MAX_PARAMS_DEPTH):
            raise ValueError(f"nested too deeply, at most {MAX_PARAMS_DEPTH} levels")
        return digest_of(design_id, version, file_name, _read_params(text))


def _read_params(text: bytes) -> object:
    """The same as `read_json`, and several times faster for what most documents are made of."""
    if _LONG_NUMBER not in text.translate(_DIGITS):
        return _params_decoder.decode(text)
    return read_json(text.decode(), whole_number=_readable_number)


def digest_of(design_id: str, version: int, file_name: str, params: object) -> str:
    """SHA-256 in hex over what a PDF is made of, `params` as `read_json` gives them.

    It is the same before and after a JavaScript service has read the document and written it in
    its own way: with other white space, other escapes, another order of keys and numbers as
    doubles. Texts compare in NFC, to which those in `params` may be changed.

    Raises:
        UnicodeEncodeError: a text has half of a surrogate pair, which no request may have.
    """
    document = [normal_design(design_id), version, file_name, params]
    text = _written(document)
    if not text.isascii() and not _is_normalized(text):
        _normalize(document)
        text = _written(document)
    return hashlib.sha256(text).hexdigest()


def read_json(
    text: str,
    pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
    whole_number: Callable[[str], float | None] | None = None,
) -> object:
    """Read JSON as JavaScript does: numbers are doubles, and the last of repeated names counts.

    `pairs` makes an object of its names and values. An infinite number becomes null, as which
    JavaScript writes it.

    Raises:
        ValueError: the text is no JSON.
        RecursionError: it nests too deeply.
    """
    return json.loads(
        text,
        object_pairs_hook=pairs,
        parse_int=whole_number or _whole_number,
        parse_float=_number,
        parse_constant=_refuse_constant,
    )


_EXACT_DIGITS: Final = 15
"""A double holds each whole number of so many digits."""

_INFINITE_DIGITS: Final = 310
"""A double holds no whole number of so many digits."""


def _whole_number(text: str) -> float | None:
    if len(text) <= _EXACT_DIGITS:
        return int(text)
    return None if len(text) > _INFINITE_DIGITS else _number(text)


def _readable_number(text: str) -> float | None:
    """Refuse what many readers refuse, and what is infinite to the others."""
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, at most {MAX_DIGITS}")
    return _whole_number(text)


def _number(text: str) -> float | None:
    number = float(text)
    if not isfinite(number):
        return None
    # A whole number is written in one way, whatever its form was; of -0 JavaScript writes 0.
    return int(number) if number.is_integer() and abs(number) < 10**_EXACT_DIGITS else number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_params_decoder: Final = msgspec.json.Decoder(float_hook=_number)
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * (_EXACT_DIGITS + 1)


def _written(document: object) -> bytes:
    return msgspec.json.encode(document, order="sorted")


def _is_normalized(text: bytes) -> bool:
    return unicodedata.is_normalized("NFC", text.decode())


def _normalize(part: object) -> object:
    """Change all texts to NFC, in place; JSON's own text could join an escape to what follows."""
    if isinstance(part, str):
        return unicodedata.normalize("NFC", part)
    if isinstance(part, list):
        for index, value in enumerate(part):
            part[index] = _normalize(value)
    elif isinstance(part, dict):
        # In the order of the names, so that of two that become one the same one stays.
        for name in sorted(part):
            value = _normalize(part.pop(name, None))
            part[unicodedata.normalize("NFC", name)] = value
    return part


# Read, params take many times the memory of their text. A batch would read them side by side and
# be no faster for it: the decoder holds the interpreter's lock.
_reading: Final = Lock()


class _Notification(msgspec.Struct):
    """What SNS makes of a message that is not delivered raw."""

    kind: Literal["Notification"] = msgspec.field(name="Type")
    message: str = msgspec.field(name="Message")


class _Event(msgspec.Struct):
    """An event of EventBridge."""

    detail_type: str = msgspec.field(name="detail-type")
    source: str
    detail: msgspec.Raw


_notification_decoder: Final = msgspec.json.Decoder(_Notification)
_event_decoder: Final = msgspec.json.Decoder(_Event)


def unwrapped(body: bytes) -> bytes:
    """The message that upstream wrote, if SNS or EventBridge has put it into an envelope.

    No request has the members of an envelope. The detail of an event is kept byte for byte.
    """
    try:
        return _notification_decoder.decode(body).message.encode()
    except (ValueError, RecursionError):
        pass
    try:
        return bytes(_event_decoder.decode(body).detail)
    except (ValueError, RecursionError):
        return body


def is_job_id(text: str) -> bool:
    """Whether the text could be a job's id."""
    return re.match(_JOB_ID, text) is not None


def named_job_id(attribute: Callable[[str], str]) -> str:
    """The job that our own message attributes name, or an empty text.

    `attribute` gives an attribute's text, empty if there is none. An attribute `jobId` is ours
    beside our `errorCode`, on a dead letter and after its redrive. Alone it is the sender's, and
    no key of ours.
    """
    named = attribute("jobId") if attribute("errorCode") else attribute(OWN_JOB_ID)
    return named if is_job_id(named) else ""


def salvage_job_id(body: bytes, fallback: str) -> str:
    """The job id of a message that may be invalid otherwise, or `fallback` if it has none.

    It looks into an envelope, too.
    """
    try:
        return _job_id_decoder.decode(unwrapped(body)).job_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return fallback


def parse_download(body: bytes) -> Download:
    """Read a message of the download queue.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field.
    """
    try:
        return _download_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(_explain(error)) from error


def _refuse_repeated_names(body: bytes, params: memoryview) -> None:
    """Refuse a message of which two readers could see different values; `params` are not ours."""
    if len(body) - len(params) > MAX_BESIDE_PARAMS:
        raise _invalid(
            f"{len(body) - len(params)} bytes beside content.params, at most {MAX_BESIDE_PARAMS} "
            "are read: a name stands twice, or there is much white space"
        )
    # msgspec takes the last of two values.
    begin = body.find(params)
    rest = b"{}".join((body[:begin], body[begin + len(params) :]))
    try:
        json.loads(rest.decode(), object_pairs_hook=_refuse_repeated, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise _invalid("the body is not JSON that everybody reads alike") from error


def _refuse_repeated(members: list[tuple[str, object]]) -> None:
    names = [name for name, _ in members]
    if len(set(names)) == len(names):
        return
    [(repeated, _)] = Counter(names).most_common(1)
    raise Permanent(
        "INVALID_MESSAGE",
        f"{repeated[:64]}: the name stands twice",
        loggable="a name stands twice; the dead letter and the job's record tell which",
    )


def _invalid(text: str) -> Permanent:
    """The refusal of a message; the name of an unknown field is the sender's, and in no log."""
    named = "unknown field" in text
    return Permanent("INVALID_MESSAGE", text, loggable=_UNKNOWN_FIELD if named else None)


def _explain(error: Exception) -> str:
    """Msgspec's own sentence with the field in front, and words in place of a pattern."""
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "the JSON is not valid UTF-8"
    if type(error) is ValueError:
        return str(error)
    text, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    if " matching regex " in text and field in _ALLOWED:
        text = f"expected {_ALLOWED[field]}"
    elif not isinstance(error, msgspec.ValidationError):
        text = f"the body is not JSON ({text})"
    text = re.sub(r"unknown field `([^`]*)`", _name_unknown, text)
    return f"{field}: {text}" if field else text


def _name_unknown(match: re.Match[str]) -> str:
    return f"unknown field '{match[1][:64]}'; put what is yours under metadata"
