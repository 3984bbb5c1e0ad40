"""The HTTP session that carries the keys: one connection for each request, and a deadline.

A connection is never used twice. So no request meets an answer that belongs to another one, or a
connection that something in between has forgotten while the function was frozen; and a lost answer
always means that ReportFlow may have the request. A handshake costs little at ReportFlow's rate.

A time-out of the libraries is that of one
address, or of one operation on a socket: with many unreachable addresses, or a peer that trickles,
a request would never end. Here the time-out is that of the whole request.
"""

import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from http.client import BadStatusLine, HTTPResponse
from math import inf
from threading import Lock
from time import monotonic
from typing import Any, Final, cast, override

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

CONNECT_SECONDS: Final = 3.05
"""The longest that one address of the host may take to connect."""

CONNECT_SHARE: Final = 0.5
"""The share of a request's time for the look-up, the connection and the handshake."""

READ_SECONDS: Final = 10.0
"""The longest wait for the next bytes of an answer."""

USER_AGENT: Final = "reportflow-pipeline"

MAX_INTERIM_ANSWERS: Final = 20
"""More interim answers than this before the final one are a fault of the server."""


class Session:
    """Sends requests and knows nothing else: thread-safe, nothing of one request stays.

    `requests.Session` would follow redirects, keep cookies, and read proxies and `.netrc`.
    """

    def __init__(self) -> None:
        self.verify: bool | str = True
        """The root certificates: those of certifi, or of a file."""
        self._adapter = _Adapter(max_retries=0)
        # urllib3 logs headers that it cannot read together with the URL, which opens the file.
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
        """Send and return the answer's head; its body is not read yet.

        In `seconds` the last byte of the answer is here, or the request has failed.

        Raises:
            requests.RequestException: there is no answer.
        """
        request = requests.Request(
            method, url, {"User-Agent": USER_AGENT, "Connection": "close", **headers}, data=body
        ).prepare()
        # Only from a total does urllib3 subtract what was used up before the answer is read.
        whole = cast("Any", Timeout(total=seconds))  # The stubs know numbers only.
        return self._adapter.send(request, stream=True, timeout=whole, verify=self.verify)

    def close(self) -> None:
        """Drop what the adapter keeps."""
        self._adapter.close()


def has_excess(response: requests.Response) -> bool:
    """Whether bytes came behind the answer's end, once all of it has been read.

    Two answers to one request: it is unknown which of them is the right one.
    """
    answer = getattr(response.raw, "_original_response", None)
    return isinstance(answer, _Answer) and answer.has_excess


class _Answer(HTTPResponse):
    """The only answer of its connection, without the interim ones before it (RFC 9110, 15.2).

    `http.client` knows 100 of those. It takes any other for the final answer, and leaves the final
    one on the connection.
    """

    has_excess = False

    def __init__(self, sock: socket.socket, **options: Any) -> None:  # noqa: ANN401  (as inherited)
        super().__init__(sock, **options)
        self._sock = sock

    @override
    def begin(self) -> None:
        super().begin()
        for _ in range(MAX_INTERIM_ANSWERS):
            if self.status >= 200 or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                # So the connection is closed, and never in the pool.
                self.will_close = True
                return
            self.headers = self.msg = cast("Any", None)
            super().begin()
        raise BadStatusLine("interim answers only")

    def _close_conn(self) -> None:
        # `http.client` calls this at the end of the body, and drops what else it has received.
        with suppress(OSError, ValueError):
            self._sock.settimeout(0)
            self.has_excess = bool(cast("Any", self.fp).peek().strip())
        super()._close_conn()  # type: ignore[misc]  # the stubs name public methods only


class _Socket(socket.socket):
    """Its time-out is for all that it receives from now on, not for each part anew.

    Sending, and a handshake, are one operation, which the time-out ends as it is.
    """

    _end: float = inf

    @override
    def settimeout(self, value: float | None, /) -> None:
        self._end = inf if value is None else monotonic() + value
        super().settimeout(value)

    @override
    def recv_into(self, *arguments: Any, **options: Any) -> int:
        super().settimeout(min(READ_SECONDS, _left(self._end)))
        return super().recv_into(*arguments, **options)


class _TlsSocket(_Socket, ssl.SSLSocket):
    """The same over TLS."""


class _Connection(HTTPConnection):
    """Tells a connection that was not made from one that broke later.

    urllib3 reports a broken handshake like a broken answer, but only before the end of the
    handshake has surely nothing been sent.
    """

    response_class = _Answer
    _connected_by: float

    @override
    def connect(self) -> None:
        seconds, begun = cast("float", self.timeout), monotonic()
        self._connected_by = begun + seconds * CONNECT_SHARE
        try:
            super().connect()
            self.timeout = _left(begun + seconds)
            self.sock.settimeout(self.timeout)
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error

    @override
    def request(self, *arguments: Any, **options: Any) -> None:
        # A server may refuse a request before it has read all of it, and close the connection:
        # its answer is here all the same. If there is none, reading it says so.
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
            # For the handshake.
            reached.settimeout(_left(self._connected_by))
        except OSError:
            reached.close()
            raise
        return reached


class _TlsConnection(_Connection, HTTPSConnection):
    @override
    def connect(self) -> None:
        self.ssl_context = _tls_context(self.ca_certs)
        # urllib3 would load them again for each connection.
        ca_certs, self.ca_certs = self.ca_certs, None
        try:
            super().connect()
        finally:
            self.ca_certs = ca_certs


_loading: Final = Lock()


def _tls_context(ca_certs: str | None) -> ssl.SSLContext:
    """The process's context for these root certificates: to load them takes 31 to 37 ms of CPU."""
    with _loading:
        return _load_tls_context(ca_certs)


@cache
def _load_tls_context(ca_certs: str | None) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.sslsocket_class = _TlsSocket
    context.load_verify_locations(ca_certs)
    return context


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


type _Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def _look_up(host: str, port: int, seconds: float) -> Sequence[_Address]:
    """The host's addresses; in a thread, since the system's resolver takes no time-out."""
    resolver = ThreadPoolExecutor(1)
    try:
        looked_up = resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        return looked_up.result(seconds)
    finally:
        resolver.shutdown(wait=False)


def _left(end: float) -> float:
    """Seconds until `end`.

    Raises:
        TimeoutError: it is over.
    """
    left = end - monotonic()
    if left <= 0:
        raise TimeoutError
    return left
