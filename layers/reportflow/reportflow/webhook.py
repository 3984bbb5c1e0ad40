"""The webhook's work: verify a request, and put the files that it reports into the queue.

`verify` calls the checks in their order. Each is a function over the raw request.
"""

import hmac
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from reportflow.contract.files import ReportedFiles
from reportflow.contract.webhook_body import read_webhook
from reportflow.errors import CredentialsRefused
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.secret import Secret, SecretStore
from reportflow.signature import check_signature, signing_keys

PROBES: Final = frozenset({"GET", "HEAD"})
"""A settings form tries a URL with these methods before it saves it."""

_CURED_BY_A_NEWER_SECRET: Final = frozenset({Refusal.UNKNOWN_CALLER, Refusal.SIGNATURE_WRONG})


class Request(msgspec.Struct, frozen=True):
    """One request of API Gateway, payload format 2.0. Its repr hides the token and the headers.

    `headers` have their names in lower case. `body` is None if it cannot be decoded.
    """

    method: str
    token: str
    headers: Mapping[str, str]
    body: bytes | None

    def __repr__(self) -> str:
        return f"Request({self.method!r}, {len(self.body or b'')} bytes)"


def request_of(event: Mapping[str, Any]) -> Request:
    """Read payload format 2.0, base64 bodies too. A missing or mistyped part is empty."""
    http = _object(_object(event.get("requestContext")).get("http"))
    return Request(
        method=_text(http.get("method")),
        # The route's variable is greedy, so that a URL with a trailing slash has a route too.
        token=_text(_object(event.get("pathParameters")).get("token")).removesuffix("/"),
        headers={
            name.lower(): value
            for name, value in _object(event.get("headers")).items()
            if isinstance(name, str) and isinstance(value, str)
        },
        body=_body(event),
    )


def verify(
    request: Request, secret: Secret, workspace_id: str, now: float, *, signed: bool = False
) -> ReportedFiles:
    """The files that the request reports as finished; none if it is about something else.

    Only webhooks of this workspace are believed, and only `signed` ones if that is set.

    Raises:
        Refused: with the first reason found.
        CredentialsRefused: signatures are required, and the secret has no key to check them.
    """
    check_method(request)
    check_token(request, secret.webhook_tokens)
    if signed:
        check_signed(request, secret.webhook_signing_secrets, now)
    if request.method in PROBES:
        return ReportedFiles()
    if request.body is None:
        raise Refused(Refusal.NOT_JSON)
    return read_webhook(request.body, workspace_id)


def check_method(request: Request) -> None:
    """Refuse all methods but a webhook's and those of a settings form."""
    if request.method != "POST" and request.method not in PROBES:
        raise Refused(Refusal.WRONG_METHOD)


def check_token(request: Request, tokens: Iterable[str]) -> None:
    """Refuse callers that do not know the secret in the URL.

    Compares against every accepted token, in constant time.
    """
    given = request.token.encode(errors="surrogatepass")
    matches = [hmac.compare_digest(given, token.encode()) for token in tokens if token]
    if not any(matches):
        raise Refused(Refusal.UNKNOWN_CALLER)


def check_signed(request: Request, secrets: Iterable[str], now: float) -> None:
    """Refuse requests that the signing relay has not signed.

    Without a key no signature can be checked. That is an outage of the deployment, which the
    sender's next try may find fixed.
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
    check_signature(request.headers, request.body, keys, now)


class Receiver(msgspec.Struct, frozen=True):
    """Verifies a request, then stores its files."""

    secrets: SecretStore
    destination: Downloads
    workspace_id: str
    signed: bool = False
    clock: Callable[[], float] = time.time

    def receive(self, event: Mapping[str, Any]) -> ReportedFiles:
        """Store the event's files and return them.

        Raises:
            Refused: the request can never become valid.
            Retryable: some files are not stored. The sender must repeat the request; storing a file
                twice does no harm.
        """
        reported = self._verified(request_of(event))
        self.destination.send(reported.files)
        return reported

    def _verified(self, request: Request) -> ReportedFiles:
        checked = partial(verify, request, workspace_id=self.workspace_id, signed=self.signed)
        try:
            return checked(self.secrets.get(), now=self.clock())
        except Refused as refused:
            if refused.reason not in _CURED_BY_A_NEWER_SECRET:
                raise
        except CredentialsRefused:
            pass
        # The secret may have been changed since it was read.
        return checked(self.secrets.get_fresh(), now=self.clock())


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
