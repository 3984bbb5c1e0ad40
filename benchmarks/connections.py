"""What a connection for each request costs, beside a pool that keeps them.

Processor time of the client for one request over TLS on loopback: a pooled `requests.Session`, our
session, and our session when it loads the root certificates anew for each connection.
"""

import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import certifi
import requests

from reportflow import http_session, tls
from tests.unit.tls_peer import make_certificate

REQUESTS: Final = 60
ROUNDS: Final = 5
BODY: Final = b'{"params": "' + b"x" * 5000 + b'"}'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def processor_seconds(post: Callable[[], object]) -> float:
    """Of this thread, for one request."""
    begun = time.thread_time()
    for _ in range(REQUESTS):
        post()
    return (time.thread_time() - begun) / REQUESTS


def main() -> None:
    """Print the medians and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        roots = Path(folder) / "roots.pem"
        roots.write_text(certificate.read_text() + Path(certifi.where()).read_text())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}/"
        pooled, ours = requests.Session(), http_session.Session()
        pooled.trust_env = False
        pooled.verify = ours.roots = str(roots)

        def post() -> None:
            with ours.request("POST", url, headers={}, seconds=10, body=BODY) as response:
                _ = response.content

        def post_with_roots() -> None:
            tls._load.cache_clear()  # noqa: SLF001  (what it measures)
            post()

        ways: dict[str, Callable[[], object]] = {
            "pooled": lambda: pooled.post(url, BODY),
            "ours": post,
            "ours, roots loaded each time": post_with_roots,
        }
        taken = [
            {name: processor_seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)
        ]
        server.shutdown()
    base = statistics.median(each["pooled"] for each in taken)
    for name in ways:
        seconds = statistics.median(each[name] for each in taken)
        print(f"{name:30} {seconds * 1000:6.2f} ms of CPU a request, {seconds / base:5.1f} x")


if __name__ == "__main__":
    main()
