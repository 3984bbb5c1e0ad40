"""A server that answers with the very bytes that a test gives it, wrong ones too."""

import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import parse_headers


@dataclass(frozen=True)
class Received:
    """A request as it came; the names of `headers` are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


type Respond = Callable[[Received], Iterable[bytes]]


@dataclass
class Peer:
    """Listens on `url`, one request a connection, and keeps what it received.

    Set `respond` to the parts of the answer; after the last of them the connection is closed.
    """

    url: str
    respond: Respond
    received: list[Received] = field(default_factory=list)


def answer(status: int, body: bytes = b"", **headers: str) -> list[bytes]:
    """A whole HTTP answer; `headers` in place of, or beside, the usual ones, `_` for `-`."""
    lines = {"Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Odd"
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return [f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode(), body]


def chunked_body(status: int, *parts: bytes) -> list[bytes]:
    """A whole HTTP answer in chunks."""
    head, _ = answer(status, Content_Length="", Transfer_Encoding="chunked")
    chunks = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (*parts, b"")]
    return [head.replace(b"Content-Length: \r\n", b""), *chunks]


def slowly(data: Iterable[int]) -> Iterator[bytes]:
    """The data byte by byte, so that none keeps the reader waiting for long."""
    for byte in data:
        time.sleep(0.1)
        yield bytes([byte])


@contextmanager
def listening(respond: Respond) -> Iterator[Peer]:
    """A peer on a free port of 127.0.0.1."""
    stopped = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            method, target, _ = self.rfile.readline().decode().split()
            headers = {name.lower(): value for name, value in parse_headers(self.rfile).items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            received = Received(method, target, headers, body)
            peer.received.append(received)
            try:
                for part in peer.respond(received):
                    self.wfile.write(part)
                    if stopped.is_set():
                        break
            except ConnectionError:
                pass  # The client has heard enough.

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 32

    with Server(("127.0.0.1", 0), Handler) as server:
        peer = Peer(f"http://127.0.0.1:{server.server_address[1]}", respond)
        accepting = threading.Thread(target=server.serve_forever, args=(0.01,))
        accepting.start()
        try:
            yield peer
        finally:
            stopped.set()
            server.shutdown()
            accepting.join()
