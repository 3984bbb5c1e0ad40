"""ReportFlow over HTTP: the `workspace` contract, and its failures as ours."""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from reportflow.errors import (
    CredentialsRefused,
    FileMissing,
    OutcomeUnknown,
    OutOfTime,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
)
from reportflow.http_session import Session, has_excess
from reportflow.messages import MAX_REQUEST_BYTES, GenerationRequest, OpaqueId
from reportflow.pacing import Pace
from reportflow.secret import Secret, SecretStore

SHORTEST_SECONDS: Final = 1.0
"""With less than this to connect and to be answered, no request is begun."""

MAX_RETRY_AFTER_SECONDS: Final = 3600.0

MAX_ANSWER_BYTES: Final = MAX_REQUEST_BYTES + 1024 * 1024
"""The most that is read of a success: some services repeat the request in their answer."""

MAX_REFUSAL_BYTES: Final = 64 * 1024
"""The most that is read of a refusal's words."""

MAX_URL_CHARACTERS: Final = 16 * 1024
"""A longer URL of a 202 is not kept, and the job waits for its webhook."""

NOT_FOUND: Final = 404
TOO_MANY_REQUESTS: Final = 429
GATEWAY_TIMEOUT: Final = 504

_REFUSED_KEYS: Final = frozenset({401, 403, 412})
_PASSING: Final = frozenset({408, 425})


@dataclass(frozen=True)
class Accepted:
    """ReportFlow's 202: the file's id, and the URL it will have, if it says one."""

    file_id: str
    url: str


class _Acceptance(msgspec.Struct, rename="camel"):
    file_id: OpaqueId
    url: Any = ""


class _ErrorBody(msgspec.Struct):
    message: str | list[str] = ""


class ReportFlow:
    """A client of one workspace. Thread-safe: the session is shared, its pool holds the sockets.

    The host is the configured one, always: nothing that a payload says decides it, no redirect is
    followed, and no proxy or `.netrc` is taken from the environment.
    """

    def __init__(
        self,
        base_url: str,
        files_url: str,
        keys: SecretStore,
        pace: Pace,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """`base_url` ends with the version, as in `https://ws.re-port-flow.com/v1`.

        `files_url` is what the URLs in 202s begin with, as in `https://re-port-flow.com/`.
        """
        self._base_url = base_url.rstrip("/")
        self._files_url = files_url.rstrip("/") + "/"
        self._keys = keys
        self._pace = pace
        self._clock = clock
        self._session = Session()

    def await_slot(self, deadline: datetime) -> None:
        """Wait until one more request keeps the rate limit; what it is for ends by `deadline`.

        Raises:
            Paced, Retryable: there is no slot soon enough, or nobody knows.
        """
        self._pace.wait(deadline)

    def submit(self, request: GenerationRequest, deadline: datetime) -> Accepted:
        """Ask for one PDF with `POST /file/async/single`; by `deadline` it is given up.

        Raises:
            OutcomeUnknown: the request left and its answer is lost or not to be understood.
            Retryable, Permanent: it was not taken, or there is no time left to ask.
        """
        with self._send(
            "POST",
            "/file/async/single",
            headers={"Content-Type": "application/json"},
            body=request.service_body(),
            deadline=deadline,
        ) as response:
            if response.status_code == GATEWAY_TIMEOUT or response.status_code < 200:
                raise OutcomeUnknown(
                    f"HTTP_{response.status_code}",
                    "no final answer of ReportFlow came, and it may still be at work",
                )
            if response.status_code >= 300:
                raise self._refusal(response)
            return _accepted(response)

    @contextmanager
    def download(self, uuid: str, file_id: str, deadline: datetime) -> Iterator[requests.Response]:
        """Open a finished file by `deadline`; the body is not read yet and not compressed.

        Raises:
            FileMissing: there is none under these ids, or not yet.
            Retryable, Permanent: the file is not to be had, now or at all.
        """
        try:
            with self._send(
                "GET",
                f"/file/download/{uuid}/{file_id}",
                headers={"Accept": "application/pdf", "Accept-Encoding": "identity"},
                deadline=deadline,
            ) as response:
                if response.status_code == NOT_FOUND:
                    raise FileMissing("HTTP_404", "ReportFlow has no file under the webhook's uuid")
                if response.status_code != 200:
                    raise self._refusal(response)
                yield response
        except OutcomeUnknown as error:
            # Asking for a file twice does no harm.
            raise Retryable.of(error) from error

    @contextmanager
    def fetch(self, url: str, deadline: datetime) -> Iterator[requests.Response]:
        """Open the file under the URL of a 202, which takes no keys, by `deadline`.

        Raises:
            FileMissing: there is none under it, or not yet, or the URL is not under the configured
                one. Without keys, none can be refused.
            Retryable: ReportFlow is busy, or does not answer.
        """
        if not url.startswith(self._files_url):
            raise FileMissing("URL_ELSEWHERE", "the 202's URL is not under reportflow_files_url")
        try:
            with self._session.request(
                "GET",
                url,
                headers={"Accept": "application/pdf", "Accept-Encoding": "identity"},
                seconds=self._seconds_until(deadline),
            ) as response:
                status = response.status_code
                if status == TOO_MANY_REQUESTS or status in _PASSING or status >= 500:
                    raise self._refusal(response)
                if status != 200:
                    raise FileMissing(f"HTTP_{status}", "ReportFlow has no PDF there yet")
                yield response
        except requests.RequestException as error:
            lost = translate_exception(error)
            raise Retryable.of(lost) from error

    @contextmanager
    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: datetime,
    ) -> Iterator[requests.Response]:
        """Send with the known keys, and once more with fresh ones if those are refused."""
        keys = self._keys.get()
        if not _usable(keys):
            keys = self._keys.get_fresh()
        with self._send_once(method, path, headers, body, keys, deadline) as response:
            if response.status_code not in _REFUSED_KEYS or (
                (fresh := self._keys.get_fresh()) == keys
            ):
                yield response
                return
        with self._send_once(method, path, headers, body, fresh, deadline) as response:
            yield response

    def _send_once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        keys: Secret,
        deadline: datetime,
    ) -> requests.Response:
        if not _usable(keys):
            raise CredentialsRefused(
                "KEYS_MISSING",
                "the secret holds no appKey and secretKey of printable ASCII: put them there",
            )
        try:
            return self._session.request(
                method,
                self._base_url + path,
                headers={**headers, "AppKey": keys.app_key, "SecretKey": keys.secret_key},
                body=body,
                seconds=self._seconds_until(deadline),
            )
        except requests.RequestException as error:
            raise translate_exception(error) from error

    def _seconds_until(self, deadline: datetime) -> float:
        """How long a request that begins now may take.

        Raises:
            OutOfTime: nothing could be answered by then.
        """
        left = (deadline - self._clock()).total_seconds()
        if left < SHORTEST_SECONDS:
            raise OutOfTime
        return left

    def _refusal(self, response: requests.Response) -> PipelineError:
        retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock())
        if response.status_code == TOO_MANY_REQUESTS:
            self._pace.pause(retry_after)
        return translate_status(
            response.status_code, _message(response), retry_after_seconds=retry_after
        )


def translate_exception(error: requests.RequestException) -> PipelineError:
    """A request that brought no answer: whether it can have reached ReportFlow decides its kind."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    # What failed inside of a handshake stands behind the error of the connection.
    name = type(getattr(reason, "__cause__", None) or reason or error).__name__
    if isinstance(reason, (NewConnectionError, ConnectTimeoutError)):
        return Retryable("SERVICE_UNREACHABLE", f"no connection to ReportFlow ({name})")
    return OutcomeUnknown(
        "ANSWER_LOST", f"the request left, but ReportFlow's answer did not arrive ({name})"
    )


def translate_status(
    status: int, message: str, *, retry_after_seconds: float | None = None
) -> PipelineError:
    """An answer that is not the hoped-for one, as one of our errors.

    `message` is ReportFlow's, which may quote the params: it is no log's business.
    """
    code, answered = f"HTTP_{status}", f"ReportFlow answered {status}"
    said = f"{answered}: {message}" if message else answered
    if status in _REFUSED_KEYS:
        return CredentialsRefused(code, said, loggable=answered)
    if status == TOO_MANY_REQUESTS:
        return Throttled(code, said, loggable=answered, delay_seconds=retry_after_seconds)
    if 400 <= status < 500 and status not in _PASSING:
        return Permanent(code, said, loggable=answered)
    return Retryable(code, said, loggable=answered, delay_seconds=retry_after_seconds)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110 10.2.3), seconds or date; capped."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            seconds = float(value)
        else:
            date = parsedate_to_datetime(value)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _usable(keys: Secret) -> bool:
    """Whether both are there and can stand in a header: what cannot would show in the failure."""
    return all(
        key and key.isascii() and key.isprintable() for key in (keys.app_key, keys.secret_key)
    )


def _accepted(response: requests.Response) -> Accepted:
    """Read a success: its `fileId` is what counts, in whatever wrapping.

    Raises:
        OutcomeUnknown: there is none in it, or it was cut off, or more came behind it.
    """
    try:
        accepted = msgspec.json.decode(_start(response, MAX_ANSWER_BYTES), type=_Acceptance)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        requests.RequestException,
    ) as error:
        raise OutcomeUnknown(
            "UNREADABLE_ANSWER",
            f"ReportFlow answered {response.status_code} without a fileId: the PDF may be on its "
            "way",
        ) from error
    if has_excess(response):
        raise OutcomeUnknown("TWO_ANSWERS", "more than one answer came to the request")
    url = accepted.url
    kept = isinstance(url, str) and len(url) <= MAX_URL_CHARACTERS
    return Accepted(accepted.file_id, url if kept else "")


def _start(response: requests.Response, most: int) -> bytes:
    """The body without a byte order mark, or its first `most` bytes and a little more."""
    start = bytearray()
    for part in response.iter_content(8192):
        start += part
        if len(start) > most:
            break
    return bytes(start.removeprefix(BOM_UTF8))


def _message(response: requests.Response) -> str:
    """ReportFlow's `message`, which may be a list; empty if the body is something else.

    A key that it quotes is left out.
    """
    try:
        body = _start(response, MAX_REFUSAL_BYTES)
        said = msgspec.json.decode(body, type=_ErrorBody).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, requests.RequestException):
        return ""
    text = said if isinstance(said, str) else "; ".join(said)
    for name in ("AppKey", "SecretKey"):
        if key := response.request.headers.get(name):
            text = text.replace(key, "***")
    return text[:500]
