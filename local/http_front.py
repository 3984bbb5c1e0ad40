"""An HTTP/1.1 server on the loopback address, made for clients that cannot be trusted.

No path is ever logged: it may carry a secret.
"""

import io
import logging
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Buffer, Callable
from contextlib import suppress
from email.errors import MultipartInvariantViolationDefect, StartBoundaryNotFoundDefect
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import override

from local.payload_format import HttpRequest, HttpResponse, error_response

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_HEADER_BYTES = 10_240
REQUEST_SECONDS = 30.0
"""For a client to send a request, from the end of the one before, and to take the response."""

_LINGER_SECONDS = 2.0
# The parser, made for e-mail, looks for parts of a multipart body where the headers end.
_OF_A_BODY = (MultipartInvariantViolationDefect, StartBoundaryNotFoundDefect)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?\r\n")

type Respond = Callable[[HttpRequest], HttpResponse]


class HttpFront:
    """Serves from construction until `stop`."""

    def __init__(self, respond: Respond, port: int) -> None:
        """Listens on `port` of 127.0.0.1, or on a free one for 0.

        `respond` is called from the thread of each connection.

        Raises:
            OSError: the port is in use.
        """
        self._server = _Server(port, respond)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http-front"
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{ADDRESS}:{self._server.port}"

    def stop(self) -> None:
        """Takes no more requests, and finishes those under way."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _RefusedError(Exception):
    """A request that is answered with an error and the end of the connection."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread a connection; all of them end when the server closes."""

    allow_reuse_address = True
    daemon_threads = False
    # The default queue of 5 makes a burst of clients wait for a second and more.
    request_queue_size = 128

    def __init__(self, port: int, respond: Respond) -> None:
        self.respond = respond
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closing = False
        super().__init__((ADDRESS, port), _Connection)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._closing:
                self._end(connection)

    def finished(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    @override
    def server_close(self) -> None:
        with self._lock:
            self._closing = True
            for connection in self._connections:
                self._end(connection)
        super().server_close()

    def _end(self, connection: socket.socket) -> None:
        # Its thread reads the end, after the response that it may be about to write.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        # A client that goes away or stalls is no error of ours.
        if not isinstance(error, OSError):
            logger.error("a request broke off", exc_info=error)


class _Reader(io.RawIOBase):
    """Reads a socket, however slowly the bytes come, until a deadline for all of them."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self.deadline = 0.0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer) -> int:
        self._connection.settimeout(max(self.deadline - time.monotonic(), 0.001))
        return self._connection.recv_into(buffer)


class _Connection(BaseHTTPRequestHandler):
    """A client's connection, with as many requests as it keeps it for."""

    server: _Server
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"
    disable_nagle_algorithm = True

    @override
    def setup(self) -> None:
        super().setup()
        self._reader = _Reader(self.connection)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._reader)
        self.server.opened(self.connection)

    @override
    def finish(self) -> None:
        self.server.finished(self.connection)
        super().finish()

    @override
    def handle_one_request(self) -> None:
        self._reader.deadline = time.monotonic() + REQUEST_SECONDS
        super().handle_one_request()

    @override
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._refuse(HTTPStatus(code))

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing: the default writes to stderr, and paths among it."""

    def _serve(self) -> None:
        try:
            request = self._request()
        except _RefusedError as refusal:
            self._refuse(refusal.status)
        else:
            self._send(self.server.respond(request))

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _serve  # noqa: N815  (http.server's)

    def _request(self) -> HttpRequest:
        headers = tuple(self.headers.items())
        size = len(self.requestline) + sum(len(name) + len(value) for name, value in headers)
        if size > MAX_HEADER_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        # What cannot be parsed as a header ends them, and hides those that follow.
        broken = [one for one in self.headers.defects if not isinstance(one, _OF_A_BODY)]
        if broken or self.headers.get_payload():
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        path, _, query = self.path.partition("?")
        if not path.startswith("/"):
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        return HttpRequest(
            self.command,
            path,
            query,
            self.request_version,
            headers,
            self._body(),
            self.client_address[0],
            self.server.port,
        )

    def _body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        encodings = self.headers.get_all("Transfer-Encoding", [])
        if encodings:
            if lengths or [encoding.strip().lower() for encoding in encodings] != ["chunked"]:
                raise _RefusedError(HTTPStatus.BAD_REQUEST)
            return self._chunks()
        if not lengths:
            return b""
        if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        if len(lengths[0]) > 15:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self._exactly(int(lengths[0]), MAX_BODY_BYTES)

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            size_line = _CHUNK_SIZE.fullmatch(self.rfile.readline(MAX_HEADER_BYTES))
            if size_line is None:
                raise _RefusedError(HTTPStatus.BAD_REQUEST)
            size = int(size_line[1], 16)
            if size == 0:
                break
            body += self._exactly(size, MAX_BODY_BYTES - len(body))
            if self.rfile.readline(3) != b"\r\n":
                raise _RefusedError(HTTPStatus.BAD_REQUEST)
        trailers = 0
        while (line := self.rfile.readline(MAX_HEADER_BYTES)) not in {b"\r\n", b""}:
            trailers += len(line)
            if trailers > MAX_HEADER_BYTES:
                raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return bytes(body)

    def _exactly(self, size: int, limit: int) -> bytes:
        if size > limit:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        content = self.rfile.read(size)
        if len(content) < size:
            raise ConnectionAbortedError("the client went away in the middle of its request")
        return content

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._send(error_response(status))
        # A connection closed with unread data is reset, and takes the answer with it.
        self.connection.shutdown(socket.SHUT_WR)
        self._reader.deadline = time.monotonic() + _LINGER_SECONDS
        while self.rfile.read1(65536):
            pass

    def _send(self, response: HttpResponse) -> None:
        self.connection.settimeout(REQUEST_SECONDS)
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, value)
        has_body = response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        if has_body:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(response.body)
