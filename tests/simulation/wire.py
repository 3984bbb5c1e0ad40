"""The network between the functions and ReportFlow: sockets in memory, and all that can happen.

The functions' own HTTP session runs on them, so that its faults are seen here, too.
"""

import http.client
import io
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPMessage, parse_headers
from typing import Any, BinaryIO, Final
from unittest.mock import patch

from greenlet import getcurrent
from urllib3.connection import HTTPConnection
from urllib3.util import parse_url

from reportflow import http_session
from reportflow.http_session import READ_SECONDS
from tests.simulation.faults import Fault
from tests.simulation.process import Moment, Process, current
from tests.simulation.reportflow_service import (
    API_HOST,
    Design,
    Document,
    ReportFlowService,
    central_file,
    read,
)
from tests.simulation.scheduler import Task

RETRY_DATE: Final = timedelta(seconds=30)
"""From a 429 to the date of its `Retry-After`, where that is one."""

FORGOTTEN_AFTER: Final = 350.0
"""Seconds without traffic after which a NAT gateway drops a connection, as AWS's does."""

LONGEST_BEHIND: Final = 20.0
"""Seconds for which a proxy keeps an answer that nobody waits for."""

_INTERIM: Final = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
)

type Arrival = bytes | float | Exception
"""What a read meets next: bytes, a wait in seconds, or the connection's end."""

type Arrivals = list[Arrival]

_CLOSED: Final = b""


@contextmanager
def in_place_of_sockets(service: ReportFlowService) -> Iterator[None]:
    """Connections of the functions' HTTP session lead to the simulated ReportFlow."""

    def connect(wanted: HTTPConnection) -> Socket:
        process = current()
        if process.chaos.strikes(Fault.UNREACHABLE):
            process.sleep(float(wanted.timeout or 0.0))
            raise TimeoutError
        return Socket(process, wanted.host, service)

    def now() -> float:
        """Virtual time in the simulation's tasks; other threads of the program go on as they do."""
        return scheduler.now if isinstance(getcurrent(), Task) else time.monotonic()

    scheduler = service.scheduler
    with (
        patch.object(HTTPConnection, "_new_conn", connect),
        patch.object(http_session, "monotonic", now),
        # Pure functions, asked about the same few URLs and headers again and again.
        patch.object(http_session, "parse_url", lru_cache(parse_url)),
        patch.object(http.client, "parse_headers", _read_headers),
    ):
        yield


def _read_headers(wire: BinaryIO, *_: object) -> HTTPMessage:
    lines = [wire.readline()]
    while lines[-1].strip():
        lines.append(wire.readline())
    return _parsed(b"".join(lines))


@lru_cache(maxsize=1000)
def _parsed(head: bytes) -> HTTPMessage:
    return parse_headers(io.BytesIO(head))


class Socket:
    """One connection: the client's end, with the server's behind it."""

    def __init__(self, process: Process, host: str, service: ReportFlowService) -> None:
        self._process = process
        self._server = _Server(process, host, service)
        self._seconds = 0.0
        self._sent = b""
        self._arrivals: deque[Arrival] = deque()
        self._used_at = process.scheduler.now

    def settimeout(self, seconds: float) -> None:
        """How long a read may wait."""
        self._seconds = seconds

    def sendall(self, data: bytes) -> None:
        """Send; the server answers once it has all of a request."""
        self._sent += data
        head, end, body = self._sent.partition(b"\r\n\r\n")
        if not end:
            return
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (header.partition(": ") for header in lines)
        }
        if len(body) < int(headers.get("content-length", 0)):
            return
        self._sent = b""
        method, path, _ = line.split(" ")
        self._process.pause(f"{method} ReportFlow", Moment.BEFORE)
        now = self._process.scheduler.now
        idle, self._used_at = now - self._used_at, now
        if idle > FORGOTTEN_AFTER:
            self._arrivals = deque([ConnectionResetError()])
            return
        try:
            self._arrivals += self._server.answer(method, path, headers, body)
        finally:
            self._process.pause(f"{method} ReportFlow", Moment.AFTER)

    def recv_into(self, buffer: memoryview) -> int:
        """Wait for what comes next.

        Raises:
            TimeoutError: nothing came in time.
            ConnectionError: the connection broke.
        """
        while True:
            until = self._seconds
            if not self._arrivals:
                # The server keeps the connection, and has nothing to say.
                self._process.sleep(until)
                self._process.chaos.note(Fault.READ_TIMED_OUT)
                raise TimeoutError
            arrival = self._arrivals.popleft()
            if isinstance(arrival, Exception):
                raise arrival
            if isinstance(arrival, float):
                self._process.pause("body of the answer", Moment.BEFORE)
                self._process.sleep(min(arrival, until))
                if arrival > until:
                    self._arrivals.appendleft(arrival - until)
                    self._process.chaos.note(Fault.READ_TIMED_OUT)
                    raise TimeoutError
                continue
            taken = arrival[: len(buffer)]
            buffer[: len(taken)] = taken
            if len(arrival) > len(taken) or arrival == _CLOSED:
                self._arrivals.appendleft(arrival[len(taken) :])
            return len(taken)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `http.client` reads from."""
        return io.BufferedReader(_Stream(self))

    def shutdown(self, _how: int) -> None:
        """Nothing comes any more."""
        self._arrivals = deque([_CLOSED])

    def close(self) -> None:
        """See `socket.close`: a file made of it goes on."""


class _Stream(io.RawIOBase):
    def __init__(self, wire: Socket) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.recv_into(memoryview(buffer))


class _Server:
    """What ReportFlow, and what stands before it, sends on one connection.

    It keeps the connection after a whole answer, although the client asks it to close.
    """

    def __init__(self, process: Process, host: str, service: ReportFlowService) -> None:
        self._process = process
        self._chaos = process.chaos
        self._host = host
        self._service = service

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Arrivals:
        """All that comes back for one request, up to its end."""
        chaos = self._chaos
        if self._service.on_request is not None:
            self._service.on_request(body if method == "POST" else None)
        if chaos.strikes(Fault.LOST_BEFORE):
            return [ConnectionResetError()]
        arrivals = self._refusal(headers) or (
            self._submit(body) if method == "POST" else self._download(path)
        )
        if self._service.on_answer is not None and (status := _status(arrivals)) is not None:
            self._service.on_answer(status)
        if chaos.strikes(Fault.INTERIM_ANSWER):
            early = b"".join(chaos.rng.choices(_INTERIM, k=chaos.rng.choice((1, 3))))
            arrivals = [early, chaos.rng.choice((0.0, 0.5)), *arrivals]
        return arrivals

    def _with_more(self, answer: bytes) -> Arrivals:
        """An answer that belongs to nothing comes behind the right one, at once or later."""
        more = _accepted(self._chaos.rng.choice(self._service.documents))
        return [answer + more] if self._chaos.rng.random() < 0.5 else [answer, 0.5, more]

    def _refusal(self, headers: Mapping[str, str]) -> Arrivals | None:
        chaos = self._chaos
        if self._host == API_HOST:
            app_key, secret_key = self._service.keys
            given = (headers["appkey"], headers.get("secretkey"))
            if given != (app_key, None if self._service.is_central else secret_key):
                return _error(chaos.rng.choice((401, 403)))
            if self._service.throttles() or chaos.strikes(Fault.RATE_LIMITED):
                then = format_datetime(self._process.scheduler.clock() + RETRY_DATE, usegmt=True)
                wait = chaos.rng.choice((None, "7", "60", then))
                return _error(429, **({} if wait is None else {"Retry-After": wait}))
        elif "appkey" in headers:
            raise AssertionError("the keys must not go to the files' host")
        if chaos.strikes(Fault.SERVER_ERROR):
            return _error(chaos.rng.choice((500, 502, 503)))
        if chaos.strikes(Fault.ANSWER_HTML):
            # A page of the CDN's: the request never reached the service.
            return _whole(chaos.rng.choice((200, 503)), b"<html>please wait</html>", "text/html")
        return None

    def _submit(self, body: bytes) -> Arrivals:
        process, chaos, service = self._process, self._chaos, self._service
        if refusal := self._refused_design(body):
            return refusal
        if chaos.strikes(Fault.ANSWER_LATE):
            # The service takes its time, and whether the client still waits is none of its.
            process.scheduler.after(chaos.rng.random() * 20, lambda: _ignore(service.take(body)))
            return [READ_SECONDS + 1.0, _CLOSED]
        if chaos.strikes(Fault.GATEWAY_TIME_OUT):
            if chaos.rng.random() < 0.5:
                service.take(body)
            return _error(504)
        document = service.take(body)
        if chaos.tell is not None:
            chaos.tell(f"ReportFlow takes {document.file_id}")
        wait = chaos.rng.random() * chaos.rng.choice((0.2, 2.0, 9.0))
        if chaos.strikes(Fault.LOST_AFTER):
            return [wait, ConnectionResetError()]
        named = self._crossed(document)
        if named is None:
            return [wait, ConnectionResetError()]
        answer = _accepted(named)
        if chaos.strikes(Fault.ANSWER_CUT):
            return [wait, answer[: chaos.rng.randrange(len(answer))], _CLOSED]
        if chaos.strikes(Fault.LEFT_OVER):
            return [wait, *self._with_more(answer)]
        return [wait, answer]

    def _refused_design(self, body: bytes) -> Arrivals | None:
        design = read(body)["designId"].lower()
        if design in (Design.MISSING, Design.BROKEN):
            self._service.refuse(body)
            return _error(404 if design == Design.MISSING else 500)
        if design == Design.POISON:
            self._die()
        return None

    def _crossed(self, document: Document) -> Document | None:
        """Whose answer the request gets: a proxy may be one answer behind for a while."""
        service, now = self._service, self._process.scheduler.now
        behind = service.unanswered
        if behind is not None and now - behind.taken_at > LONGEST_BEHIND:
            behind = service.unanswered = None
        if behind is None and not self._chaos.strikes(Fault.ANSWER_CROSSED):
            return document
        service.unanswered = document if self._chaos.rng.random() < 0.5 else None
        return behind

    def _download(self, path: str) -> Arrivals:
        chaos = self._chaos
        document = self._service.at(self._host, path)
        if document is None:
            return _error(404)
        if not document.made:
            return _error(self._service.not_ready_status)
        if document.design_id == Design.POISON_PDF:
            self._die()
        if chaos.strikes(Fault.ANSWER_LATE):
            return [READ_SECONDS + 1.0, _CLOSED]
        self._service.downloads += 1
        if chaos.strikes(Fault.BODY_HTML):
            return _whole(200, b"<html>", "text/html")
        content = document.pdf()
        length = len(content) if chaos.rng.random() < 0.7 else None
        parts: Arrivals = [content[:20], content[20:]]
        if length is None:
            parts.append(_CLOSED)
        if chaos.strikes(Fault.BODY_CUT):
            parts[1:] = [ConnectionResetError()]
        elif chaos.strikes(Fault.BODY_SHORT):
            # Without a length, HTTP itself notices an end that is not one (RFC 9112, 6.3); only
            # after the last `%%EOF` could a cut pass for the whole.
            end = max(content.rfind(b"%%EOF"), 1) if length is None else len(content)
            parts = [content[: chaos.rng.randrange(end)], _CLOSED]
        if chaos.strikes(Fault.BODY_SLOW):
            parts = [part for slow in parts for part in (chaos.rng.uniform(5, 60), slow)]
        return [_head(200, length, "application/pdf"), 0.0, *parts]

    def _die(self) -> None:
        self._chaos.note(Fault.CRASH)
        self._process.scheduler.after(0, self._process.kill)
        self._process.scheduler.park()


def _status(arrivals: Arrivals) -> int | None:
    """The status of the answer's first line, if that much of it arrives."""
    first = next((arrival for arrival in arrivals if isinstance(arrival, bytes)), b"")
    status = first.removeprefix(b"HTTP/1.1 ")[:3]
    return int(status) if len(status) == 3 and status.isdigit() else None


@lru_cache(maxsize=1000)
def _head(status: int, length: int | None, kind: str = "application/json", **more: str) -> bytes:
    phrase = HTTPStatus(status).phrase
    headers = {"Content-Type": kind, **more}
    if length is not None:
        headers["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode()


def _whole(status: int, body: bytes, kind: str = "application/json", **more: str) -> Arrivals:
    return [_head(status, len(body), kind, **more) + body]


def _accepted(document: Document) -> bytes:
    said: dict[str, Any] = {"fileId": document.own_id, "url": document.url}
    if document.is_central:
        files = [central_file(document, document.own_id)]
        said = {"requestId": document.request_id, "url": document.url, "files": files}
    body = json.dumps(said).encode()
    return _head(202, len(body)) + body


def _error(status: int, **more: str) -> Arrivals:
    body = json.dumps({"statusCode": status, "message": f"status {status}"}).encode()
    return _whole(status, body, **more)


def _ignore(_: object) -> None:
    pass
