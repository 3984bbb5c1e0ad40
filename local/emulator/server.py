"""The emulator's HTTP server, and the one place where a fault happens to a request."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Protocol
from urllib.parse import parse_qsl

from local.emulator.faults import HttpFault
from local.emulator.messages import Answer, Request
from local.http_server import ADDRESS, Client, HttpRequest, HttpResponse, HttpServer

_MESSAGES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "リクエストボディが大きすぎます"}


class Prepared(Protocol):
    """A request that was read, and not yet done."""

    @property
    def fault(self) -> HttpFault | None:
        """The fault that happens to it."""

    def take(self) -> Answer:
        """Do what is asked, and answer; an error is an answer too."""


class Service(Protocol):
    """What the server serves. Many threads call its methods."""

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is read."""

    def prepare(self, request: Request) -> Prepared:
        """Find out what the request asks for, and which fault happens to it."""

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the service runs."""

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the webhook of the file that `answer` names was sent."""


class Server:
    """Serves on 127.0.0.1 from construction until `close`; port 0 takes a free one."""

    def __init__(self, service: Service, port: int) -> None:
        self._service = service
        self._lock = Lock()
        self._server: HttpServer | None = self._start(port)
        self.port = self._server.port

    def listen(self) -> None:
        """Listen again after `close`, on the same port."""
        with self._lock:
            if self._server is None:
                self._server = self._start(self.port)

    def close(self) -> None:
        """Refuse connections, close those that are open, and end all threads."""
        with self._lock:
            if self._server is not None:
                self._server.stop(abort=True)
                self._server = None

    def _start(self, port: int) -> HttpServer:
        return HttpServer(self._answer, _refuse, port, self._service.max_body_bytes)

    def _answer(self, request: HttpRequest, client: Client) -> None:
        headers = dict(request.headers)
        if "transfer-encoding" in headers:
            client.send(_response(Answer.error(411, "Content-Length is required")))
            return
        headers.setdefault("host", f"{ADDRESS}:{request.port}")
        query = dict(parse_qsl(request.query))
        prepared = self._service.prepare(
            Request(request.method, request.path, query, headers, request.body)
        )
        exchange = _Exchange(self._service, client, prepared.take)
        if prepared.fault is None:
            exchange.send(exchange.take())
        else:
            prepared.fault.apply(exchange)


@dataclass(frozen=True)
class _Exchange:
    """A request and its connection, for a fault."""

    service: Service
    client: Client
    take: Callable[[], Answer]

    def send(self, answer: Answer) -> None:
        """Answer the client."""
        self.client.send(_response(answer))

    def cut(self) -> None:
        """Reset the connection without an answer."""
        self.client.reset()

    def wait(self, seconds: float) -> None:
        """Wait."""
        self.service.wait(seconds)

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the webhook of the file that `answer` names was sent."""
        self.service.wait_for_webhook(answer)


def _response(answer: Answer) -> HttpResponse:
    headers = tuple(answer.headers.items())
    return HttpResponse(answer.status, headers, answer.body, answer.promised_length)


def _refuse(status: HTTPStatus) -> HttpResponse:
    return _response(Answer.error(status, _MESSAGES.get(status, status.phrase)))
