"""The `central` contract: one host for all workspaces, an `appkey` or an OAuth token.

A file has the id of its request and its own. The webhook does not quote the document. Instead it
returns `passthrough`, in which each submission carries its `Mark`. Source: ReportFlow's API
reference of today.
"""

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from reportflow.contract.document import (
    Content,
    Document,
    JsonObject,
    OpaqueId,
    file_name_mistake,
    is_opaque_id,
)
from reportflow.contract.files import Accepted, CompletedFile, Location, Mark
from reportflow.contract.json_values import members, read_json

OWN_KEY: Final = "reportflowJob"
"""Our key in `passthrough`. The service prints top-level texts and numbers of `passthrough` into
the PDF, so the mark is nested in an object."""

MAX_REQUEST_BYTES: Final = 50 * 1024 * 1024
"""ReportFlow's documented limit of a request's body."""

_FILE_NAME_RULE: Final = (
    "1 to 200 characters other than / \\ : * ? \" < > | and control characters, not only '.pdf'"
)
_PDF: Final = ".pdf"
_REFERENCE: Final = "central"
_SHARE_TYPES: Final = ("01", "02", "03")
ShareType = Annotated[str, msgspec.Meta(extra_json_schema={"enum": _SHARE_TYPES})]


class CentralContent(Content, frozen=True):
    """The PDF's name and the template's parameters, and how it is shared.

    `share_type` is `01` (workspace), `02` (invited people) or `03` (public). `passthrough` comes
    back in the job's record and events. ReportFlow prints its top-level texts and numbers into the
    PDF's metadata.
    """

    share_type: ShareType | msgspec.UnsetType = msgspec.UNSET
    passcode_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    passthrough: JsonObject | msgspec.UnsetType = msgspec.UNSET

    def mistake(self) -> str:
        """See `Content.mistake`."""
        try:
            text = bytes(self.passthrough or b"{}").decode()
            names = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).keys()
        except UnicodeDecodeError:
            return "passthrough: the JSON is not valid UTF-8"
        except msgspec.DecodeError:
            return "passthrough: expected an object"
        if OWN_KEY in names:
            return f"passthrough: the key {OWN_KEY} is reserved"
        if self.share_type not in (msgspec.UNSET, *_SHARE_TYPES):
            return f'shareType: expected one of "01", "02", "03"; got "{self.share_type[:64]}"'
        name = self.file_name
        fits = 1 <= len(name) <= 200 and name.strip() != "" and name.lstrip() != _PDF
        return (
            file_name_mistake(name, _FILE_NAME_RULE, _may_name_have, fits=fits) or super().mistake()
        )

    def options(self) -> dict[str, object]:
        """The fields that upstream set."""
        options: dict[str, object] = {}
        if self.share_type:
            options["shareType"] = self.share_type
        if self.passcode_enabled is not msgspec.UNSET:
            options["passcodeEnabled"] = self.passcode_enabled
        if self.passthrough is not msgspec.UNSET:
            options["passthrough"] = read_json(self.passthrough_json())
        return options

    def passthrough_json(self) -> str:
        """The caller's object, as it was written."""
        return bytes(self.passthrough or b"").decode()


def _may_name_have(character: str) -> bool:
    return character not in '/\\:*?"<>|' and unicodedata.category(character) != "Cc"


class _File(msgspec.Struct, rename="camel"):
    file_id: OpaqueId
    passthrough: Any = None


class _Entry(_File):
    uuid: msgspec.UnsetType = msgspec.UNSET
    """An entry that has one is the other contract's, right or wrong."""


class _Acceptance(msgspec.Struct, rename="camel"):
    request_id: OpaqueId
    files: Annotated[list[_File], msgspec.Meta(min_length=1, max_length=1)]


class _Request(msgspec.Struct, rename="camel"):
    request_id: OpaqueId


class Central:
    """A contract. See `Workspace` for what each name means."""

    name: Final = "central"
    content: Final = CentralContent
    max_request_bytes: Final = MAX_REQUEST_BYTES
    credentials: Final[tuple[tuple[str, ...], ...]] = (
        ("centralAppKey",),
        ("clientId", "clientSecret"),
    )

    def file_name(self, name: str) -> str:
        """With one `.pdf`: ReportFlow drops it and adds it again."""
        return name if name.endswith(_PDF) else name + _PDF

    def body(self, document: Document[Any], mark: Mark) -> bytes:
        """`{designId, version, content}`, the mark beside the caller's own `passthrough`."""
        content: CentralContent = document.content
        own = msgspec.json.encode({OWN_KEY: mark})
        inner = bytes(content.passthrough or b"{}").strip()[1:-1].strip()
        passthrough = own[:-1] + (b"," + inner if inner else b"") + b"}"
        return msgspec.json.encode(
            {
                "designId": document.design_id,
                "version": document.version,
                "content": msgspec.structs.replace(content, passthrough=msgspec.Raw(passthrough)),
            }
        )

    def headers(self, *keys: str) -> Mapping[str, str]:
        """The key alone."""
        [app_key] = keys
        return {"appkey": app_key}

    def accepted(self, answer: bytes, mark: Mark) -> Accepted:
        """`{requestId, files: [{fileId, passthrough?}]}`; its `url` means several things."""
        accepted = msgspec.json.decode(answer, type=_Acceptance)
        [file] = accepted.files
        if _mark(file.passthrough) not in (None, mark):
            raise msgspec.ValidationError("the answer returns the mark of another request")
        return Accepted(f"{accepted.request_id}/{file.file_id}", _REFERENCE)

    def location(self, file_id: str, reference: str) -> Location | None:
        """`/file/download/{requestId}/{fileId}`, before the webhook and after it."""
        return Location(path=f"/file/download/{file_id}") if reference == _REFERENCE else None

    def completed(
        self, event: Mapping[str, Any], design_id: str, version: int, entry: Mapping[str, Any]
    ) -> CompletedFile:
        """`{fileId, fileName, passthrough?, share}` of the event's `requestId`."""
        request_id = members(event, _Request).request_id
        file = members(entry, _Entry)
        file_id = f"{request_id}/{file.file_id}"
        return CompletedFile(file_id, _REFERENCE, design_id, version, mark=_mark(file.passthrough))


def _mark(passthrough: object) -> Mark | None:
    """The mark that the submission carried; None if there is none, or it is no mark of ours."""
    try:
        mark = members(passthrough[OWN_KEY] if isinstance(passthrough, dict) else None, Mark)
    except (KeyError, msgspec.ValidationError):
        return None
    return mark if is_opaque_id(mark.job_id) and is_opaque_id(mark.tag) else None
