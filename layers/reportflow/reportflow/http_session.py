"""Sends HTTP requests to ReportFlow: one connection per request, one time-out for all of it.

No connection is used twice. So no request reads another one's answer, or finds a connection that
the network dropped while Lambda froze the function. After a lost answer, ReportFlow may always have
the request. At ReportFlow's rate limit, the extra handshakes cost little.

The libraries' time-outs count for one address or one socket operation only. With many unreachable
addresses, or a server that sends a few bytes at a time, a request would never end.
"""

import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse, InvalidURL
from math import inf
from time import monotonic
from typing import Any, Final, cast, override

import requests
from certifi import where
from requests.structures import CaseInsensitiveDict
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util import Url, parse_url

from reportflow import tls

CONNECT_SECONDS: Final = 3.05
"""The longest time to connect to one address of the host."""

CONNECT_SHARE: Final = 0.5
"""The share of a request's time for DNS, the connection and the handshake."""

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
        self.verify: bool | str = True
        """The root certificates: certifi's if True, or those of a file."""
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

        The request fails unless the last byte of the body arrives within `seconds`.

        Raises:
            requests.RequestException: there is no answer. Its argument says why.
        """
        end = monotonic() + seconds
        sent = {"User-Agent": USER_AGENT, "Connection": "close", **headers}
        as_sent = {"preload_content": False, "decode_content": False}
        try:
            place = parse_url(url)
            connection = self._connection(place, seconds)
            try:
                connection.request(method, place.request_uri, body, sent, **as_sent)
                connection.timeout = _left(end)
                answer = connection.getresponse()
            except BaseException:
                connection.close()
                raise
        except (HTTPError, HTTPException, OSError) as error:
            raise requests.ConnectionError(error) from error
        return _response(sent, answer)

    def _connection(self, place: Url, seconds: float) -> "_Connection":
        if place.scheme not in ("http", "https") or not place.host:
            raise InvalidURL("expected http or https, and a host")
        if place.scheme != "https":
            return _Connection(place.host, place.port, timeout=seconds)
        roots = where() if self.verify is True else str(self.verify)
        return _TlsConnection(place.host, place.port, timeout=seconds, ca_certs=roots)


def _response(sent: Mapping[str, str], answer: BaseHTTPResponse) -> requests.Response:
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

    @override
    def begin(self) -> None:
        super().begin()
        for _ in range(MAX_INTERIM_ANSWERS):
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                # Whatever the server says, nothing else is read from the connection.
                self.will_close = True
                return
            self.headers = self.msg = cast("Any", None)
            super().begin()
        raise BadStatusLine("interim answers only")


class _Socket(socket.socket):
    """A socket whose time-out limits all of its receives together, not each one alone.

    Sending and the handshake are one operation each, which the usual time-out limits.
    """

    is_for_all = True
    _end: float = inf

    @override
    def settimeout(self, value: float | None, /) -> None:
        self._end = inf if value is None else monotonic() + value
        super().settimeout(value)

    @override
    def recv_into(self, *arguments: Any, **options: Any) -> int:
        if self.is_for_all:
            super().settimeout(min(READ_SECONDS, _left(self._end)))
        return super().recv_into(*arguments, **options)


class _TlsSocket(_Socket, ssl.SSLSocket):
    """The same over TLS, on the connections of `Session` only.

    botocore's sockets come from the same TLS context. Theirs is the usual time-out.
    """

    is_for_all = False


class _Connection(HTTPConnection):
    """Raises `NewConnectionError` for each failure before the request is sent.

    urllib3 raises the same error for a broken handshake as for a broken answer. But only after a
    broken handshake is it certain that ReportFlow does not have the request.
    """

    response_class = _Answer
    _connected_by: float

    @override
    def connect(self) -> None:
        seconds, begun = cast("float", self.timeout), monotonic()
        self._connected_by = begun + seconds * CONNECT_SHARE
        try:
            super().connect()
            cast("_Socket", self.sock).is_for_all = True
            self.timeout = _left(begun + seconds)
            self.sock.settimeout(self.timeout)
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error

    @override
    def request(self, *arguments: Any, **options: Any) -> None:
        # A server can refuse a request and close the connection before it has read all of it. Its
        # answer can still be read. If there is none, reading it raises an error.
        with suppress(OSError):
            super().request(*arguments, **options)

    @override
    def _new_conn(self) -> socket.socket:
        *others, last = _look_up(self.host, self.port, _left(self._connected_by))
        for address in others:
            with suppress(OSError):
                return self._reach(address)
        return self._reach(last)

    def _reach(self, address: "_Address") -> _Socket:
        family, kind, protocol, _, place = address
        reached = _Socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                reached.setsockopt(*option)
            reached.settimeout(min(CONNECT_SECONDS, _left(self._connected_by)))
            reached.connect(place)
            # The handshake may take the rest of the time for connecting.
            reached.settimeout(_left(self._connected_by))
        except OSError:
            reached.close()
            raise
        return reached


class _TlsConnection(_Connection, HTTPSConnection):
    @override
    def connect(self) -> None:
        if self.ca_certs:
            tls.context(self.ca_certs).sslsocket_class = _TlsSocket
            tls.share(self)
        super().connect()


type _Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def _look_up(host: str, port: int, seconds: float) -> Sequence[_Address]:
    """Return the host's addresses; in a thread, because the system's resolver has no time-out."""
    resolver = ThreadPoolExecutor(1)
    try:
        looked_up = resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return looked_up.result(seconds)
    finally:
        resolver.shutdown(wait=False)


def _left(end: float) -> float:
    """Return the seconds until `end`.

    Raises:
        TimeoutError: `end` has passed.
    """
    left = end - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
