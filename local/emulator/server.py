"""The emulator's HTTP server, and the one place where a fault happens to a request."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Lock
from urllib.parse import parse_qsl

from local.emulator.faults import HttpFault
from local.emulator.files import Files
from local.emulator.messages import Answer, Refusal, Request
from local.http_server import ADDRESS, Client, HttpRequest, HttpResponse, HttpServer

logger = logging.getLogger(__name__)

EARLY_WEBHOOK_SECONDS = 10
_MESSAGES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "リクエストボディが大きすぎます"}


type Prepare = Callable[[Request], tuple[HttpFault | None, Callable[[], Answer]]]
"""Finds the fault that happens to a request, and returns it with what does the request."""


class Server:
    """Serves on 127.0.0.1 from construction until `close`; port 0 takes a free one.

    Faults wait until `closing` at most.
    """

    def __init__(
        self, prepare: Prepare, port: int, max_body_bytes: int, files: Files, closing: Event
    ) -> None:
        self._prepare = prepare
        self._max_body_bytes = max_body_bytes
        self._files = files
        self._closing = closing
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
        return HttpServer(self._answer, _refuse, port, self._max_body_bytes)

    def _answer(self, request: HttpRequest, client: Client) -> None:
        headers = dict(request.headers)
        if "transfer-encoding" in headers:
            client.send(_response(Answer.error(411, "Content-Length is required")))
            return
        headers.setdefault("host", f"{ADDRESS}:{request.port}")
        query = dict(parse_qsl(request.query))
        fault, run = self._prepare(
            Request(request.method, request.path, query, headers, request.body)
        )
        exchange = _Exchange(client, run, self._files, self._closing)
        if fault is None:
            exchange.send(exchange.take())
        else:
            fault.apply(exchange)


@dataclass(frozen=True)
class _Exchange:
    """A request and its connection, for a fault."""

    client: Client
    run: Callable[[], Answer]
    files: Files
    closing: Event

    def take(self) -> Answer:
        """Do what is asked; an error is an answer too."""
        try:
            return self.run()
        except Refusal as refusal:
            return refusal.answer
        except Exception:
            logger.exception("The emulator failed to answer")
            return Answer.error(500, "Internal server error")

    def send(self, answer: Answer) -> None:
        """Answer the client."""
        self.client.send(_response(answer))

    def cut(self) -> None:
        """Reset the connection without an answer."""
        self.client.reset()

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the emulator runs."""
        self.closing.wait(seconds)

    def wait_for_webhook(self, answer: Answer) -> None:
        """Wait until the webhooks of the files that `answer` names were sent, or some seconds."""
        self.files.wait_for_webhook(answer.file_ids, EARLY_WEBHOOK_SECONDS)


def _response(answer: Answer) -> HttpResponse:
    headers = tuple(answer.headers.items())
    return HttpResponse(answer.status, headers, answer.body, answer.promised_length)


def _refuse(status: HTTPStatus) -> HttpResponse:
    return _response(Answer.error(status, _MESSAGES.get(status, status.phrase)))
