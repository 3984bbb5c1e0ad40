"""The token endpoint of `central`: OAuth's client-credentials grant, and the issued tokens."""

import secrets
from base64 import b64decode
from collections.abc import Mapping
from threading import Lock
from time import monotonic
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

from local.emulator.api import same
from local.emulator.messages import Answer, Request
from local.emulator.settings import EmulatorSettings

SCOPES: Final = frozenset(
    {
        "openid",
        "profile",
        "designs:read",
        "designs:write",
        "templates:read",
        "templates:write",
        "pdf:generate",
    }
)
_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = {"Cache-Control": "no-store"}


class Tokens:
    """The access tokens of one client. A request without a scope gets `default_scope`."""

    def __init__(self, settings: EmulatorSettings, default_scope: str) -> None:
        self._settings = settings
        self._default_scope = default_scope
        self._tokens: dict[str, tuple[frozenset[str], float]] = {}
        self._lock = Lock()

    def issue(self, request: Request) -> Answer:
        """Answer a request for a token, refusals included, in the form of RFC 6749."""
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
            return _error(400, "invalid_request", f"Content-Type must be {_FORM}")
        form = dict(parse_qsl(request.body.decode(errors="replace")))
        client_id, secret = _client(request, form)
        if client_id != self._settings.client_id or not same(secret, self._settings.client_secret):
            return _error(401, "invalid_client", "Unknown client or wrong secret")
        if form.get("grant_type") != "client_credentials":
            return _error(400, "unsupported_grant_type", "grant_type must be client_credentials")
        scopes = frozenset(form.get("scope", self._default_scope).split())
        if not scopes <= SCOPES:
            return _error(400, "invalid_scope", f"Unknown scope {' '.join(scopes - SCOPES)}")
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[token] = scopes, monotonic() + self._settings.token_seconds
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(self._settings.token_seconds),
            "scope": " ".join(sorted(scopes)),
        }
        return Answer.json(200, answer, _NO_STORE)

    def scopes(self, authorization: str) -> frozenset[str] | None:
        """Return the scopes of the header's token, or None if it is unknown or expired."""
        scheme, _, token = authorization.partition(" ")
        with self._lock:
            scopes, expires = self._tokens.get(token.strip(), (frozenset(), 0.0))
        return scopes if scheme.lower() == "bearer" and monotonic() < expires else None

    def revoke(self) -> None:
        """Accept none of the tokens issued so far, although they have not expired."""
        with self._lock:
            self._tokens.clear()


def _client(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """The client's id and secret, from HTTP Basic or from the form."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _error(status: int, error: str, description: str) -> Answer:
    headers = _NO_STORE | ({"WWW-Authenticate": "Basic"} if status == 401 else {})
    return Answer.json(status, {"error": error, "error_description": description}, headers)
