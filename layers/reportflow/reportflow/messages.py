"""What travels on the queues: the request that upstream sends, and the completed file."""

import hashlib
import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from functools import cached_property
from threading import Lock
from typing import Annotated, Final

import msgspec

from reportflow.errors import Permanent

# `$` alone also matches before a final newline.
_END: Final = r"$(?!\n)"
_UUID: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}" + _END
_JOB_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + _END
_OPAQUE_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}" + _END
_JAPANESE: Final = "々〆〇ぁ-ゖ゙-ゟァ-ヿㇰ-ㇿ㐀-䶿一-鿿豈-﫿０-９Ａ-Ｚａ-ｚｦ-ﾟ\U00020000-\U000323af"
_FILE_NAME: Final = rf"^[A-Za-z0-9_{_JAPANESE}-][A-Za-z0-9._{_JAPANESE}-]{{0,199}}" + _END

MAX_METADATA_BYTES: Final = 16 * 1024
MAX_REQUEST_BYTES: Final = 20 * 1024 * 1024
"""ReportFlow's documented limit of a `workspace` request body."""

MAX_BESIDE_PARAMS: Final = 64 * 1024
"""Bytes of a message without its parameters: four times the metadata, for escapes and indents."""

MAX_PLAIN_DIGITS: Final = 40
"""A larger exponent is not written out: a body of nothing but `1e400` would grow to gigabytes."""

JobId = Annotated[str, msgspec.Meta(pattern=_JOB_ID)]
DesignId = Annotated[str, msgspec.Meta(pattern=_UUID)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
FileName = Annotated[str, msgspec.Meta(pattern=_FILE_NAME)]
JsonObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
OpaqueId = Annotated[str, msgspec.Meta(pattern=_OPAQUE_ID)]

_ALLOWED: Final = {
    "jobId": "1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit",
    "designId": "a UUID",
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
    `request_digest` tells which requests the file can be the answer to.
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

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field and what it allows.
    """
    try:
        request = _request_decoder.decode(body)
        metadata = request.metadata_json().encode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(_explain(error)) from error
    if not bytes(request.content.params).lstrip().startswith(b"{"):
        raise _invalid("content.params: expected an object")
    try:
        # Reads the params to their end: what cannot be read is refused here, not at the claim.
        _ = request.digest
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(f"content.params: {_explain(error)}") from error
    if len(metadata) > MAX_METADATA_BYTES:
        size = len(metadata)
        raise _invalid(f"metadata: {size} bytes of JSON, at most {MAX_METADATA_BYTES} are kept")
    try:
        # It passes for JSON, and no reader of the completion event could hold it.
        msgspec.json.decode(metadata)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid("metadata: a number is out of range, or it is nested too deeply") from error
    _refuse_repeated_names(body, memoryview(request.content.params))
    return request


def document_digest(design_id: str, version: int, file_name: str, params: msgspec.Raw) -> str:
    """SHA-256 in hex over what a PDF is made of.

    The order of keys, white space and the form of a number (`1.50`, `1.5`) do not count: the
    service may write them in its own way.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: `params` cannot be read.
    """
    with _reading:
        document = (design_id.lower(), version, file_name, _params_decoder.decode(params))
        digest = hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()
        del document
    return digest


def _plain_number(text: str) -> msgspec.Raw:
    """The one way to write a decimal; a float would hold 17 digits of it and none of 1e400."""
    try:
        number = Decimal(text)
    except InvalidOperation:  # An exponent of twenty digits.
        return msgspec.Raw(text)
    if not number:
        return msgspec.Raw("0")  # `-0.0` too, of which JavaScript makes `0`.
    if abs(number.adjusted()) > MAX_PLAIN_DIGITS:
        return msgspec.Raw(text)
    plain = format(number, "f")
    return msgspec.Raw(plain.rstrip("0").rstrip(".") if "." in plain else plain)


_params_decoder: Final = msgspec.json.Decoder(float_hook=_plain_number)

# Read, params take many times the memory of their text. A batch would read them side by side and
# be no faster for it: the decoder holds the interpreter's lock.
_reading: Final = Lock()


def is_job_id(text: str) -> bool:
    """Whether the text could be a job's id."""
    return re.match(_JOB_ID, text) is not None


def salvage_job_id(body: bytes, fallback: str) -> str:
    """The job id of a message that may be invalid otherwise, or `fallback` where there is none."""
    try:
        return _job_id_decoder.decode(body).job_id
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
