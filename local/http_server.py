"""An HTTP/1.1 server on the loopback address, for clients that cannot be trusted.

h11 reads the requests. Answers are written as they are given: a fault of the emulator is an answer
that breaks the protocol. No path is logged, because it may carry a secret.
"""

import logging
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPMethod, HTTPStatus
from typing import Final, override

import h11

logger = logging.getLogger(__name__)

ADDRESS: Final = "127.0.0.1"
MAX_HEADER_BYTES: Final = 10_240
"""The most for the request line and all headers."""

REQUEST_SECONDS = 60.0
"""A client's time to send a request, from the end of the one before, and to take the answer."""

_MAX_HEADERS = 100
_LINGER_SECONDS = 2.0
_CHUNK_BYTES = 65_536
_TEXT = "latin-1"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class HttpRequest:
    """A request as it came in: `path` and `query` as the client encoded them.

    The server gives the names in `headers` in lower case.
    """

    method: str
    path: str
    query: str
    protocol: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    port: int


@dataclass(frozen=True)
class HttpResponse:
    """An answer, without the headers of the connection itself.

    `promised_length` is the `Content-Length`. If it is not the body's length, or None for an
    answer without one, the connection is closed behind the body.
    """

    status: int
    headers: Iterable[tuple[str, str]]
    body: bytes
    promised_length: int | None


class Client:
    """A client that waits for the answer to its request."""

    def __init__(self, connection: socket.socket, *, keeps: bool, head_only: bool) -> None:
        self._connection = connection
        self._head_only = head_only
        self.keeps = keeps

    def send(self, response: HttpResponse) -> None:
        """Answer the request."""
        has_body = response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        length = response.promised_length if has_body else 0
        if length != len(response.body):
            self.keeps = False
        headers = [("Date", formatdate(usegmt=True)), *response.headers]
        if length is not None and has_body:
            headers.append(("Content-Length", str(length)))
        if not self.keeps:
            headers.append(("Connection", "close"))
        lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join([*lines, "", ""]).encode(_TEXT)
        self._connection.settimeout(REQUEST_SECONDS)
        self._connection.sendall(head if self._head_only else head + response.body)

    def reset(self) -> None:
        """Close the connection so that the client sees it reset."""
        self.keeps = False
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        os.close(self._connection.detach())


type Answer = Callable[[HttpRequest, Client], None]
type Refuse = Callable[[HTTPStatus], HttpResponse]


class HttpServer:
    """Serves from construction until `stop`."""

    def __init__(self, answer: Answer, refuse: Refuse, port: int, max_body_bytes: int) -> None:
        """Listen on `port` of 127.0.0.1, or on a free one for 0.

        The thread of each connection calls `answer`. `refuse` returns the answer to a request that
        is malformed or too large.

        Raises:
            OSError: the port is in use.
        """
        self._server = _Server(port, answer, refuse, max_body_bytes)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="http-server"
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return f"http://{ADDRESS}:{self.port}"

    def stop(self, *, abort: bool = False) -> None:
        """Take no more requests; finish those in flight, or close their connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.end(socket.SHUT_RDWR if abort else socket.SHUT_RD)
        self._server.server_close()


class _RefusedError(Exception):
    """A request that is answered with an error and the end of the connection."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = HTTPStatus(status)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread per connection; all of them end when the server closes."""

    allow_reuse_address = True
    daemon_threads = False
    # The default queue of 5 makes a burst of clients wait for a second and more.
    request_queue_size = 256

    def __init__(self, port: int, answer: Answer, refuse: Refuse, max_body_bytes: int) -> None:
        self.answer = answer
        self.refuse = refuse
        self.max_body_bytes = max_body_bytes
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._end: int | None = None
        super().__init__((ADDRESS, port), _Connection)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._end is not None:
                _shut(connection, self._end)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def end(self, how: int) -> None:
        """End the connections; after `SHUT_RD` their threads can still write an answer."""
        with self._lock:
            self._end = how
            for connection in self._connections:
                _shut(connection, how)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        logger.error("a request could not be served", exc_info=sys.exception())


class _Connection(socketserver.BaseRequestHandler):
    """A client's connection, and the requests that come over it."""

    server: _Server
    request: socket.socket

    @override
    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.opened(self.request)
        rest: bytes | None = b""
        try:
            while rest is not None:
                rest = self._serve(rest)
        except OSError as error:
            # A client that disconnects or stalls is not an error of the server.
            logger.debug("a client disconnected: %s", type(error).__name__)
        finally:
            self.server.closed(self.request)

    def _serve(self, received: bytes) -> bytes | None:
        """Serve one request; return what came after it, or None at the connection's end."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        try:
            request = self._read(parser, received)
        except (_RefusedError, h11.RemoteProtocolError) as error:
            refused = error if isinstance(error, _RefusedError) else _refusal(parser, error)
            self._refuse(refused.status)
            return None
        close = "close" in dict(request.headers).get("connection", "").lower()
        client = Client(
            self.request,
            keeps=request.protocol == "HTTP/1.1" and not close,
            head_only=request.method == "HEAD",
        )
        self.server.answer(request, client)
        return parser.trailing_data[0] if client.keeps else None

    def _read(self, parser: h11.Connection, received: bytes) -> HttpRequest:
        """Read the next request.

        Raises:
            _RefusedError, h11.RemoteProtocolError: it is wrong or too large.
            OSError: there is none in time, or the client has ended the connection.
        """
        deadline = time.monotonic() + REQUEST_SECONDS
        head: h11.Request | None = None
        body = bytearray()
        if received:
            parser.receive_data(received)
        while True:
            match parser.next_event():
                case h11.NEED_DATA:
                    self._receive(parser, deadline)
                case h11.Request() as head:
                    _check(head, self.server.max_body_bytes)
                case h11.Data(data=data):
                    body += data
                    if len(body) > self.server.max_body_bytes:
                        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                case _:
                    break
        if head is None:
            raise ConnectionAbortedError
        path, _, query = head.target.decode(_TEXT).partition("?")
        return HttpRequest(
            head.method.decode(_TEXT),
            path,
            query,
            f"HTTP/{head.http_version.decode(_TEXT)}",
            tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers
            ),
            bytes(body),
            self.client_address[0],
            self.server.port,
        )

    def _receive(self, parser: h11.Connection, deadline: float) -> None:
        if parser.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])
            self.request.sendall(parser.send(go_on) or b"")
        self.request.settimeout(max(deadline - time.monotonic(), 0.001))
        parser.receive_data(self.request.recv(_CHUNK_BYTES))

    def _refuse(self, status: HTTPStatus) -> None:
        Client(self.request, keeps=False, head_only=False).send(self.server.refuse(status))
        # A connection that is closed with unread data is reset, and the answer is lost.
        self.request.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            self.request.settimeout(left)
            if not self.request.recv(_CHUNK_BYTES):
                break


def _check(head: h11.Request, max_body_bytes: int) -> None:
    """Refuse what h11 accepts and a gateway does not.

    Raises:
        _RefusedError: the request is wrong or too large.
    """
    sizes = [len(name) + len(value) for name, value in head.headers]
    if len(sizes) > _MAX_HEADERS or sum(sizes) + len(head.target) > MAX_HEADER_BYTES:
        raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if head.http_version not in {b"1.0", b"1.1"}:
        raise _RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if head.method.decode(_TEXT) not in HTTPMethod.__members__:
        raise _RefusedError(HTTPStatus.NOT_IMPLEMENTED)
    headers = dict(head.headers)
    if not head.target.startswith(b"/") or headers.keys() >= {
        b"content-length",
        b"transfer-encoding",
    }:
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    if int(headers.get(b"content-length", b"0")) > max_body_bytes:
        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _refusal(parser: h11.Connection, error: h11.RemoteProtocolError) -> _RefusedError:
    """The refusal of what h11 cannot read. It distinguishes a long path from long headers."""
    too_large = error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if too_large and b"\n" not in parser.trailing_data[0]:
        return _RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG)
    return _RefusedError(error.error_status_hint)


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return "Unknown"


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        connection.shutdown(how)
