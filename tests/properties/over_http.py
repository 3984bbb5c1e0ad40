"""The receiver behind the local HTTP front end: whole requests, and bytes that are none."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from local.gateway import HttpGateway
from tests.properties.case import Case
from tests.properties.receiver import API, ROUTES, Outcome, Receiver
from tests.properties.signing import headers

if TYPE_CHECKING:
    from local.function_pool import FunctionPool

TIMEOUT_SECONDS: Final = 60

_ANSWER: Final = re.compile(
    rb"HTTP/1\.1 (\d{3}) .*?\r\nContent-Length: (\d+)(?=\r\n).*?\r\n\r\n", re.DOTALL
)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class _InProcess:
    """Runs the handler where a pool would have a process of its own do it."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.outcomes: list[Outcome] = []

    def invoke(self, payload: bytes) -> bytes:
        outcome = self._receiver.invoke(json.loads(payload))
        self.outcomes.append(outcome)
        if outcome.error is not None:
            return b'{"statusCode":500}'
        return json.dumps(
            {
                "statusCode": outcome.status,
                "headers": outcome.headers,
                "body": outcome.body.decode(),
            }
        ).encode()


class Front:
    """A listening front end and what came through it."""

    def __init__(self, gateway: HttpGateway, function: _InProcess) -> None:
        parts = urlsplit(gateway.url)
        self._address = (parts.hostname, parts.port)
        self._function = function

    def exchange(self, sent: bytes) -> tuple[list[tuple[int, bytes]], list[Outcome]]:
        """Send bytes, and the end; the answers, and what the function was asked."""
        self._function.outcomes.clear()
        with closing(socket.create_connection(self._address, TIMEOUT_SECONDS)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        answers: list[tuple[int, bytes]] = []
        while received := received.removeprefix(_CONTINUE):
            head = _ANSWER.match(received)
            if head is None:
                # HTTP/0.9's answers have neither a status nor an end.
                answers.append((0, received))
                break
            end = head.end() + int(head[2])
            answers.append((int(head[1]), received[head.end() : end]))
            received = received[end:]
        return answers, list(self._function.outcomes)


@contextmanager
def front(receiver: Receiver) -> Iterator[Front]:
    """The local API Gateway with the webhook's routes, on a port of this machine."""
    function = _InProcess(receiver)
    pools: Mapping[str, FunctionPool] = {ROUTES[0].function_name: cast("FunctionPool", function)}
    gateway = HttpGateway(ROUTES, pools, API)
    try:
        yield Front(gateway, function)
    finally:
        gateway.stop()


def can_be_sent(case: Case) -> bool:
    """Whether a request line and headers can hold the case, which is no event of its own."""
    words = [case.path, *(part for header in case.headers for part in header)]
    return (
        not case.event
        and case.method.isalpha()
        and case.method != "HEAD"
        and all(word.isascii() and word.isprintable() for word in words)
        and " " not in case.path
        and len(_hosts(case)) <= 1
    )


def _hosts(case: Case) -> list[str]:
    return [value for name, value in case.headers if name.lower() == "host"]


def raw(case: Case) -> bytes:
    """The request as bytes."""
    lines = [f"{case.method} {case.path} HTTP/1.1", f"Content-Length: {len(case.body)}"]
    lines += [] if _hosts(case) else ["Host: x"]
    lines += [f"{name}: {value}" for name, value in headers(case.signing, case.body) + case.headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + case.body


_LENGTHS: Final = (
    b"",
    b"-1",
    b"+1",
    b"0x10",
    b"1_0",
    b" ",
    b"1, 1",
    b"9" * 20,
    b"\xef\xbc\x91",
)
_LINES: Final = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Content-Length: 3",
    b"Content-Length : 3",
    b"Expect: 100-continue",
    b" folded: x",
    b"no colon",
    b": empty",
    b"X: a\x00b",
    b"X: \xff\xfe",
    b"X: " + b"x" * 11_000,
    b"X: " + b"x" * 70_000,
    b"Connection: close",
    b"Host: y",
)


def broken(case: Case, random: Random) -> bytes:
    """The request's bytes, made wrong as HTTP."""
    # Of a HEAD's answers nobody could see where they end without knowing which they are.
    whole = raw(replace(case, method="POST") if case.method == "HEAD" else case)
    head, _, body = whole.partition(b"\r\n\r\n")
    action = random.randrange(9)
    if action == 0:
        length = random.choice(_LENGTHS)
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: " + length, head)
    elif action == 1:
        head += b"\r\n" + random.choice(_LINES)
    elif action == 2:
        head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
        sizes = (b"%x" % len(body), b"%x" % (len(body) + 1), b"-1", b"ffffffff", b"", b"0x1", b"zz")
        end = random.choice((b"\r\n0\r\n\r\n", b"\r\n0\r\nX: y\r\n\r\n", b"0\r\n\r\n", b""))
        body = random.choice(sizes) + b"\r\n" + body + end
    elif action == 3:
        return whole[: random.randrange(len(whole) + 1)]
    elif action == 4:
        return whole * random.choice((2, 5))
    elif action == 5:
        return whole + random.randbytes(random.randrange(1, 50))
    elif action == 6:
        return whole.replace(b"\r\n", random.choice((b"\n", b"\r", b"\r\n\r\n", b"\x0b")))
    elif action == 7:
        version = random.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 x", b""))
        return whole.replace(b"HTTP/1.1", version, 1)
    else:
        at = random.randrange(len(head))
        head = head[:at] + random.randbytes(random.randrange(1, 4)) + head[at + 1 :]
    return head + b"\r\n\r\n" + body


def wrong_exchange(answers: list[tuple[int, bytes]], outcomes: list[Outcome]) -> list[str]:
    """What is wrong with the front end: it answers what it asked, and refuses the rest."""
    statuses = [status for status, _ in answers]
    asked = [outcome.status for outcome in outcomes]
    found = [
        f"no HTTP answer: {body[:99]!r}"
        for status, body in answers
        if not status and not body.startswith(b"{")
    ]
    if [status for status in statuses if status >= 500 and status not in {501, 505}]:
        found.append(f"the front end answered {statuses}")
    # What comes from the function comes in its order; the front end's own refusals are in between.
    rest = iter(statuses)
    if 0 not in statuses and not all(status in rest for status in asked):
        found.append(f"the function said {asked} and the front end {statuses}")
    return found
