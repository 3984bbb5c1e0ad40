"""The HTTP server: sockets, and the one place where a fault happens to a request."""

import logging
import os
import socket
import struct
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from time import monotonic
from typing import Any, Protocol, override
from urllib.parse import parse_qsl, urlsplit

from local.emulator.faults import HttpFault
from local.emulator.messages import Answer, Refusal, Request

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_IDLE_SECONDS = 60
_LINGER_SECONDS = 2
_CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Prepared(Protocol):
    """A request that is understood, but not taken yet."""

    @property
    def fault(self) -> HttpFault | None:
        """What goes wrong with it."""

    def take(self) -> Answer:
        """Do what is asked, and answer; an error is an answer too."""


class Service(Protocol):
    """What the server serves; its methods are called from many threads."""

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is read."""

    def prepare(self, request: Request) -> Prepared:
        """Find out what is asked for, and which fault happens to it."""

    def wait(self, seconds: float) -> None:
        """Let time pass, not longer than the service runs."""

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the files that `answer` names were announced."""


class Server:
    """Serves on 127.0.0.1 from construction until `close`; port 0 takes a free one."""

    def __init__(self, service: Service, port: int) -> None:
        self._service = service
        self._lock = Lock()
        self._listener: _Listener | None = _Listener(service, port)
        self.port = self._listener.server_port

    def listen(self) -> None:
        """Listen again after `close`, on the same port."""
        with self._lock:
            if self._listener is None:
                self._listener = _Listener(self._service, self.port)

    def close(self) -> None:
        """Refuse connections, close those that are open, and end all threads."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None


class _Listener(ThreadingHTTPServer):
    """A listening socket with its thread, and the connections that came of it."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        self._closing = False
        self._lock = Lock()
        super().__init__((_HOST, port), _Handler)
        self._thread = Thread(target=self.serve_forever, args=(0.02,), name="reportflow-emulator")
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        with self._lock:
            self._closing = True
            for connection in self._connections:
                _hang_up(connection)
        self.server_close()

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._closing:
                _hang_up(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    @override
    def server_bind(self) -> None:
        # The base class asks the resolver for the host's full name, which nobody needs.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = _HOST, int(self.server_address[1])

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if isinstance(error, OSError):
            logger.debug("A client hung up: %s", error)
        else:
            logger.error("A request could not be served", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Listener
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1

    @override
    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    @override
    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    @override
    def version_string(self) -> str:
        return "ReportFlowEmulator"

    @override
    def log_message(self, format: str, *args: Any) -> None:  # the base class's name
        logger.debug(format, *args)

    def do_GET(self) -> None:
        try:
            request = self._read()
        except Refusal as refusal:
            self.close_connection = True
            self.write(refusal.answer)
            self._let_client_finish()
            return
        exchange = _Exchange(self, self.server.service.prepare(request))
        exchange.run()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815  # names that the base class looks up

    def write(self, answer: Answer) -> None:
        """Send an answer, whole or not as it says itself."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.promised_length is not None:
            self.send_header("Content-Length", str(answer.promised_length))
        if answer.promised_length != len(answer.body):
            self.close_connection = True
        if answer.promised_length is None or self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def reset(self) -> None:
        """Close the connection so that the client sees it reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        os.close(self.connection.detach())

    def _read(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "transfer-encoding" in headers:
            raise Refusal(411, "Content-Length is required")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Refusal(400, "Content-Length must be a number")
        if int(length) > self.server.service.max_body_bytes:
            raise Refusal(413, "リクエストボディが大きすぎます")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionAbortedError("The client ended in mid-body")
        headers.setdefault("host", f"{_HOST}:{self.server.server_port}")
        url = urlsplit(self.path)
        return Request(self.command, url.path, dict(parse_qsl(url.query)), headers, body)

    def _let_client_finish(self) -> None:
        """Discard what the client still sends: a reset would take the answer from it."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            deadline = monotonic() + _LINGER_SECONDS
            while monotonic() < deadline and self.connection.recv(_CHUNK_BYTES):
                pass


class _Exchange:
    """A request on a connection, as faults see it."""

    def __init__(self, handler: _Handler, prepared: Prepared) -> None:
        self._handler = handler
        self._prepared = prepared

    def run(self) -> None:
        """Let happen what happens."""
        fault = self._prepared.fault
        if fault is None:
            self.send(self.take())
        else:
            fault.apply(self)

    def take(self) -> Answer:
        """Have the service do what is asked."""
        return self._prepared.take()

    def send(self, answer: Answer) -> None:
        """Answer the client."""
        self._handler.write(answer)

    def cut(self) -> None:
        """Reset the connection without an answer."""
        self._handler.reset()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._handler.server.service.wait(seconds)

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the files that `answer` names were announced."""
        self._handler.server.service.wait_for_webhook(answer)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
