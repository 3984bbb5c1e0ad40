"""The `workspace` contract: one host a workspace, `AppKey` and `SecretKey`.

The 202 has a `url` for the file. The webhook has a `uuid`, which is the other half of the download
path, and quotes the document. Source: ReportFlow's page on asynchronous generation.
"""

from collections.abc import Mapping
from contextlib import suppress
from itertools import batched
from string import ascii_letters, digits
from typing import Any, Final

import msgspec

from reportflow.contract.document import (
    MAX_PARAMS_DEPTH,
    Content,
    Document,
    OpaqueId,
    digest_of,
    file_name_mistake,
    is_opaque_id,
)
from reportflow.contract.files import Accepted, CompletedFile, Location, Mark
from reportflow.contract.json_values import members, nests_deeper

MAX_REQUEST_BYTES: Final = 20 * 1024 * 1024
"""ReportFlow's documented limit of a request's body."""

MAX_URL_CHARACTERS: Final = 16 * 1024
"""A longer URL of a 202 is not kept, and the job waits for its webhook."""

_FILE_NAME_RULE: Final = (
    "1 to 200 letters, digits, Japanese characters, '-', '_' or '.', not starting with '.'"
)
_ASCII: Final = frozenset(ascii_letters + digits + "-_.")
_RANGES: Final = "々〇ぁゖ\u3099ゟァヿㇰㇿ㐀䶿一鿿\uf900\ufaff０９ＡＺａｚｦﾟ\U00020000\U000323af"
JAPANESE: Final = tuple(batched(_RANGES, 2, strict=True))
"""The first and the last character of each range."""

_URL: Final = "workspace url "
_UUID: Final = "workspace uuid "


class WorkspaceContent(Content, frozen=True):
    """The PDF's name and the template's parameters."""

    def mistake(self) -> str:
        """See `Content.mistake`."""
        fits = 1 <= len(self.file_name) <= 200 and not self.file_name.startswith(".")
        return (
            file_name_mistake(self.file_name, _FILE_NAME_RULE, _may_name_have, fits=fits)
            or super().mistake()
        )


def _may_name_have(character: str) -> bool:
    return character in _ASCII or any(first <= character <= last for first, last in JAPANESE)


class _Acceptance(msgspec.Struct, rename="camel"):
    file_id: OpaqueId
    url: Any = ""


class _File(msgspec.Struct, rename="camel"):
    file_id: OpaqueId
    uuid: OpaqueId
    file_name: Any = None
    params: Any = None


class Workspace:
    """A contract. What a name is for is the same in the other contracts; what it holds is not."""

    name: Final = "workspace"
    """The value of the setting `contract`."""

    content: Final = WorkspaceContent
    """The kind of `content` that a message may have."""

    max_request_bytes: Final = MAX_REQUEST_BYTES

    credentials: Final[tuple[tuple[str, ...], ...]] = (("appKey", "secretKey"),)
    """The names in the secret that authenticate a request; each alternative is complete."""

    def file_name(self, name: str) -> str:
        """The file name that ReportFlow will give to the file: the name as it is."""
        return name

    def body(self, document: Document[Any], _: Mark) -> bytes:
        """The body of the request that asks for the document: `{designId, version, content}`."""
        return msgspec.json.encode(
            {
                "designId": document.design_id,
                "version": document.version,
                "content": document.content,
            }
        )

    def headers(self, *keys: str) -> Mapping[str, str]:
        """The headers of the first alternative of `credentials`."""
        app_key, secret_key = keys
        return {"AppKey": app_key, "SecretKey": secret_key}

    def accepted(self, answer: bytes, _: Mark) -> Accepted:
        """Read the body of a success: `{url, fileId}`, in which only `fileId` must be valid.

        Raises:
            msgspec.DecodeError: it does not name the file, or is the answer to another request.
        """
        accepted = msgspec.json.decode(answer, type=_Acceptance)
        url = accepted.url
        kept = isinstance(url, str) and len(url) <= MAX_URL_CHARACTERS
        return Accepted(accepted.file_id, _URL + (url if kept else ""))

    def location(self, file_id: str, reference: str) -> Location | None:
        """Where a file is; None if the reference belongs to another contract.

        That is `/file/download/{uuid}/{fileId}` after the webhook, and the 202's URL before it.
        """
        uuid = reference.removeprefix(_UUID)
        if uuid != reference and is_opaque_id(uuid):
            return Location(path=f"/file/download/{uuid}/{file_id}")
        if reference.startswith(_URL):
            return Location(url=reference.removeprefix(_URL))
        return None

    def completed(
        self, _: Mapping[str, Any], design_id: str, version: int, entry: Mapping[str, Any]
    ) -> CompletedFile:
        """The file that an event's entry reports: `{fileId, uuid, fileName, params}`.

        Nothing of the customer's data is kept but a digest.

        Raises:
            msgspec.ValidationError: a field is missing or malformed.
        """
        file = members(entry, _File)
        digest = _digest(design_id, version, file)
        return CompletedFile(file.file_id, _UUID + file.uuid, design_id, version, digest)


def former_reference(record: Mapping[str, Mapping[str, Any]]) -> str:
    """The reference of a file in an item of a version before 1.0, which kept its parts."""
    url, uuid = (str(record.get(name, {}).get("S", "")) for name in ("url", "uuid"))
    if uuid:
        return _UUID + uuid
    return _URL + url if url else ""


def _digest(design_id: str, version: int, file: _File) -> str:
    """The document's digest; empty if it is incomplete, or is none that a request may hold."""
    name, params = file.file_name, file.params
    if not isinstance(name, str) or not isinstance(params, dict):
        return ""
    if nests_deeper(params, MAX_PARAMS_DEPTH):
        return ""
    with suppress(UnicodeEncodeError):
        return digest_of(design_id, version, name, params)
    return ""
