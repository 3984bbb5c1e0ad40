"""The HTTP session that carries the keys: no redirects, proxies, `.netrc` or cookies, and an end.

A time-out of the libraries' is that of one address, or of one operation on a socket: many black
holes, or a peer that trickles, would never be given up. Here it is that of the whole request.
"""

import logging
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from math import inf
from time import monotonic
from typing import Any, Final, cast, override

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

CONNECT_SECONDS: Final = 3.05
"""For each of the host's addresses, as far as `CONNECT_SHARE` lasts."""

CONNECT_SHARE: Final = 0.5
"""Of a request's time, to look the host up, to connect and for the handshake."""

READ_SECONDS: Final = 10.0
"""For the next bytes, as far as the request's time lasts."""

POOL_SIZE: Final = 16
"""More than the ten records of a batch, which share one session."""


class Session(requests.Session):
    """Thread-safe: its pool holds the sockets, and nothing of one request stays for the next.

    A request's `timeout` is one number of seconds: by then its answer's last byte is here, or it
    has failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(pool_maxsize=POOL_SIZE, max_retries=0))
        # Of headers that it cannot read, urllib3 logs what they say, and the URL: an open share.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    @override
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # requests reads the whole body of a redirect before it does not follow it.
        return None


class _Socket(socket.socket):
    """Its time-out is for all that it receives from now on, not for each part anew.

    What is sent, or a handshake, is one operation, which has an end as it is.
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

    urllib3 reports a broken handshake like a broken answer, but only before the handshake's end has
    surely nothing been sent.
    """

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
        self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = _TlsSocket
        super().connect()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    @override
    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        # Only in total does urllib3 take from it what was used up before the answer is read.
        options["timeout"] = Timeout(total=options["timeout"])
        return super().send(*arguments, **options)


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
