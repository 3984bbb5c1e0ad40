"""What ReportFlow's webhook must be before it is believed.

Every check is a function over the raw request, and `verify` calls them in their order. A refusal
carries its reason for our log and metric, and a bland status for the caller.
"""

import hmac
import math
import re
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from itertools import batched
from typing import Annotated, Any, Final

import msgspec

from reportflow import aws
from reportflow.errors import CredentialsRefused, OutOfTime
from reportflow.messages import (
    MAX_PARAMS_DEPTH,
    CompletedFile,
    DesignId,
    OpaqueId,
    Version,
    digest_of,
    read_json,
)
from reportflow.queues import MAX_BATCH, Downloads
from reportflow.secret import Secret, SecretStore
from reportflow.signature import Flaw, InvalidSignature, check_signature, signing_keys

MAX_BODY_BYTES: Final = 6 * 1024 * 1024
"""Lambda's own limit for what API Gateway may hand over."""

MAX_FILES: Final = 100
"""ReportFlow makes at most so many files a request."""

COMPLETED: Final = "file.completed"

PROBES: Final = frozenset({"GET", "HEAD"})
"""Methods by which a form tries a URL before it saves it."""

_BOM: Final = b"\xef\xbb\xbf"


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
    WRONG_ENTRY = "WrongEntry"
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
    file_name: Any = None
    params: Any = None


class _Completed(msgspec.Struct, rename="camel"):
    workspace_id: str
    design_id: DesignId
    version: Version
    files: Annotated[list[Any], msgspec.Meta(max_length=MAX_FILES)]


@dataclass(frozen=True)
class Announced:
    """What a request says is done: the files, and how many entries are none."""

    files: list[CompletedFile] = field(default_factory=list)
    wrong_entries: int = 0


def request_of(event: Mapping[str, Any]) -> Request:
    """Read payload format 2.0, base64 bodies too. What is missing or of another type is empty."""
    http = _object(_object(event.get("requestContext")).get("http"))
    return Request(
        method=_text(http.get("method")),
        # The route's variable is greedy, so that a URL with a slash at its end has a route too.
        token=_text(_object(event.get("pathParameters")).get("token")).removesuffix("/"),
        headers={
            name.lower(): value
            for name, value in _object(event.get("headers")).items()
            if isinstance(name, str) and isinstance(value, str)
        },
        body=_body(event),
    )


def verify(request: Request, secret: Secret, expected: Expected, now: float) -> Announced:
    """What ReportFlow says is done; nothing for a request that is not about files.

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
    if request.method in PROBES:
        return Announced()
    content = json_of(request)
    if content.get("event") != COMPLETED:
        return Announced()
    return completed_files(content, expected.workspace_id)


def check_size(request: Request) -> None:
    """Refuse what Lambda would not have handed over."""
    if len(request.body or b"") > MAX_BODY_BYTES:
        raise Refused(Refusal.TOO_LARGE)


def check_method(request: Request) -> None:
    """Refuse everything but a webhook, and what a form sends to try the URL."""
    if request.method != "POST" and request.method not in PROBES:
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


def json_of(request: Request) -> dict[str, Any]:
    """The object in the body; an empty one for an empty body, as a form sends to try the URL.

    Outside of `params` two readers of it see the same: a name that stands twice is refused.
    """
    if request.body is None:
        raise Refused(Refusal.NOT_JSON)
    body = request.body.removeprefix(_BOM)
    if not body.strip():
        return {}
    repeated: dict[int, list[tuple[str, Any]]] = {}

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            # The pairs keep alive what the object has lost, and with it the ids.
            repeated[id(made)] = [("", made), *pairs]
        return made

    try:
        content = read_json(body.decode(), keep)
    except (ValueError, RecursionError) as error:
        raise Refused(Refusal.NOT_JSON) from error
    if not isinstance(content, dict):
        raise Refused(Refusal.WRONG_SHAPE)
    if repeated and not _customers(content, repeated).issuperset(repeated):
        raise Refused(Refusal.REPEATED_NAME)
    return content


def completed_files(content: Mapping[str, Any], workspace_id: str) -> Announced:
    """The files of a `file.completed` of this workspace; one that is named twice counts once.

    An entry that is not about a file takes none of the others with it.
    """
    try:
        event = _read({**content, "version": _version(content)}, _Completed)
    except msgspec.ValidationError as error:
        raise Refused(Refusal.WRONG_SHAPE) from error
    if event.workspace_id != workspace_id:
        raise Refused(Refusal.WRONG_WORKSPACE)
    files = [_completed(event, entry) for entry in event.files]
    found = list(dict.fromkeys(file for file in files if file is not None))
    if files and not found:
        raise Refused(Refusal.WRONG_SHAPE)
    return Announced(found, files.count(None))


@dataclass(frozen=True)
class Receiver:
    """The webhook's work: verify, then store."""

    secrets: SecretStore
    destination: Downloads
    workspace_id: str
    signed: bool = field(default=False, kw_only=True)
    clock: Callable[[], float] = field(default=time.time, kw_only=True)

    def receive(
        self, event: Mapping[str, Any], seconds_left: Callable[[], float] = lambda: math.inf
    ) -> Announced:
        """Store the event's files and return them.

        `seconds_left` is the time until nobody waits for the answer any more.

        Raises:
            Refused: the request can never become right.
            Retryable: the files are not all stored; the sender must come again, and those that
                are stored may be stored again.
        """
        announced = self._verified(request_of(event), seconds_left)
        for some in batched(announced.files, MAX_BATCH, strict=False):
            _leave_time_to_answer(seconds_left)
            self.destination.send(some)
        return announced

    def _verified(self, request: Request, seconds_left: Callable[[], float]) -> Announced:
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


def _customers(
    content: Mapping[str, Any], repeated: Mapping[int, list[tuple[str, Any]]]
) -> set[int]:
    """The ids of all objects within the entries' `params`, in which names are not ours to judge."""
    entries = content.get("files")
    waiting = [
        entry["params"]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and "params" in entry
    ]
    found = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and id(value) not in found:
            found.add(id(value))
            waiting += [part for _, part in repeated.get(id(value), value.items())]
    return found


def _read[T: msgspec.Struct](value: object, kind: type[T]) -> T:
    """The members that are ours; msgspec cannot read every name that JSON may hold."""
    if isinstance(value, dict):
        names = kind.__struct_encode_fields__
        value = {name: value[name] for name in names if name in value}
    return msgspec.convert(value, kind)


def _version(content: Mapping[str, Any]) -> object:
    """The version as a number: a form, or a careless sender, may write it as a text."""
    version = content.get("version")
    is_number = isinstance(version, str) and _NUMBER.fullmatch(version)
    return int(version) if is_number and version is not None else version


_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")


def _completed(event: _Completed, entry: object) -> CompletedFile | None:
    """The file that the entry is about, or None."""
    try:
        file = _read(entry, _File)
    except msgspec.ValidationError:
        return None
    return CompletedFile(
        file.file_id, file.uuid, event.design_id, event.version, _digest(event, file)
    )


def _digest(event: _Completed, file: _File) -> str:
    """The document's digest; empty if it is not all there, or is none that a request may hold."""
    name, params = file.file_name, file.params
    if (
        not isinstance(name, str)
        or not isinstance(params, dict)
        or _nests_deeper(params, MAX_PARAMS_DEPTH)
    ):
        return ""
    try:
        return digest_of(event.design_id, event.version, name, params)
    except UnicodeEncodeError:
        return ""


def _nests_deeper(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [
            part
            for value in level
            if isinstance(value, (dict, list))
            for part in (value.values() if isinstance(value, dict) else value)
            if isinstance(part, (dict, list))
        ]
        if not level:
            return False
    return True
