"""What ReportFlow's webhook must be before it is believed.

Every check is a function over the raw request. A refusal carries its reason for our log and one
bland answer for the caller.
"""

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec

from reportflow.messages import CompletedFile, DesignId, OpaqueId, Version, document_digest
from reportflow.secret import Secret

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""Lambda's own limit for what API Gateway may hand over."""

MAX_FILES: Final = 1000
"""ReportFlow makes at most 100 files a request; nothing honest is ten times as long."""

COMPLETED: Final = "file.completed"


class Refusal(StrEnum):
    """Why a request is not believed."""

    TOO_LARGE = "TooLarge"
    WRONG_METHOD = "WrongMethod"
    UNKNOWN_CALLER = "UnknownCaller"
    NOT_JSON = "NotJson"
    WRONG_SHAPE = "WrongShape"
    WRONG_WORKSPACE = "WrongWorkspace"

    @property
    def status(self) -> HTTPStatus:
        """The status of the answer; a wrong token looks like a route that is not there."""
        if self in {Refusal.UNKNOWN_CALLER, Refusal.WRONG_METHOD}:
            return HTTPStatus.NOT_FOUND
        if self is Refusal.TOO_LARGE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return HTTPStatus.BAD_REQUEST


class Refused(Exception):
    """The request can never become right."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """One request as API Gateway's payload format 2.0 hands it over. The token is not shown."""

    method: str
    token: str
    body: bytes

    def __repr__(self) -> str:
        return f"Request({self.method}, {len(self.body)} bytes)"


class _File(msgspec.Struct, rename="camel"):
    file_id: OpaqueId
    uuid: OpaqueId
    file_name: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Event(msgspec.Struct, rename="camel"):
    event: str


class _Completed(msgspec.Struct, rename="camel"):
    workspace_id: str
    design_id: DesignId
    version: Version
    files: list[_File]


_event_decoder: Final = msgspec.json.Decoder(_Event)
_completed_decoder: Final = msgspec.json.Decoder(_Completed)


def request_of(event: Mapping[str, Any]) -> Request:
    """Read payload format 2.0, base64 bodies too.

    Raises:
        Refused: the body is not what its encoding says.
    """
    text = event.get("body") or ""
    try:
        body = b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except (Base64Error, UnicodeEncodeError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    return Request(
        method=event["requestContext"]["http"]["method"],
        token=(event.get("pathParameters") or {}).get("token", ""),
        body=body,
    )


def verify(request: Request, tokens: Iterable[str], workspace_id: str) -> list[CompletedFile]:
    """The files that ReportFlow says are done; none for an event that is not about files.

    Nothing of `params` is kept but a digest: they are the customer's data.

    Raises:
        Refused: with the first reason found, in the order size, method, token, JSON, shape, event,
            workspace.
    """
    if len(request.body) > MAX_BODY_BYTES:
        raise Refused(Refusal.TOO_LARGE)
    if request.method != "POST":
        raise Refused(Refusal.WRONG_METHOD)
    if not _is_one_of(request.token, tokens):
        raise Refused(Refusal.UNKNOWN_CALLER)
    if _decode(request.body, _event_decoder).event != COMPLETED:
        return []
    completed = _decode(request.body, _completed_decoder)
    if completed.workspace_id != workspace_id:
        raise Refused(Refusal.WRONG_WORKSPACE)
    if len(completed.files) > MAX_FILES:
        raise Refused(Refusal.WRONG_SHAPE)
    files = {file.file_id: _completed(completed, file) for file in completed.files}
    return list(files.values())


def _completed(event: _Completed, file: _File) -> CompletedFile:
    try:
        digest = document_digest(event.design_id, event.version, file.file_name, file.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    return CompletedFile(file.file_id, file.uuid, event.design_id, event.version, digest)


class Tokens(Protocol):
    """Where the accepted tokens come from."""

    def get(self) -> Secret:
        """The secret as known."""

    def get_fresh(self) -> Secret:
        """The secret read again: the token may be newer than what is known."""


class Destination(Protocol):
    """Where verified files go."""

    def send(self, files: Sequence[CompletedFile]) -> None:
        """Store all of them, or raise `Retryable`."""


class Receiver:
    """The webhook's work: verify, then store."""

    def __init__(self, tokens: Tokens, destination: Destination, workspace_id: str) -> None:
        self._tokens = tokens
        self._destination = destination
        self._workspace_id = workspace_id

    def receive(self, event: Mapping[str, Any]) -> list[CompletedFile]:
        """Store the event's files and return them.

        Raises:
            Refused: the request can never become right.
            Retryable: the files are not all stored; the sender must come again.
        """
        request = request_of(event)
        try:
            files = verify(request, self._tokens.get().webhook_tokens, self._workspace_id)
        except Refused as refused:
            if refused.reason is not Refusal.UNKNOWN_CALLER:
                raise
            # The token may have been rotated since the secret was read.
            files = verify(request, self._tokens.get_fresh().webhook_tokens, self._workspace_id)
        if files:
            self._destination.send(files)
        return files


def _is_one_of(token: str, accepted: Iterable[str]) -> bool:
    """Compare in constant time, with every accepted token whatever the first comparison says."""
    given = token.encode(errors="surrogatepass")
    matches = [hmac.compare_digest(given, one.encode()) for one in accepted if one]
    return any(matches)


def _decode[T](body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(Refusal.WRONG_SHAPE) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
