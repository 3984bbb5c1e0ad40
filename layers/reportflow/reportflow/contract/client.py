"""ReportFlow over HTTP, in either contract."""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
import requests
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

from reportflow.contract import Contract
from reportflow.contract.credentials import Credentials, Tokens
from reportflow.contract.document import Document
from reportflow.contract.failures import (
    REFUSED_KEYS,
    REQUEST_TIMEOUT,
    TOO_MANY_REQUESTS,
    parse_retry_after,
    translate_exception,
    translate_status,
)
from reportflow.contract.files import Accepted, Mark
from reportflow.errors import FileMissing, OutcomeUnknown, OutOfTime, PipelineError, Retryable
from reportflow.http_session import Session
from reportflow.rate_limiter import RateLimiter
from reportflow.secret import SecretStore

SHORTEST_SECONDS: Final = 1.0
"""With less than this to connect and to be answered, no request is begun."""

MORE_BYTES: Final = 1024 * 1024
"""A success is read up to the size of a request and this: some services repeat the request."""

MAX_REFUSAL_BYTES: Final = 64 * 1024
"""The most that is read of a refusal's words."""

CHUNK_BYTES: Final = 64 * 1024

_SAYS_MISSING: Final = re.compile("NOT_READY|NOT_FOUND|DOWNLOAD_NOT_AVAILABLE")
_OF_LOAD: Final = frozenset({REQUEST_TIMEOUT, TOO_MANY_REQUESTS})
_WITHOUT_KEYS: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-type", "user-agent"}
)
_PDF_HEADERS: Final = {"Accept": "application/pdf", "Accept-Encoding": "identity"}


class Endpoint(msgspec.Struct, frozen=True):
    """A contract and the base URL where it is spoken, as in `https://ws.re-port-flow.com/v1`."""

    contract: Contract
    base_url: str


class ReportFlow:
    """A client of one workspace. Thread-safe; each request has a connection of its own.

    The host is always the configured one. No payload decides it, no redirect is followed, and no
    proxy or `.netrc` is taken from the environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        secrets: SecretStore,
        rate_limiter: RateLimiter,
        *,
        clock: Callable[[], datetime],
        files_url: str = "",
        token_url: str = "",
        former: Sequence[Endpoint] = (),
    ) -> None:
        """`files_url` is what URLs in answers begin with, as in `https://re-port-flow.com/`.

        `token_url` is where OAuth tokens come from. `former` are where a deployment that has moved
        from one contract to another still finds the files of older jobs.
        """
        self._session = Session()
        self._files_url = files_url.rstrip("/") + "/"
        self._rate_limiter = rate_limiter
        self._clock = clock
        tokens = Tokens(self._session, token_url, clock=clock)
        self._endpoints = {
            each: Credentials(secrets, each.contract, tokens) for each in (endpoint, *former)
        }
        self._endpoint = endpoint

    def await_slot(self, deadline: datetime) -> None:
        """Wait until one more request keeps the rate limit; what it is for ends by `deadline`.

        Raises:
            NoSlot, Retryable: no slot is free soon enough, or the table does not answer.
        """
        self._rate_limiter.wait(deadline)

    def submit(self, document: Document[Any], mark: Mark, deadline: datetime) -> Accepted:
        """Ask for one PDF with `POST /file/async/single`; by `deadline` it is given up.

        Raises:
            OutcomeUnknown: the request left, and its answer is lost or unreadable.
            Retryable, Permanent: it was not taken, or there is no time left to ask.
        """
        contract = self._endpoint.contract
        with self._send(
            self._endpoint,
            "POST",
            "/file/async/single",
            headers={"Content-Type": "application/json"},
            body=contract.body(document, mark),
            deadline=deadline,
        ) as response:
            if not 200 <= response.status_code < 300:
                # ReportFlow may quote the request. Readers of the reason must not learn the tag.
                raise self._refusal(response, _message(response).replace(mark.tag, "***"))
            return _accepted(contract, mark, response)

    @contextmanager
    def open(self, file_id: str, reference: str, deadline: datetime) -> Iterator[requests.Response]:
        """Open a file by `deadline`; the body is not read yet.

        Raises:
            FileMissing: there is none, or not yet, or its URL is not under the configured one.
            Retryable, Permanent: ReportFlow does not give it, now or at all.
        """
        for endpoint in self._endpoints:
            where = endpoint.contract.location(file_id, reference)
            if where is not None:
                break
        else:
            raise FileMissing(
                "CONTRACT_UNKNOWN",
                "the job was submitted by another contract: set former_reportflow_url",
            )
        if not where.path and not where.url.startswith(self._files_url):
            raise FileMissing("URL_ELSEWHERE", "the 202's URL is not under reportflow_files_url")
        try:
            with (
                self._send(endpoint, "GET", where.path, headers=_PDF_HEADERS, deadline=deadline)
                if where.path
                else self._request("GET", where.url, headers=_PDF_HEADERS, deadline=deadline)
            ) as response:
                if response.status_code != 200:
                    said = _message(response)
                    if _is_missing(response.status_code, said, with_keys=bool(where.path)):
                        raise _missing(response.status_code, said)
                    raise self._refusal(response, said)
                yield response
        except OutcomeUnknown as error:
            # Asking for a file twice does no harm.
            raise Retryable.of(error) from error

    @contextmanager
    def _send(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: datetime,
    ) -> Iterator[requests.Response]:
        """Send with the known keys, and once more with fresh ones if ReportFlow refuses those."""
        credentials = self._endpoints[endpoint]

        def send(keys: Mapping[str, str]) -> requests.Response:
            url = endpoint.base_url.rstrip("/") + path
            return self._request(
                method, url, headers={**headers, **keys}, body=body, deadline=deadline
            )

        keys = credentials.headers(self._seconds_until(deadline))
        with send(keys) as response:
            if response.status_code not in REFUSED_KEYS or (
                (fresh := credentials.headers(self._seconds_until(deadline), fresh=True)) == keys
            ):
                yield response
                return
        with send(fresh) as response:
            yield response

    def _request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: datetime,
    ) -> requests.Response:
        seconds = self._seconds_until(deadline)
        try:
            return self._session.request(method, url, headers=headers, body=body, seconds=seconds)
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

    def _refusal(self, response: requests.Response, said: str) -> PipelineError:
        retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock())
        if response.status_code == TOO_MANY_REQUESTS:
            self._rate_limiter.pause(retry_after)
        return translate_status(response.status_code, said, retry_after_seconds=retry_after)


def content_of(response: requests.Response) -> Iterator[bytes]:
    """The body of an opened file as it comes; `iter_content` would wait for a whole chunk.

    Raises:
        Retryable: it does not arrive in time, or not whole, or not as it says.
    """
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            yield chunk
    except ReadTimeoutError as error:
        raise Retryable("DOWNLOAD_TOO_SLOW", "the file did not arrive in time") from error
    except DecodeError as error:
        raise Retryable(
            "UNREADABLE_CODING", "the file is not coded as its Content-Encoding says"
        ) from error
    except HTTPError as error:
        raise Retryable(
            "TRUNCATED", f"the download was cut off ({type(error).__name__})"
        ) from error


def _is_missing(status: int, said: str, *, with_keys: bool) -> bool:
    """Whether this answer to a download means that the file is not there, or not yet.

    No page says which status means "not yet". So each refusal does that is not about the load or
    the keys, and the job's deadline decides. A URL takes no keys, so none can be refused.
    """
    others = _OF_LOAD | REFUSED_KEYS if with_keys else _OF_LOAD
    return (status < 500 and status not in others) or bool(_SAYS_MISSING.search(said))


def _missing(status: int, said: str) -> FileMissing:
    """Not yet, if ReportFlow says so in the one word that is known; or no longer, or never."""
    if "NOT_READY" in said:
        return FileMissing("NOT_READY", f"ReportFlow still makes the file ({status})")
    return FileMissing(f"HTTP_{status}", f"ReportFlow has no such file ({status})")


class _ErrorBody(msgspec.Struct):
    message: str | list[str] = ""


def _accepted(contract: Contract, mark: Mark, response: requests.Response) -> Accepted:
    """Read a success: the file's id is what counts.

    Raises:
        OutcomeUnknown: there is none in it, or it was cut off.
    """
    try:
        return contract.accepted(_start(response, contract.max_request_bytes + MORE_BYTES), mark)
    except (ValueError, RecursionError, requests.RequestException) as error:
        raise OutcomeUnknown(
            "UNREADABLE_ANSWER",
            f"ReportFlow answered {response.status_code} without a fileId: the PDF may be on its "
            "way",
        ) from error


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
    except (ValueError, RecursionError, requests.RequestException):
        return ""
    text = said if isinstance(said, str) else "; ".join(said)
    for name, value in response.request.headers.items():
        if name.lower() not in _WITHOUT_KEYS:
            text = text.replace(value.removeprefix("Bearer "), "***")
    return text[:500]
