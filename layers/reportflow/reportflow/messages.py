"""What travels on the queues: the request that upstream sends, and the completed file."""

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from functools import cache
from typing import Annotated, Final, Literal

import msgspec

from reportflow.contract import Contract
from reportflow.contract.document import (
    END,
    MAX_PARAMS_DEPTH,
    Content,
    Document,
    composed,
)
from reportflow.contract.files import CompletedFile
from reportflow.contract.json_values import nests_deeper
from reportflow.errors import Permanent

_JOB_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}" + END

MAX_METADATA_BYTES: Final = 16 * 1024
"""Of `metadata`, and of whatever else comes back in the job's record and events."""

MAX_METADATA_DEPTH: Final = 100
"""EventBridge reads the event that carries the metadata, and takes about 1,000 levels in all."""

MAX_FILE_NAME_BYTES: Final = 640
"""In UTF-8. S3 takes 2,048 bytes of headers, and one has the name with up to three for each."""

OWN_JOB_ID: Final = "reportflowJobId"
"""The message attribute by which our command line names a message's job."""

JobId = Annotated[str, msgspec.Meta(pattern=_JOB_ID)]

_RULES: Final = {
    "jobId": "1 to 128 letters, digits, '.', '_' or '-', starting with a letter or digit",
    "designId": "1 to 128 letters, digits, '_', '-', '.' or '~', not starting with '.' or '~'",
}


class GenerationRequest[C: Content](Document[C], frozen=True):
    """One message on the request queue: ReportFlow's own request body and two fields of ours.

    `job_id` is the caller's idempotency key. `metadata` stays with the job and is never sent to
    ReportFlow.
    """

    job_id: JobId | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)

    def metadata_json(self) -> str:
        """The metadata as JSON text."""
        return msgspec.json.encode(self.metadata).decode()


class Check(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
    tag="check",
):
    """The other message on the download queue: a completion check, in case the webhook is lost."""

    job_id: JobId


type Download = CompletedFile | Check


class _OnlyJobId(msgspec.Struct, rename="camel"):
    job_id: JobId


_KINDS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "object": "an object",
    "array": "an array",
    "null": "null",
}
"""JSON's words for what msgspec names in Python's."""

_OF_ENVELOPES: Final = frozenset({"Type", "Message", "Records", "detail-type", "detail", "source"})

_UNKNOWN: Final = re.compile(
    r"Object contains unknown field `(?P<name>.*?)`(?: - at `\$\.(?P<inside>content)`)?", re.DOTALL
)
"""What msgspec says of a field that no struct has."""

_UNKNOWN_FIELD: Final = "unknown field; the dead letter and the job's record name it"

_download_decoder: Final[msgspec.json.Decoder[Download]] = msgspec.json.Decoder(
    CompletedFile | Check
)
_job_id_decoder: Final = msgspec.json.Decoder(_OnlyJobId)


@cache
def _request_decoder(content: type[Content]) -> msgspec.json.Decoder[GenerationRequest[Content]]:
    return msgspec.json.Decoder(GenerationRequest[content])  # type: ignore[valid-type]


def parse_request(body: bytes, contract: Contract) -> GenerationRequest[Content]:
    """Read a message of the request queue.

    The file name is kept in its composed form, whatever the sender's file system made of it, and
    as ReportFlow will write it.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field and what it allows.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        request = _request_decoder(contract.content).decode(body)
        metadata = request.metadata_json().encode()
    except (ValueError, RecursionError) as error:
        raise _invalid(_explain(error, body, contract)) from error
    if mistake := request.content.mistake():
        raise _invalid(f"content.{mistake}")
    name = contract.file_name(composed(request.content.file_name))
    if (size := len(name.encode())) > MAX_FILE_NAME_BYTES:
        raise _invalid(f"content.fileName: {size} bytes, at most {MAX_FILE_NAME_BYTES} are kept")
    if name != request.content.file_name:
        content = msgspec.structs.replace(request.content, file_name=name)
        request = msgspec.structs.replace(request, content=content)
    if passthrough := request.content.passthrough_json():
        _check_returned("content.passthrough", passthrough.encode())
    try:
        # Reads the params to their end: what cannot be read is refused here, not at the claim.
        _ = request.digest
    except (ValueError, RecursionError) as error:
        raise _invalid(f"content.params: {_explain(error, body, contract)}") from error
    _check_returned("metadata", metadata)
    return request


def _check_returned(field: str, text: bytes) -> None:
    """Refuse an object that the record or the completion event could not hold."""
    if len(text) > MAX_METADATA_BYTES:
        raise _invalid(f"{field}: {len(text)} bytes of JSON, at most {MAX_METADATA_BYTES} are kept")
    too_deep = f"{field}: nested too deeply, at most {MAX_METADATA_DEPTH} levels"
    try:
        content = msgspec.json.decode(text)
    except RecursionError as error:
        raise _invalid(too_deep) from error
    except msgspec.DecodeError as error:
        # It passes for JSON, and no reader of the completion event could hold it.
        raise _invalid(f"{field}: a number is out of range, or a text is not Unicode") from error
    if nests_deeper(content, MAX_METADATA_DEPTH):
        raise _invalid(too_deep)
    if not _is_exact(content):
        raise _invalid(f"{field}: a whole number has more than 64 bits; write it as a string")


def _is_exact(content: object) -> bool:
    """Whether EventBridge takes all whole numbers of it."""
    if isinstance(content, dict):
        return all(map(_is_exact, content.values()))
    if isinstance(content, list):
        return all(map(_is_exact, content))
    return not isinstance(content, int) or -(2**63) <= content < 2**63


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

    It comes without a byte order mark. No request has the members of an envelope. The detail of an
    event is kept byte for byte.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        return _notification_decoder.decode(body).message.encode().removeprefix(BOM_UTF8)
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
    except (ValueError, RecursionError):
        return fallback


def parse_download(body: bytes) -> Download:
    """Read a message of the download queue.

    Raises:
        Permanent: `INVALID_MESSAGE`, naming the field.
    """
    try:
        return _download_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(_explain(error, body)) from error


def _invalid(text: str) -> Permanent:
    """The refusal of a message; unknown fields' names and refused ids are in no log."""
    own = _UNKNOWN_FIELD if "unknown field" in text else text.partition("; got ")[0]
    return Permanent("INVALID_MESSAGE", text, loggable=own)


def _explain(error: Exception, body: bytes, contract: Contract | None = None) -> str:
    """What is wrong with the body, by the field's path, in JSON's words."""
    if isinstance(error, RecursionError):
        return (
            f"nested too deeply: content.params may nest {MAX_PARAMS_DEPTH} levels, metadata "
            f"{MAX_METADATA_DEPTH}"
        )
    if isinstance(error, UnicodeError):
        return "the JSON is not valid Unicode"
    if type(error) is ValueError:
        return str(error)
    if not isinstance(error, msgspec.ValidationError):
        return f"the body is not JSON: {_malformed(str(error), body)}"
    # The name is the sender's, and may hold anything.
    if unknown := _UNKNOWN.fullmatch(str(error)):
        return _name_unknown(unknown["name"], unknown["inside"], contract)
    text, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", text):
        field = f"{field}.{missing[1]}".lstrip(".")
        text = "the field is missing"
    elif " matching regex " in text and contract:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        given = msgspec.json.decode(fields[field], type=str)
        text = f"expected {_RULES[field]}; got {given[:64]!r}"
    else:
        text = re.sub(r"`(\w+)`", lambda kind: _KINDS.get(kind[1], kind[0]), text)
        text = text[:1].lower() + text[1:]
    return f"{field}: {text}" if field else text


def _malformed(text: str, body: bytes) -> str:
    if not body.strip():
        return "it is empty"
    return text.removeprefix("JSON is malformed: ").replace("Input data was", "it is")


def _name_unknown(name: str, inside: str | None, contract: Contract | None) -> str:
    known = contract.content if inside and contract else GenerationRequest
    meant = [
        each.encode_name
        for each in msgspec.structs.fields(known)
        if each.encode_name.lower() == re.sub("[^a-z]", "", name.lower())
    ]
    if meant:
        hint = f"expected {meant[0]}"
    elif name in _OF_ENVELOPES:
        hint = (
            "this looks like an envelope inside an envelope, or one of a service other than SNS "
            "and EventBridge"
        )
    else:
        hint = "put your own data under metadata"
    text = f"unknown field '{name[:64]}'; {hint}"
    return f"{inside}: {text}" if inside else text
