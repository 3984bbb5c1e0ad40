"""A small AWS and ReportFlow over TLS: each request succeeds, and nothing is kept.

It runs in a process of its own: `echo.py CERTIFICATE SECONDS BYTES AWS_SECONDS` prints its port,
and counts what comes. ReportFlow and S3 answer after SECONDS, all else after AWS_SECONDS. The links
of ReportFlow and S3 carry BYTES a second, each way.
"""

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final, cast, override

TOKEN: Final = "t0kenT0kenT0kenT0kenT0ken"  # noqa: S105  (the echo's own)
SECRET: Final = {"appKey": "key", "secretKey": "secret", "webhookToken": TOKEN}

SMALL_BYTES: Final = 100_000
CHUNK: Final = 64 * 1024
_BEGIN: Final = b"%PDF-1.7\n"
_END: Final = b"%%EOF\n"
_FILLER: Final = b" " * CHUNK
_FILES: Final = count(1)


class Link:
    """A line of limited speed, which all its connections share."""

    def __init__(self, bytes_per_second: float) -> None:
        self._speed = bytes_per_second
        self._free_at = 0.0
        self._lock = threading.Lock()

    def carry(self, size: int) -> None:
        """Wait until so many bytes have passed."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size / self._speed
            seconds = self._free_at - time.monotonic()
        if seconds > 0:
            time.sleep(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, certificate: str, seconds: float, bytes_per_second: float, aws_seconds: float
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seconds, self.aws_seconds = seconds, aws_seconds
        self.failed: set[str] = set()
        self.down, self.up = Link(bytes_per_second), Link(bytes_per_second)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.counts = {"connections": 0, "requests": 0, "reportflow": 0}

    @override
    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread, so that a slow handshake holds up nobody else.
        self.counts["connections"] += 1
        with self.context.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path.endswith("/file/async/single"):
            self._wait()
            file_id = f"file-{next(_FILES)}"
            self._answer(202, {"url": "https://reportflow.example/f", "fileId": file_id})
        elif "uploads" in self.path:
            self._s3(b"<r><UploadId>1</UploadId></r>")
        elif "uploadId" in self.path:
            self._s3(b"<r/>")
        else:
            # The latency that is measured, not a wait for something.
            time.sleep(self._server.aws_seconds)
            target = self.headers.get("X-Amz-Target", "")
            respond = _RESPONSES.get(target.partition(".")[2])
            self._answer(200, respond() if respond else {})

    def do_GET(self) -> None:
        if "/file/download/" in self.path:
            self._wait()
            self._pdf(int(self.path.split("/")[-2].partition("-")[2] or SMALL_BYTES))
        else:
            self._answer(200, self._server.counts)

    def _wait(self) -> None:
        self._server.counts["reportflow"] += 1
        time.sleep(self._server.seconds)

    def do_PUT(self) -> None:
        """Take an object, or a part of it, as S3; the first of each key with `flaky` fails."""
        time.sleep(self._server.seconds)
        if self.headers.get("Expect") == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        length = self.headers.get("Content-Length")
        if length is not None:
            self._take(int(length))
        else:
            # An SDK sends a checksum behind the content.
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                self._take(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        fails = "flaky" in self.path and self.path not in self._server.failed
        self._server.failed.add(self.path)
        self._s3(b"", 503 if fails else 200)

    def _take(self, size: int) -> None:
        """Read so many bytes at the speed of the link."""
        while size:
            read = len(self.rfile.read(min(CHUNK, size)))
            self._server.up.carry(read)
            size -= read

    def _s3(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("x-amz-version-id", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pdf(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/pdf")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(_BEGIN)
        left = size - len(_BEGIN) - len(_END)
        while left:
            chunk = _FILLER[: min(CHUNK, left)]
            self._server.down.carry(len(chunk))
            self.wfile.write(chunk)
            left -= len(chunk)
        self.wfile.write(_END)

    @property
    def _server(self) -> _Server:
        return cast("_Server", self.server)

    def _answer(self, status: int, content: object) -> None:
        self._server.counts["requests"] += self.command == "POST"
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


_RESPONSES: Final[Mapping[str, Callable[[], object]]] = {
    "GetSecretValue": lambda: {"SecretString": json.dumps(SECRET)},
    # The rate limiter's item: it says that this very moment's slot is free.
    "UpdateItem": lambda: {"Attributes": {"tat": {"N": str(int(time.time() * 1e6))}}},
    "PutEvents": lambda: {"FailedEntryCount": 0, "Entries": [{}]},
    "SendMessageBatch": lambda: {"Successful": [], "Failed": []},
}


def main() -> None:
    """Serve until the process ends."""
    certificate, *numbers = sys.argv[1:]
    server = _Server(certificate, *map(float, numbers))
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
