"""A small AWS and ReportFlow over TLS: each request succeeds, and nothing is kept.

It runs in a process of its own: `echo.py CERTIFICATE` prints its port, and counts what comes.
"""

import json
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast, override

TOKEN: Final = "t0kenT0kenT0kenT0kenT0ken"  # noqa: S105  (the echo's own)
SECRET: Final = {"appKey": "key", "secretKey": "secret", "webhookToken": TOKEN}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, certificate: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.counts = {"connections": 0, "requests": 0}

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
            self._answer(202, {"url": "https://reportflow.example/f", "fileId": "file_abc123"})
        else:
            target = self.headers.get("X-Amz-Target", "")
            respond = _RESPONSES.get(target.partition(".")[2])
            self._answer(200, respond() if respond else {})

    def do_GET(self) -> None:
        self._answer(200, cast("_Server", self.server).counts)

    def _answer(self, status: int, content: object) -> None:
        cast("_Server", self.server).counts["requests"] += self.command == "POST"
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
    server = _Server(sys.argv[1])
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
