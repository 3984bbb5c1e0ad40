"""What ReportFlow answers, over a `peer` that stands in its place."""

import json
from collections.abc import Iterable, Iterator
from itertools import count

from tests.unit.peer import Received, Respond, answer

ACCEPTED = json.dumps({"url": "https://re-port-flow.com/x", "fileId": "file_abc123"}).encode()

OPEN_ENDED = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nConnection: close\r\n\r\n"
CHUNKED = OPEN_ENDED.replace(b"Connection", b"Transfer-Encoding: chunked\r\nConnection")


def keys_of(received: Received) -> tuple[str, str]:
    return received.headers["appkey"], received.headers["secretkey"]


def accepting() -> Respond:
    """ReportFlow in order: each 202 with a file of its own, from `file_1`."""
    numbers = count(1)
    return lambda _: answer(
        202, json.dumps({"fileId": f"file_{next(numbers)}", "url": "https://x"}).encode()
    )


def central_accepting() -> Respond:
    """The same by `central`: the file of each request has the same id in another request."""
    numbers = count(1)
    return lambda _: answer(202, central_accepted(f"req-{next(numbers)}"))


def central_accepted(request_id: str = "req-7f3a", file_id: str = "file_abc123") -> bytes:
    """The body of a 202 by `central`."""
    file = {"fileId": file_id, "fileName": "invoice.pdf"}
    url = "https://re-port-flow.com/x"
    return json.dumps({"requestId": request_id, "url": url, "files": [file]}).encode()


def accept_only(app_key: str) -> Respond:
    """ReportFlow after a rotation: it takes this key and answers 401 to all others."""
    return lambda got: answer(202 if got.headers["appkey"] == app_key else 401, ACCEPTED)


def said(status: int, message: object) -> Iterable[bytes]:
    """A refusal in ReportFlow's form."""
    body = {"statusCode": status, "message": message, "error": "Bad Request"}
    return answer(status, json.dumps(body, ensure_ascii=False).encode())


def chunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A file of no promised length."""
    yield CHUNKED
    for part in parts:
        yield f"{len(part):x}\r\n".encode() + part + b"\r\n"
    yield b"0\r\n\r\n"
