"""The gateway's connections: many, kept, hostile, and ended by its stop."""

import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import http_server
from local.function_pool import FunctionPool
from local.gateway import MAX_BODY_BYTES, HttpGateway
from local.http_server import MAX_HEADER_BYTES
from tests.unit.echo_gateway import (
    API,
    JSON_TYPE,
    call,
    connect,
    event_of,
    raw,
    route,
    status_of,
)
from tests.unit.small_functions import wait_until


def test_requests_at_the_same_time(gateway: HttpGateway) -> None:
    def ask(number: int) -> bool:
        event = event_of(gateway, "POST", f"/my/{number}", b'{"sleep":0.05}', JSON_TYPE)
        return bool(event["pathParameters"]["name"] == str(number))

    with ThreadPoolExecutor(20) as threads:
        assert all(threads.map(ask, range(60)))


def test_connection_is_kept(gateway: HttpGateway) -> None:
    with connect(gateway) as connection:
        for path, expected in (("/plain", 200), ("/none", 404), ("/plain", 200)):
            connection.request("GET", path)
            first_socket = connection.sock
            response = connection.getresponse()
            response.read()
            assert response.status == expected
            assert connection.sock is first_socket is not None


def test_chunked_body(gateway: HttpGateway) -> None:
    with connect(gateway) as connection:
        chunks = iter([b'{"padding":"', b"x" * 70_000, b'"}'])
        connection.request("POST", "/my/name", chunks, JSON_TYPE, encode_chunked=True)
        event = json.loads(connection.getresponse().read())

    assert json.loads(event["body"])["padding"] == "x" * 70_000
    assert event["headers"]["content-length"] == str(len(event["body"]))
    assert "transfer-encoding" not in event["headers"]


HEAD = b"POST /my/name HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", 400, id="negative length"),
        pytest.param(HEAD + b"Content-Length: 1_0\r\n\r\n", 400, id="length with underscore"),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, id="two"),
        pytest.param(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, id="endless"),
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length and chunked",
        ),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501, id="unknown encoding"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, id="negative chunk"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400, id="chunk too long"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * MAX_BODY_BYTES + b"x",
            413,
            id="chunk too large",
        ),
        pytest.param(HEAD + b"Content-Length : 3\r\n\r\nabc", 400, id="space before the colon"),
        pytest.param(HEAD + b"no colon\r\nContent-Length: 3\r\n\r\nabc", 400, id="no colon"),
        pytest.param(HEAD + b"X: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n", 431, id="long header"),
        pytest.param(HEAD + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 431, id="endless header"),
        pytest.param(HEAD + b"X: x\r\n" * 200 + b"\r\n", 431, id="many headers"),
        pytest.param(b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="endless path"),
        pytest.param(b"POST my/name HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="relative path"),
        pytest.param(b"BREW /my/name HTTP/1.1\r\nHost: x\r\n\r\n", 501, id="unknown method"),
        pytest.param(b"POST /my/name HTTP/9.9\r\n\r\n", 505, id="unknown version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, id="TLS"),
    ],
)
def test_hostile_request(gateway: HttpGateway, request_bytes: bytes, status: int) -> None:
    answer = raw(gateway, request_bytes)

    assert status_of(answer) == status
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["message"]
    assert call(gateway, "GET", "/plain")[0] == 200


def test_slow_client_is_let_go(
    gateway: HttpGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(HEAD)
        started = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012  (a loop)
            while time.monotonic() - started < 60:
                connection.sendall(b"x")
                time.sleep(0.05)
    assert "".join(capfd.readouterr()) == ""


def test_stop_ends_idle_connections(pool: FunctionPool) -> None:
    gateway = HttpGateway([route("GET", "/")], {"echo": pool}, API)
    with connect(gateway) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
        started = time.monotonic()
        gateway.stop()

    assert time.monotonic() - started < http_server.REQUEST_SECONDS
    with pytest.raises(ConnectionRefusedError):
        call(gateway, "GET", "/")


def test_stop_finishes_the_request_under_way(pool: FunctionPool, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = json.dumps({"mark": str(begun), "sleep": 1}).encode()
    gateway = HttpGateway([route("POST", "/")], {"echo": pool}, API)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(call, gateway, "POST", "/", command, JSON_TYPE)
        wait_until(begun.exists)
        gateway.stop()

        assert answer.result(60)[0] == 200


def test_no_path_is_logged(
    gateway: HttpGateway,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)

    for body in (b"{}", b"no JSON", b'{"answer":{"statusCode":1}}'):
        call(gateway, "POST", "/webhooks/hunter2", body, JSON_TYPE)
    call(gateway, "GET", "/webhooks/hunter2/none")
    raw(gateway, b"POST /webhooks/hunter2 HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    raw(gateway, b"BREW /webhooks/hunter2 HTTP/1.1\r\nHost: x\r\n\r\n")

    assert "POST /webhooks/{token+}" in caplog.text
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())
