"""`requests` in memory: the way to ReportFlow and back, with all that can happen on it."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, ProtocolError, ReadTimeoutError

from reportflow.http_session import CONNECT_SECONDS, CONNECT_SHARE, READ_SECONDS
from tests.simulation.faults import Fault
from tests.simulation.process import Moment, Process
from tests.simulation.reportflow_service import FILES_URL, Design, ReportFlowService

if TYPE_CHECKING:
    from urllib3.connectionpool import HTTPConnectionPool

_NO_POOL: Final = cast("HTTPConnectionPool", None)
RETRY_DATE: Final = timedelta(seconds=30)
"""From a 429 to the date of its `Retry-After`, where that is one."""

_HTML: Final = {"Content-Type": "text/html"}
_JSON: Final = {"Content-Type": "application/json"}


class Body:
    """An answer's body on its way: `read1` of urllib3's response."""

    def __init__(self, process: Process, parts: list[bytes | Exception], delay: float) -> None:
        self._process = process
        self._parts = parts
        self._delay = delay

    def read1(self, _size: int, *, decode_content: bool) -> bytes:  # noqa: ARG002
        """The next part; empty at the end."""
        if not self._parts:
            return b""
        self._process.pause("body of GET", Moment.BEFORE)
        if self._delay:
            self._process.sleep(self._delay)
        part = self._parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


class Response:
    """`requests.Response` as far as the functions use it."""

    def __init__(
        self,
        status_code: int,
        body: bytes | Exception,
        headers: Mapping[str, str],
        request_headers: Mapping[str, str],
        raw: Body | None = None,
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self.request = SimpleNamespace(headers=request_headers)
        self.raw = raw
        self._body = body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def content(self) -> bytes:
        """The whole body."""
        if isinstance(self._body, Exception):
            raise self._body
        return self._body

    def iter_content(self, _size: int) -> Iterator[bytes]:
        """The body in one piece."""
        yield self.content


class Session:
    """`requests.Session` as far as the functions use it, in one process."""

    def __init__(self, process: Process, service: ReportFlowService) -> None:
        self._process = process
        self._chaos = process.chaos
        self._service = service

    def get(self, url: str, **options: Any) -> Response:
        """GET."""
        return self.request("GET", url, **options)

    def request(self, method: str, url: str, **options: Any) -> Response:
        """Send a request and wait for the answer's head.

        Raises:
            requests.RequestException: as requests would.
        """
        process, chaos = self._process, self._chaos
        seconds = options["timeout"]
        connect_seconds = min(CONNECT_SECONDS, seconds * CONNECT_SHARE)
        read_seconds = min(READ_SECONDS, seconds)
        headers = options["headers"]
        process.pause(f"{method} ReportFlow", Moment.BEFORE)
        try:
            if chaos.strikes(Fault.UNREACHABLE):
                process.sleep(connect_seconds)
                timed_out = ConnectTimeoutError(None, "timed out")
                raise requests.ConnectTimeout(MaxRetryError(_NO_POOL, url, timed_out))
            if chaos.strikes(Fault.LOST_BEFORE):
                raise requests.ConnectionError(ProtocolError("Connection aborted."))
            refusal = self._refusal(url, headers)
            if refusal is not None:
                return refusal
            if method == "POST":
                return self._submit(options["data"], headers, read_seconds)
            return self._download(url, headers, read_seconds)
        finally:
            process.pause(f"{method} ReportFlow", Moment.AFTER)

    def _refusal(self, url: str, headers: Mapping[str, str]) -> Response | None:
        chaos = self._chaos
        if not url.startswith(FILES_URL):
            if (headers["AppKey"], headers["SecretKey"]) != self._service.keys:
                return _error(chaos.rng.choice((401, 403)), headers)
            if self._service.throttles() or chaos.strikes(Fault.RATE_LIMITED):
                then = format_datetime(self._process.scheduler.clock() + RETRY_DATE, usegmt=True)
                wait = chaos.rng.choice((None, "7", "60", then))
                return _error(429, headers, {} if wait is None else {"Retry-After": wait})
        elif "AppKey" in headers:
            raise AssertionError("the keys must not go to the files' host")
        if chaos.strikes(Fault.SERVER_ERROR):
            return _error(chaos.rng.choice((500, 502, 503)), headers)
        if chaos.strikes(Fault.ANSWER_HTML):
            # A page of the CDN's: the request never reached the service.
            return Response(
                chaos.rng.choice((200, 503)), b"<html>please wait</html>", _HTML, headers
            )
        return None

    def _submit(self, body: bytes, headers: Mapping[str, str], read_seconds: float) -> Response:
        process, chaos, service = self._process, self._chaos, self._service
        design = json.loads(body)["designId"].lower()
        if design in (Design.MISSING, Design.BROKEN):
            service.refuse(body)
            return _error(404 if design == Design.MISSING else 500, headers)
        if design == Design.POISON:
            self._die()
        if chaos.strikes(Fault.ANSWER_LATE):
            # The service takes its time, and whether the client still waits is none of its.
            process.scheduler.after(chaos.rng.random() * 20, lambda: _ignore(service.take(body)))
            self._time_out(read_seconds)
        if chaos.strikes(Fault.GATEWAY_TIME_OUT):
            if chaos.rng.random() < 0.5:
                service.take(body)
            return _error(504, headers)
        document = service.take(body)
        if chaos.tell is not None:
            chaos.tell(f"ReportFlow takes {document.file_id}")
        process.sleep(chaos.rng.random() * chaos.rng.choice((0.2, 2.0, 9.0)))
        if chaos.strikes(Fault.LOST_AFTER):
            raise requests.ConnectionError(ProtocolError("Connection aborted."))
        answer: bytes | Exception = json.dumps(
            {"fileId": document.file_id, "url": document.url}
        ).encode()
        if chaos.strikes(Fault.ANSWER_CUT):
            answer = requests.exceptions.ChunkedEncodingError("cut")
        return Response(202, answer, _JSON, headers)

    def _download(self, url: str, headers: Mapping[str, str], read_seconds: float) -> Response:
        process, chaos = self._process, self._chaos
        document = self._service.at(url)
        if document is None:
            return _error(404, headers)
        if not document.made:
            return _error(self._service.not_ready_status, headers)
        if document.design_id == Design.POISON_PDF:
            self._die()
        if chaos.strikes(Fault.ANSWER_LATE):
            self._time_out(read_seconds)
        if chaos.strikes(Fault.BODY_HTML):
            return Response(200, b"", _HTML, headers, Body(process, [b"<html>"], 0))
        content = document.pdf()
        parts: list[bytes | Exception] = [content[:20], content[20:]]
        length = {"Content-Length": str(len(content))} if chaos.rng.random() < 0.7 else {}
        if chaos.strikes(Fault.BODY_CUT):
            parts[1] = ProtocolError("Connection broken")
        elif chaos.strikes(Fault.BODY_SHORT):
            # Without a length, HTTP itself notices an end that is not one (RFC 9112, 6.3); only
            # after the last `%%EOF` could a cut pass for the whole.
            end = len(content) if length else max(content.rfind(b"%%EOF"), 1)
            parts = [content[: chaos.rng.randrange(end)]]
        delay = chaos.rng.uniform(5, 60) if chaos.strikes(Fault.BODY_SLOW) else 0.0
        pdf = {"Content-Type": "application/pdf", **length}
        return Response(200, content, pdf, headers, Body(process, parts, delay))

    def _die(self) -> None:
        self._chaos.note(Fault.CRASH)
        self._process.scheduler.after(0, self._process.kill)
        self._process.scheduler.park()

    def _time_out(self, read_seconds: float) -> None:
        self._process.sleep(read_seconds)
        raise requests.ReadTimeout(ReadTimeoutError(_NO_POOL, "", "Read timed out."))


def _error(
    status: int, headers: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> Response:
    body = json.dumps({"statusCode": status, "message": f"status {status}"}).encode()
    return Response(status, body, {**_JSON, **(extra or {})}, headers)


def _ignore(_: object) -> None:
    pass
