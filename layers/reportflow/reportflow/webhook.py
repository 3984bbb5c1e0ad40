"""What ReportFlow's webhook must be before it is believed.

Every check is a function over the raw request, and `verify` calls them in their order. A refusal
carries its reason for our log and metric, and a bland status for the caller.
"""

import hmac
import json
import math
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from itertools import batched
from typing import Annotated, Any, Final, Protocol

import msgspec

from reportflow import aws
from reportflow.errors import CredentialsRefused, OutOfTime
from reportflow.messages import CompletedFile, DesignId, OpaqueId, Version, document_digest
from reportflow.queues import MAX_BATCH
from reportflow.secret import Secret
from reportflow.signature import Flaw, InvalidSignature, check_signature, signing_keys

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""Lambda's own limit for what API Gateway may hand over."""

MAX_FILES: Final = 100
"""ReportFlow makes at most so many files a request."""

COMPLETED: Final = "file.completed"


class Refusal(StrEnum):
    """Why a request is not believed."""

    TOO_LARGE = "TooLarge"
    WRONG_METHOD = "WrongMethod"
    UNKNOWN_CALLER = "UnknownCaller"
    SIGNATURE_MISSING = Flaw.MISSING.value
    SIGNATURE_MALFORMED = Flaw.MALFORMED.value
    SIGNATURE_EXPIRED = Flaw.EXPIRED.value
    SIGNATURE_WRONG = Flaw.WRONG.value
    NOT_JSON = "NotJson"
    REPEATED_NAME = "RepeatedName"
    WRONG_SHAPE = "WrongShape"
    WRONG_WORKSPACE = "WrongWorkspace"

    @property
    def status(self) -> HTTPStatus:
        """The status of the answer.

        Whoever has not proved who they are sees a route that is not there. Only of the size do
        they hear more: API Gateway itself tells that to everybody.
        """
        if self is Refusal.TOO_LARGE:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return HTTPStatus.NOT_FOUND if self in _OF_STRANGERS else HTTPStatus.BAD_REQUEST


_OF_STRANGERS: Final = frozenset(
    {Refusal.WRONG_METHOD, Refusal.UNKNOWN_CALLER, *(Refusal(flaw.value) for flaw in Flaw)}
)
_CURED_BY_A_NEWER_SECRET: Final = frozenset({Refusal.UNKNOWN_CALLER, Refusal.SIGNATURE_WRONG})


class Refused(Exception):
    """The request can never become right."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """One request as API Gateway's payload format 2.0 hands it over.

    `headers` have their names in lower case. `body` is None where it is not what its encoding
    says. Neither the token nor the headers are shown.
    """

    method: str
    token: str
    headers: Mapping[str, str]
    body: bytes | None

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {len(self.body or b'')} bytes)"


@dataclass(frozen=True)
class Expected:
    """What a deployment believes: one workspace's webhooks, and whether they must be signed."""

    workspace_id: str
    signed: bool = False


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
    files: Annotated[list[_File], msgspec.Meta(max_length=MAX_FILES)]


_event_decoder: Final = msgspec.json.Decoder(_Event)
_completed_decoder: Final = msgspec.json.Decoder(_Completed)


def request_of(event: Mapping[str, Any]) -> Request:
    """Read payload format 2.0, base64 bodies too. What is missing or of another type is empty."""
    http = _object(_object(event.get("requestContext")).get("http"))
    return Request(
        method=_text(http.get("method")),
        token=_text(_object(event.get("pathParameters")).get("token")),
        headers={
            name.lower(): value
            for name, value in _object(event.get("headers")).items()
            if isinstance(name, str) and isinstance(value, str)
        },
        body=_body(event),
    )


def verify(request: Request, secret: Secret, expected: Expected, now: float) -> list[CompletedFile]:
    """The files that ReportFlow says are done; none for an event that is not about files.

    Nothing of `params` is kept but a digest: they are the customer's data.

    Raises:
        Refused: with the first reason found.
        CredentialsRefused: signatures are expected, and the secret has no key to check them with.
    """
    check_size(request)
    check_method(request)
    check_token(request, secret.webhook_tokens)
    if expected.signed:
        check_signed(request, secret.webhook_signing_secrets, now)
    body = json_of(request)
    if _decode(body, _event_decoder).event != COMPLETED:
        return []
    return completed_files(body, expected.workspace_id)


def check_size(request: Request) -> None:
    """Refuse what Lambda would not have handed over."""
    if len(request.body or b"") > MAX_BODY_BYTES:
        raise Refused(Refusal.TOO_LARGE)


def check_method(request: Request) -> None:
    """Refuse everything but POST."""
    if request.method != "POST":
        raise Refused(Refusal.WRONG_METHOD)


def check_token(request: Request, tokens: Iterable[str]) -> None:
    """Refuse whoever does not know the secret in the URL.

    In constant time, and with every accepted token whatever the first comparison says.
    """
    given = request.token.encode(errors="surrogatepass")
    matches = [hmac.compare_digest(given, token.encode()) for token in tokens if token]
    if not any(matches):
        raise Refused(Refusal.UNKNOWN_CALLER)


def check_signed(request: Request, secrets: Iterable[str], now: float) -> None:
    """Refuse what the relay in front has not signed.

    Without a key nothing can be told from anything. That is an outage of ours, which a later try
    may find mended, and not a fault of the sender's.
    """
    keys = signing_keys(secrets)
    if not keys:
        raise CredentialsRefused(
            "SIGNING_SECRET_MISSING",
            "webhook_signature is on: put the relay's whsec_ secrets into the secret, as the list "
            "webhookSigningSecrets",
        )
    if request.body is None:
        raise Refused(Refusal.SIGNATURE_WRONG)
    try:
        check_signature(request.headers, request.body, keys, now)
    except InvalidSignature as invalid:
        raise Refused(Refusal(invalid.flaw.value)) from invalid


def json_of(request: Request) -> bytes:
    """The body, of which everybody reads the same: JSON in UTF-8, no name twice in an object."""
    if request.body is None:
        raise Refused(Refusal.NOT_JSON)
    try:
        # msgspec takes the last of two values, and does not look into the strings that it skips.
        json.loads(request.body.decode(), object_pairs_hook=_refuse_repeated_names)
    except (ValueError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    return request.body


def completed_files(body: bytes, workspace_id: str) -> list[CompletedFile]:
    """The files of a `file.completed` of this workspace; one that is named twice counts once."""
    event = _decode(body, _completed_decoder)
    if event.workspace_id != workspace_id:
        raise Refused(Refusal.WRONG_WORKSPACE)
    return list(dict.fromkeys(_completed(event, file) for file in event.files))


class Secrets(Protocol):
    """Where the accepted tokens and the relay's signing secrets come from."""

    def get(self) -> Secret:
        """The secret as known."""

    def get_fresh(self) -> Secret:
        """The secret read again: the token may be newer than what is known."""


class Destination(Protocol):
    """Where verified files go."""

    def send(self, files: Sequence[CompletedFile]) -> None:
        """Store all of them, or raise `Retryable`."""


@dataclass(frozen=True)
class Receiver:
    """The webhook's work: verify, then store."""

    secrets: Secrets
    destination: Destination
    workspace_id: str
    signed: bool = field(default=False, kw_only=True)
    clock: Callable[[], float] = field(default=time.time, kw_only=True)

    def receive(
        self, event: Mapping[str, Any], seconds_left: Callable[[], float] = lambda: math.inf
    ) -> list[CompletedFile]:
        """Store the event's files and return them.

        `seconds_left` is the time until nobody waits for the answer any more.

        Raises:
            Refused: the request can never become right.
            Retryable: the files are not all stored; the sender must come again, and those that
                are stored may be stored again.
        """
        files = self._verified(request_of(event), seconds_left)
        for some in batched(files, MAX_BATCH, strict=False):
            _leave_time_to_answer(seconds_left)
            self.destination.send(some)
        return files

    def _verified(self, request: Request, seconds_left: Callable[[], float]) -> list[CompletedFile]:
        expected = Expected(self.workspace_id, self.signed)
        secret = self.secrets.get()
        try:
            return verify(request, secret, expected, self.clock())
        except Refused as refused:
            if refused.reason not in _CURED_BY_A_NEWER_SECRET:
                raise
        except CredentialsRefused:
            pass
        # The secret may have been changed since it was read.
        _leave_time_to_answer(seconds_left)
        return verify(request, self.secrets.get_fresh(), expected, self.clock())


def _leave_time_to_answer(seconds_left: Callable[[], float]) -> None:
    """Begin no call that a hanging AWS could draw out beyond the function's time-out."""
    if seconds_left() <= aws.PROMPT_SECONDS:
        raise OutOfTime


def _body(event: Mapping[str, Any]) -> bytes | None:
    text = _text(event.get("body"))
    try:
        return b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:
        return None


def _object(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _refuse_repeated_names(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) < len(members):
        raise Refused(Refusal.REPEATED_NAME)


def _decode[T](body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(Refusal.WRONG_SHAPE) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error


def _completed(event: _Completed, file: _File) -> CompletedFile:
    try:
        digest = document_digest(event.design_id, event.version, file.file_name, file.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    return CompletedFile(file.file_id, file.uuid, event.design_id, event.version, digest)
