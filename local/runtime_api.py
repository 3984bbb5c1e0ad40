"""Lambda's Runtime API for one function process.

There is no server thread. A process makes one request at a time, so the invoking thread reads and
answers it. A closed connection means that the process is dead.
"""

import http.client
import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message

ADDRESS = "127.0.0.1"
INIT_ERROR = "/2018-06-01/runtime/init/error"
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100
"""The limit of an event and of a response: 6 MiB, and the 100 bytes that Lambda adds."""

_LIVENESS_SECONDS = 0.05


class ProcessEndedError(Exception):
    """The process ended before it sent the expected request."""


@dataclass(frozen=True)
class Request:
    """A request of the process. A body above the payload limit is None."""

    method: str
    path: str
    headers: Message
    body: bytes | None


class RuntimeApi:
    """The loopback endpoint that one process gets as `AWS_LAMBDA_RUNTIME_API`.

    Use it from one thread at a time.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((ADDRESS, 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._asking: _Connection | None = None
        self._cut_off = False

    @property
    def address(self) -> str:
        """Host and port."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    @property
    def cut_off(self) -> bool:
        """Whether the process ended without having read the whole of the last answer.

        The kernel resets a connection that is closed with unread data, or written to after the
        other side has closed it. A connection that ends in order was read to its end.
        """
        return self._cut_off

    def receive(self, deadline: float, is_alive: Callable[[], bool]) -> Request:
        """Waits for the process's next request until `deadline`, in `time.monotonic()` seconds.

        Raises:
            ProcessEndedError: the process is dead, and has sent no other request.
            TimeoutError: the deadline has passed.
        """
        while True:
            # Checked first, so that a request sent before the end is not missed.
            alive = is_alive()
            remaining = deadline - time.monotonic()
            ready = self._selector.select(min(max(remaining, 0), _LIVENESS_SECONDS) if alive else 0)
            for key, _ in ready:
                if key.data is None:
                    self._accept()
                elif (request := self._read(key.data, max(remaining, 0.001))) is not None:
                    return request
            if not ready and not alive:
                raise ProcessEndedError
            if remaining <= 0:
                raise TimeoutError

    def is_asking(self) -> bool:
        """Whether the process is alive and waits for the answer to its last request."""
        if self._asking is None:
            return False
        # It sends nothing while it waits, so anything to read is the end of the connection.
        return not any(key.data is self._asking for key, _ in self._selector.select(0))

    def answer(
        self, status: int, headers: Mapping[str, str], body: bytes, timeout_seconds: float
    ) -> None:
        """Answers the last request.

        Raises:
            ProcessEndedError: the process has ended, and has not read the whole answer.
            TimeoutError: it does not read the answer.
        """
        connection, self._asking = self._asking, None
        self._cut_off = True
        if connection is None:
            raise ProcessEndedError
        try:
            connection.answer(status, headers, body, timeout_seconds)
        except ConnectionError as error:
            raise ProcessEndedError from error
        self._cut_off = False

    def close(self) -> None:
        """Closes every connection and the port."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.close()
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        self._selector.register(accepted, selectors.EVENT_READ, _Connection(accepted))

    def _read(self, connection: "_Connection", timeout_seconds: float) -> Request | None:
        request = None
        try:
            request = connection.read(timeout_seconds)
        except ConnectionError:
            self._cut_off = True
        if request is None:
            self._selector.unregister(connection.socket)
            connection.close()
        else:
            self._asking = connection
        return request


class _Connection:
    """One HTTP/1.1 connection of the process, which may carry several requests."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self._reader = accepted.makefile("rb")

    def read(self, timeout_seconds: float) -> Request | None:
        """The next request, or None if the connection ends in order instead."""
        # If the end came before the reset, a read would show the end only.
        if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionResetError(error, os.strerror(error))
        self.socket.settimeout(timeout_seconds)
        words = self._reader.readline().decode("ascii").split()
        if len(words) != 3:
            return None
        headers = http.client.parse_headers(self._reader)
        length = int(headers.get("Content-Length", "0"))
        if length > MAX_PAYLOAD_BYTES:
            return Request(words[0], words[1], headers, None)
        body = self._reader.read(length)
        return Request(words[0], words[1], headers, body) if len(body) == length else None

    def answer(
        self, status: int, headers: Mapping[str, str], body: bytes, timeout_seconds: float
    ) -> None:
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }
        head = f"HTTP/1.1 {status} {http.client.responses[status]}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields.items()
        )
        self.socket.settimeout(timeout_seconds)
        self.socket.sendall(f"{head}\r\n".encode() + body)

    def close(self) -> None:
        self._reader.close()
        self.socket.close()
