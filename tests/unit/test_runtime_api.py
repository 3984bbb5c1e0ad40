import socket
import time
from collections.abc import Iterator

import pytest

from local.runtime_api import ProcessEndedError, RuntimeApi

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    api = RuntimeApi()
    yield api
    api.close()


def soon() -> float:
    return time.monotonic() + 10


def connect(api: RuntimeApi) -> socket.socket:
    host, _, port = api.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_process_that_goes_before_the_answer_comes_is_cut_off(api: RuntimeApi) -> None:
    with connect(api) as process:
        process.sendall(NEXT)
        api.receive(soon(), lambda: True)
        assert api.is_asking()
    assert not api.is_asking()

    api.answer(200, {}, b"{}", 10)
    with pytest.raises(ProcessEndedError):
        api.receive(soon(), lambda: False)

    assert api.cut_off


def test_process_that_goes_without_reading_the_answer_is_cut_off(api: RuntimeApi) -> None:
    with connect(api) as process:
        process.sendall(NEXT)
        api.receive(soon(), lambda: True)
        api.answer(200, {}, b"{}", 10)
        process.recv(1, socket.MSG_PEEK)

    with pytest.raises(ProcessEndedError):
        api.receive(soon(), lambda: False)
    assert api.cut_off


def test_process_that_goes_with_the_answer_is_not_cut_off(api: RuntimeApi) -> None:
    with connect(api) as process:
        process.sendall(NEXT)
        api.receive(soon(), lambda: True)
        api.answer(200, {}, b"{}", 10)
        while not process.recv(65536).endswith(b"{}"):
            pass

    with pytest.raises(ProcessEndedError):
        api.receive(soon(), lambda: False)
    assert not api.cut_off


def test_requests_may_come_on_connections_of_their_own(api: RuntimeApi) -> None:
    for body in (b"first", b"second"):
        with connect(api) as process:
            process.sendall(b"POST /some/path HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
            process.sendall(body)
            request = api.receive(soon(), lambda: True)
            assert (request.method, request.path, request.body) == ("POST", "/some/path", body)
            api.answer(202, {}, b"", 10)


def test_silence_ends_at_the_deadline(api: RuntimeApi) -> None:
    with connect(api) as process:
        process.sendall(b"POST /some/path HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf")

        with pytest.raises(TimeoutError):
            api.receive(time.monotonic() + 0.2, lambda: True)
