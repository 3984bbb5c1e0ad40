"""What travels on the queues: the request that upstream sends, and the completed file."""

import hashlib
import re
from functools import cached_property
from typing import Annotated, Final

import msgspec

from reportflow.errors import Permanent

# `$` alone also matches before a final newline.
_END: Final = r"$(?!\n)"
_UUID: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}" + _END
_JOB_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + _END
_OPAQUE_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}" + _END
_JAPANESE: Final = "々〆〇ぁ-ゖ゙-ゟァ-ヿㇰ-ㇿ㐀-䶿一-鿿豈-﫿０-９Ａ-Ｚａ-ｚｦ-ﾟ"
_FILE_NAME: Final = rf"^[A-Za-z0-9_{_JAPANESE}-][A-Za-z0-9._{_JAPANESE}-]{{0,199}}" + _END

MAX_METADATA_BYTES: Final = 16 * 1024
MAX_REQUEST_BYTES: Final = 20 * 1024 * 1024
"""ReportFlow's documented limit of a `workspace` request body."""

JobId = Annotated[str, msgspec.Meta(pattern=_JOB_ID)]
DesignId = Annotated[str, msgspec.Meta(pattern=_UUID)]
Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
FileName = Annotated[str, msgspec.Meta(pattern=_FILE_NAME)]
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
    params: msgspec.Raw


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
        canonical = msgspec.json.encode(
            (
                self.design_id.lower(),
                self.version,
                self.content.file_name,
                _params_decoder.decode(self.content.params),
            ),
            order="sorted",
        )
        return hashlib.sha256(canonical).hexdigest()


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
    """

    file_id: OpaqueId
    uuid: OpaqueId
    design_id: DesignId
    version: Version


class _OnlyJobId(msgspec.Struct, rename="camel"):
    job_id: JobId


# A float would hold 17 digits of a decimal and none of 1e400.
_params_decoder: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_request_decoder: Final = msgspec.json.Decoder(GenerationRequest)
_completed_decoder: Final = msgspec.json.Decoder(CompletedFile)
_job_id_decoder: Final = msgspec.json.Decoder(_OnlyJobId)


def parse_request(body: bytes) -> GenerationRequest:
    """Read a message of the request queue.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field and what it allows.
    """
    try:
        request = _request_decoder.decode(body)
        size = len(request.metadata_json().encode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent("INVALID_MESSAGE", _explain(error)) from error
    if not bytes(request.content.params).lstrip().startswith(b"{"):
        raise Permanent("INVALID_MESSAGE", "content.params: expected an object")
    try:
        # Reads the params to their end: what cannot be read is refused here, not at the claim.
        _ = request.digest
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent("INVALID_MESSAGE", f"content.params: {_explain(error)}") from error
    if size > MAX_METADATA_BYTES:
        raise Permanent(
            "INVALID_MESSAGE",
            f"metadata: {size} bytes of JSON, at most {MAX_METADATA_BYTES} are kept",
        )
    return request


def salvage_job_id(body: bytes, fallback: str) -> str:
    """The job id of a message that may be invalid otherwise, or `fallback` where there is none."""
    try:
        return _job_id_decoder.decode(body).job_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return fallback


def parse_completed(body: bytes) -> CompletedFile:
    """Read a message of the download queue.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field.
    """
    try:
        return _completed_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent("INVALID_MESSAGE", _explain(error)) from error


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
