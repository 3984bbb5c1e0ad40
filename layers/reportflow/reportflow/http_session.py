"""Sends HTTP requests to ReportFlow: one connection per request, one time-out for its answer.

No connection is used twice. So no request reads another one's answer, or finds a connection that
the network dropped while Lambda froze the function. After a lost answer, ReportFlow may always have
the request. At ReportFlow's rate limit, the extra handshakes cost little.

A socket's time-out counts for one read only. With a server that sends a few bytes at a time, a
request would never end.
"""

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse, InvalidURL
from io import BufferedReader, RawIOBase
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast, override

import requests
from certifi import where
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util import Url, parse_url

from reportflow import tls

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS: Final = 3.05
"""The longest time to connect to one address of the host, and for the handshake after it."""

CONNECT_SHARE: Final = 0.25
"""The share of a request's time for one address: a host may have several that do not answer."""

READ_SECONDS: Final = 10.0
"""The longest wait for the next bytes of an answer."""

USER_AGENT: Final = "reportflow-pipeline"

MAX_INTERIM_ANSWERS: Final = 20
"""With more interim answers than this before the final one, the request fails."""


class Session:
    """Sends requests that share no state. Thread-safe.

    `requests.Session` would follow redirects, keep cookies, and read proxies and `.netrc`. Its pool
    would keep connections.
    """

    def __init__(self) -> None:
        self.roots = where()
        """The file of the root certificates."""
        # urllib3's warnings about bad headers contain the URL, and the URL alone gives the PDF.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        body: bytes | None = None,
    ) -> requests.Response:
        """Send a request and return the answer before its body is read.

        Reading fails unless the last byte of the body arrives within `seconds`.

        Raises:
            requests.RequestException: there is no answer. Its argument says why; it is a
                `NewConnectionError` if no connection was made, so that nothing was sent.
        """
        end = monotonic() + seconds
        sent = {"User-Agent": USER_AGENT, "Connection": "close", **headers}
        try:
            place = parse_url(url)
            connection = self._connection(place, min(CONNECT_SECONDS, seconds * CONNECT_SHARE))
            connection.response_class = cast("Any", partial(_Answer, end=end))
            try:
                _connect(connection, end)
                # A server can refuse a request and close the connection before it has read all of
                # it. Its answer can still be read. If there is none, reading it raises an error.
                with suppress(OSError):
                    connection.request(method, place.request_uri, body, sent, preload_content=False)
                answer = connection.getresponse()
            except BaseException:
                connection.close()
                raise
        except (HTTPError, HTTPException, OSError) as error:
            raise requests.ConnectionError(error) from error
        return _response(sent, answer)

    def _connection(self, place: Url, seconds: float) -> HTTPConnection:
        if place.scheme not in ("http", "https") or not place.host:
            raise InvalidURL("expected http or https, and a host")
        if place.scheme != "https":
            return HTTPConnection(place.host, place.port, timeout=seconds)
        context = tls.context(self.roots)
        return HTTPSConnection(place.host, place.port, timeout=seconds, ssl_context=context)


def _connect(connection: HTTPConnection, end: float) -> None:
    """Connect, and leave the rest of the time for the request.

    urllib3 raises the same error for a broken handshake as for a broken answer. But only after a
    broken handshake is it certain that ReportFlow does not have the request.

    Raises:
        NewConnectionError: there is no connection, or no time left to use it.
    """
    try:
        connection.connect()
        connection.timeout = _left(end)
    except (HTTPError, OSError) as error:
        raise NewConnectionError(connection, "no connection") from error


def _response(sent: Mapping[str, str], answer: "BaseHTTPResponse") -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.headers = CaseInsensitiveDict(answer.headers)
    response.raw = answer
    response.request = requests.PreparedRequest()
    response.request.headers = CaseInsensitiveDict(sent)
    return response


class _Answer(HTTPResponse):
    """The final answer to a request, without interim answers before it (RFC 9110, 15.2).

    Of those, `http.client` skips only 100. It returns any other one as the final answer.
    """

    def __init__(self, sock: socket.socket, *, method: str, end: float) -> None:
        super().__init__(sock, method=method)
        self.fp = BufferedReader(_Received(sock, cast("Any", self.fp).detach(), end))

    @override
    def begin(self) -> None:
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            self.headers = self.msg = cast("Any", None)
            super().begin()
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                # Whatever the server says, nothing else is read from the connection.
                self.will_close = True
                return
        raise BadStatusLine("interim answers only")


class _Received(RawIOBase):
    """The bytes that a socket receives until `end`."""

    def __init__(self, sock: socket.socket, stream: RawIOBase, end: float) -> None:
        self._sock = sock
        self._stream = stream
        self._end = end

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        self._sock.settimeout(min(READ_SECONDS, _left(self._end)))
        return self._stream.readinto(buffer)

    @override
    def close(self) -> None:
        self._stream.close()
        super().close()


def _left(end: float) -> float:
    """Return the seconds until `end`.

    Raises:
        TimeoutError: `end` has passed.
    """
    left = end - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
