"""From the deployment's secret to the headers that authenticate a request."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Annotated, Final
from urllib.parse import quote_plus

import msgspec
import requests
from urllib3.exceptions import HTTPError

from reportflow.contract import Contract
from reportflow.contract.failures import translate_status
from reportflow.errors import CredentialsRefused, OutOfTime, PipelineError, Retryable
from reportflow.http_session import Session
from reportflow.secret import REREAD_SECONDS, SecretStore

RENEWAL_SHARE: Final = 0.9
"""A token is renewed when this share of its life is over."""


class _Token(msgspec.Struct, frozen=True):
    """A token of one client. `renew_at` is when the next one is due."""

    client: tuple[str, str]
    text: str
    fetched_at: datetime
    renew_at: datetime

    def __repr__(self) -> str:
        return "_Token()"


class _Answer(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]+$(?!\n)")]
    expires_in: float = 3600.0


class Tokens:
    """OAuth 2.0 client credentials (RFC 6749, 4.4). Thread-safe: all threads share a token."""

    def __init__(self, session: Session, url: str, *, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._url = url
        self._clock = clock
        self._lock = Lock()
        self._token: _Token | None = None

    def get(self, client: tuple[str, str], end: float, *, fresh: bool) -> str:
        """A token for the client's id and secret, fetched if there is none.

        By `end` on the monotonic clock it is given up, the wait for another thread's fetch too.
        With `fresh`, ReportFlow has refused the last one: it is replaced unless it is brand-new.

        Raises:
            CredentialsRefused: the client is refused.
            Retryable: no token came.
        """
        if not self._lock.acquire(timeout=max(end - monotonic(), 0)):
            raise OutOfTime
        try:
            now, token = self._clock(), self._token
            if (
                token is None
                or token.client != client
                or now >= token.renew_at
                or (fresh and not 0 <= (now - token.fetched_at).total_seconds() < REREAD_SECONDS)
            ):
                token = self._token = self._fetch(client, end, now)
            return token.text
        finally:
            self._lock.release()

    def _fetch(self, client: tuple[str, str], end: float, now: datetime) -> _Token:
        if (seconds := end - monotonic()) <= 0:
            raise OutOfTime
        basic = b64encode(":".join(map(quote_plus, client)).encode()).decode()
        try:
            with self._session.request(
                "POST",
                self._url,
                headers={
                    "Authorization": f"Basic {basic}",
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
                body=b"grant_type=client_credentials&scope=pdf%3Agenerate",
                seconds=seconds,
            ) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code)
                content = response.raw.read(64 * 1024, decode_content=True)
            # Some servers write `expires_in` as a text.
            answer = msgspec.json.decode(content, type=_Answer, strict=False)
        except (requests.RequestException, HTTPError, ValueError, RecursionError) as error:
            # The text of the error could quote the token.
            name = type(error).__name__
            raise Retryable("TOKEN_MISSING", f"no token came from ReportFlow ({name})") from None
        life = timedelta(seconds=min(max(answer.expires_in, 0.0), 86_400.0)) * RENEWAL_SHARE
        return _Token(client, answer.access_token, now, now + life)


def _refusal(status: int) -> PipelineError:
    if status in {400, 401, 403}:
        return CredentialsRefused(
            f"HTTP_{status}",
            f"ReportFlow answered {status} to clientId and clientSecret: correct the secret",
        )
    error = translate_status(status, "")
    return error if isinstance(error, Retryable) else Retryable.of(error)


class Credentials:
    """The headers of the contract's first alternative that the secret fills in."""

    def __init__(self, secrets: SecretStore, contract: Contract, tokens: Tokens) -> None:
        self._secrets = secrets
        self._contract = contract
        self._tokens = tokens

    def headers(self, seconds: float, *, fresh: bool = False) -> Mapping[str, str]:
        """The headers; `fresh` if ReportFlow has refused those that the last call returned.

        Raises:
            CredentialsRefused: the secret is not filled in, or malformed.
            Retryable: Secrets Manager or ReportFlow's token endpoint does not answer.
        """
        end = monotonic() + seconds
        secret = self._secrets.get_fresh() if fresh else self._secrets.get()
        # Whoever has sent a message too early fills the secret in now.
        found = find_keys(self._contract, secret.keys) or find_keys(
            self._contract, self._secrets.get_fresh().keys
        )
        if found is None:
            names = ", or ".join(" and ".join(names) for names in self._contract.credentials)
            raise CredentialsRefused(
                "KEYS_MISSING",
                f"the secret holds no {names} of printable ASCII: put them there",
            )
        number, keys = found
        if number == 0:
            return self._contract.headers(*keys)
        client_id, client_secret = keys
        token = self._tokens.get((client_id, client_secret), end, fresh=fresh)
        return {"Authorization": f"Bearer {token}"}


def find_keys(contract: Contract, keys: Mapping[str, str]) -> tuple[int, tuple[str, ...]] | None:
    """The number of the first alternative that is filled in, and its keys."""
    for number, names in enumerate(contract.credentials):
        found = tuple(keys.get(name, "") for name in names)
        if all(map(is_usable, found)):
            return number, found
    return None


def is_usable(key: str) -> bool:
    """Whether it can stand in a header: an error about anything else would show it."""
    return bool(key) and key.isascii() and key.isprintable()
