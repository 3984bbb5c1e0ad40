"""A proxy between the functions and the emulated AWS that breaks what passes, when asked to."""

import http.client
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from typing import Any, Final, Self, override
from urllib.parse import urlsplit

FORWARD_SECONDS: Final = 30
HOP_BY_HOP: Final = {"connection", "expect", "host", "keep-alive", "transfer-encoding"}

_CALLER: Final = re.compile(r"Credential=([^/]+)/")
_SERVICE: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/aws4_request")


@dataclass(frozen=True)
class Operation:
    """What is asked of AWS; in S3 the HTTP method stands for the operation's name.

    `caller` is whose key signed it: that of a function is its name.
    """

    service: str
    name: str
    caller: str = field(default="", compare=False)


@dataclass(frozen=True)
class Failure:
    """An error in AWS's place; `forwarded` is whether AWS did what was asked all the same."""

    status: int
    code: str
    forwarded: bool = False

    def body(self, service: str) -> tuple[str, bytes]:
        """Content type and body, in the service's own protocol."""
        if service == "s3":
            text = f"<Error><Code>{self.code}</Code><Message>Injected</Message></Error>"
            return "application/xml", text.encode()
        return "application/x-amz-json-1.0", b'{"__type":"%s","message":"Injected"}' % (
            self.code.encode()
        )


@dataclass(frozen=True)
class Call:
    """A request that AWS has answered; `caller` is whose key signed it."""

    caller: str
    operation: Operation
    path: str
    body: bytes
    status: int


type Mischief = Callable[[Operation], Failure | None]
"""What goes wrong with an operation; it may take its time."""


def no_mischief(_: Operation) -> Failure | None:
    return None


def _unobserved(_: Call) -> None:
    pass


class RandomFailures:
    """Breaks a `share` of the operations, as the seed decides for the n-th of each name."""

    KINDS: Final = {
        "dynamodb": ((400, "ProvisionedThroughputExceededException"), (500, "InternalServerError")),
        "events": ((400, "ThrottlingException"), (500, "InternalException")),
        "s3": ((503, "SlowDown"), (500, "InternalError")),
        "secretsmanager": ((400, "ThrottlingException"), (500, "InternalServiceError")),
        "sqs": ((400, "ThrottlingException"), (503, "ServiceUnavailable")),
    }

    def __init__(self, seed: int, share: float, forwarded_share: float = 0.3) -> None:
        self.failed: Counter[tuple[str, int, bool]] = Counter()
        self._seed = seed
        self.share = share
        self._forwarded_share = forwarded_share
        self._seen: Counter[Operation] = Counter()
        self._lock = Lock()

    def __call__(self, operation: Operation) -> Failure | None:
        with self._lock:
            self._seen[operation] += 1
            rng = Random(f"{self._seed}/{operation}/{self._seen[operation]}")
            if rng.random() >= self.share:
                return None
            status, code = rng.choice(self.KINDS[operation.service])
            # Nothing that is throttled has been done.
            forwarded = status == 500 and rng.random() < self._forwarded_share
            self.failed[operation.service, status, forwarded] += 1
        return Failure(status, code, forwarded)


class AwsProxy:
    """Serves on 127.0.0.1 from entering the context to leaving it.

    `mischief` may change; `observe` hears of each call that reached AWS.
    """

    def __init__(self, backend_url: str) -> None:
        self.mischief: Mischief = no_mischief
        self.observe: Callable[[Call], None] = _unobserved
        self._server = _Server(self, urlsplit(backend_url).netloc)
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), name="aws-proxy")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, proxy: AwsProxy, backend: str) -> None:
        self.proxy = proxy
        self.backend = backend
        super().__init__(("127.0.0.1", 0), _Handler)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a killed function's connection breaks."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    wbufsize = -1

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self._operation()
        failure = self.server.proxy.mischief(operation)
        if failure is None or failure.forwarded:
            status, headers, content = self._forward(body)
            call = Call(operation.caller, operation, self.path, body, status)
            self.server.proxy.observe(call)
        if failure is not None:
            status = failure.status
            kind, content = failure.body(operation.service)
            headers = [("Content-Type", kind), ("Content-Length", str(len(content)))]
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  # names the base class looks up

    def _operation(self) -> Operation:
        authorization = self.headers.get("Authorization", "")
        signed_for, caller = _SERVICE.search(authorization), _CALLER.search(authorization)
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        return Operation(
            signed_for[1] if signed_for else "",
            target or self.command,
            caller[1] if caller else "",
        )

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        sent = {name: value for name, value in self.headers.items() if _passes(name)}
        connection = http.client.HTTPConnection(self.server.backend, timeout=FORWARD_SECONDS)
        try:
            connection.request(self.command, self.path, body, sent)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        headers = [(name, value) for name, value in answer.getheaders() if _passes(name)]
        if answer.getheader("Content-Length") is None:
            headers.append(("Content-Length", str(len(content))))
        return answer.status, headers, content


def _passes(header: str) -> bool:
    return header.lower() not in HOP_BY_HOP
