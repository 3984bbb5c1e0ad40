import base64
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from local import http_front
from local.backend import Backend, BackendKind
from local.deployment import Route
from local.function_pool import FunctionPool
from local.gateway import HttpGateway
from local.http_front import MAX_BODY_BYTES, MAX_HEADER_BYTES
from local.payload_format import Api, MalformedResponseError, read_response
from tests.unit.small_functions import make_function

BACKEND = Backend(BackendKind.MOTO, "http://127.0.0.1:9")

# Answers with the event it got, or as the event's body says.
ECHO = """
    import base64, json, os, time

    def handler(event, context):
        is_command = event["headers"].get("content-type") == "application/json"
        command = json.loads(event["body"]) if is_command else {}
        if "sleep" in command:
            time.sleep(command["sleep"])
        if "exit" in command:
            os._exit(1)
        if "answer" in command:
            return command["answer"]
        return {"statusCode": 200, "body": json.dumps(event)}
"""

# AWS's documented example of payload format 2.0 (Create AWS Lambda proxy integrations for HTTP
# APIs), without the parts that need an authorizer, a client certificate or stage variables.
DOCUMENTED = json.loads("""
{
  "version": "2.0",
  "routeKey": "POST /my/{name}",
  "rawPath": "/my/path",
  "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
  "cookies": ["cookie1", "cookie2"],
  "headers": {"header1": "value1", "header2": "value1,value2"},
  "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
  "requestContext": {
    "accountId": "123456789012",
    "apiId": "api-id",
    "domainName": "api-id.execute-api.us-east-1.amazonaws.com",
    "domainPrefix": "api-id",
    "http": {
      "method": "POST",
      "path": "/my/path",
      "protocol": "HTTP/1.1",
      "sourceIp": "127.0.0.1",
      "userAgent": "agent"
    },
    "requestId": "JKJaXmPLvHcESHA=",
    "routeKey": "POST /my/{name}",
    "stage": "$default",
    "time": "12/Mar/2020:19:03:58 +0000",
    "timeEpoch": 1583348638390
  },
  "body": "Hello from Lambda",
  "pathParameters": {"name": "path"},
  "isBase64Encoded": false
}
""")
API = Api(region="us-east-1", account="123456789012")
JSON_TYPE = {"Content-Type": "application/json"}

type Json = dict[str, Any]


def route(method: str, path: str, stage: str = "$default") -> Route:
    return Route(method, path, "echo", api_id="api-id", stage=stage)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionPool]:
    folder = tmp_path_factory.mktemp("echo")
    function = make_function(folder, ECHO, name="echo", timeout_seconds=5)
    pool = FunctionPool(function, BACKEND, work_dir=folder, max_processes=4)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def gateway(pool: FunctionPool) -> Iterator[HttpGateway]:
    routes = [
        route("POST", "/my/{name}"),
        route("POST", "/webhooks/{token}"),
        route("GET", "/plain"),
        route("ANY", "/staged/{one}/{two}", stage="prod"),
    ]
    gateway = HttpGateway(routes, {"echo": pool}, API)
    yield gateway
    gateway.stop()


@contextmanager
def connect(gateway: HttpGateway) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def call(
    gateway: HttpGateway,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    with connect(gateway) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()


def event_of(gateway: HttpGateway, *arguments: Any) -> Json:
    status, body = call(gateway, *arguments)
    assert status == 200
    event: Json = json.loads(body)
    return event


def raw(gateway: HttpGateway, request: bytes) -> bytes:
    """Sends bytes as they are and returns all that comes back."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_event_is_the_documented_one(gateway: HttpGateway) -> None:
    with connect(gateway) as connection:
        connection.putrequest("POST", "/my/path?" + DOCUMENTED["rawQueryString"])
        for name, value in (
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(DOCUMENTED["body"]))),
            ("Cookie", "cookie1; cookie2"),
            ("Header1", "value1"),
            ("header2", "value1"),
            ("HEADER2", "value2"),
            ("User-Agent", "agent"),
            ("Connection", "keep-alive"),
        ):
            connection.putheader(name, value)
        connection.endheaders(DOCUMENTED["body"].encode())
        event = json.loads(connection.getresponse().read())

    assert event["headers"].items() >= DOCUMENTED["headers"].items()
    assert all(name == name.lower() for name in event["headers"])
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert not event["headers"].keys() & {"cookie", "connection"}
    context = event["requestContext"]
    said = datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    assert int(context["timeEpoch"] / 1000) == said
    assert abs(said - time.time()) < 60
    assert context["requestId"]
    for varying in ("requestId", "time", "timeEpoch"):
        context[varying] = DOCUMENTED["requestContext"][varying]
    event["headers"] = DOCUMENTED["headers"]
    assert event == DOCUMENTED


def test_what_a_request_does_not_have_is_left_out(gateway: HttpGateway) -> None:
    event = event_of(gateway, "GET", "/plain")

    assert not event.keys() & {"cookies", "queryStringParameters", "pathParameters", "body"}
    assert event["rawQueryString"] == ""
    assert event["isBase64Encoded"] is False


def test_paths_and_queries_are_decoded_as_on_aws(gateway: HttpGateway) -> None:
    event = event_of(gateway, "POST", "/my/%E8%AB%8B%20%2B+?q=%E6%9B%B8&q=a+b&empty=")

    assert event["rawPath"] == "/my/請 ++"
    assert event["pathParameters"] == {"name": "請 ++"}
    assert event["rawQueryString"] == "q=%E6%9B%B8&q=a+b&empty="
    assert event["queryStringParameters"] == {"q": "書,a b", "empty": ""}


def test_named_stage_is_part_of_the_path(gateway: HttpGateway) -> None:
    event = event_of(gateway, "DELETE", "/prod/staged/a/b")

    assert event["rawPath"] == "/prod/staged/a/b"
    assert event["routeKey"] == "ANY /staged/{one}/{two}"
    assert event["pathParameters"] == {"one": "a", "two": "b"}
    assert call(gateway, "DELETE", "/staged/a/b")[0] == 404


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/XML",
        "application/javascript",
        "text/csv",
    ],
)
def test_body_of_these_types_is_text(gateway: HttpGateway, content_type: str) -> None:
    body = '{"name":"請求書"}'
    event = event_of(gateway, "POST", "/my/name", body.encode(), {"Content-Type": content_type})

    assert event["isBase64Encoded"] is False
    assert event["body"] == body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/octet-stream"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_body_of_any_other_type_is_binary(gateway: HttpGateway, headers: dict[str, str]) -> None:
    event = event_of(gateway, "POST", "/my/name", b"a=b", headers)

    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"a=b"


def test_body_that_is_no_text_after_all_is_binary(gateway: HttpGateway) -> None:
    event = event_of(gateway, "POST", "/my/name", b"\xff\xfe", {"Content-Type": "text/plain"})

    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\xff\xfe"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/my/name"),
        ("POST", "/my/"),
        ("POST", "/my"),
        ("POST", "/my/name/"),
        ("POST", "/my/name/more"),
        ("POST", "/my/na%2Fme"),
        ("POST", "/MY/name"),
        ("POST", "/"),
        ("PUT", "/plain"),
    ],
)
def test_no_route(gateway: HttpGateway, method: str, path: str) -> None:
    assert call(gateway, method, path) == (404, b'{"message":"Not Found"}')


def answer_of(gateway: HttpGateway, answer: object) -> tuple[int, http.client.HTTPMessage, bytes]:
    with connect(gateway) as connection:
        connection.request("POST", "/my/name", json.dumps({"answer": answer}), JSON_TYPE)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_response_is_sent_as_the_function_says(gateway: HttpGateway) -> None:
    status, headers, body = answer_of(
        gateway,
        {
            "statusCode": 202,
            "headers": {"Content-Type": "image/png", "X-Number": 7},
            "cookies": ["a=1", "b=2"],
            "body": base64.b64encode(b"\x89PNG").decode(),
            "isBase64Encoded": True,
        },
    )

    assert (status, body) == (202, b"\x89PNG")
    assert headers["Content-Type"] == "image/png"
    assert headers["X-Number"] == "7"
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("answer", [{"received": True}, "text", ["a"], 7, None])
def test_response_without_a_status_is_the_body(gateway: HttpGateway, answer: object) -> None:
    status, headers, body = answer_of(gateway, answer)

    assert (status, json.loads(body)) == (200, answer)
    assert headers["Content-Type"] == "application/json"


def test_response_without_a_body(gateway: HttpGateway) -> None:
    assert answer_of(gateway, {"statusCode": 204})[0] == 204
    assert answer_of(gateway, {"statusCode": "200"})[::2] == (200, b"")


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "fine"},
        {"statusCode": 99},
        {"statusCode": 200, "body": {"received": True}},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
        {"statusCode": 200, "headers": {"x y": "a"}},
        {"statusCode": 200, "headers": {"x": ["a"]}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": ["a=1\r\nx: y"]},
        {"statusCode": 200, "body": "no base64!", "isBase64Encoded": True},
    ],
)
def test_malformed_response(gateway: HttpGateway, answer: Json) -> None:
    with pytest.raises(MalformedResponseError):
        read_response(json.dumps(answer).encode())

    status, _, body = answer_of(gateway, answer)
    assert (status, body) == (500, b'{"message":"Internal Server Error"}')


def test_function_that_fails(gateway: HttpGateway) -> None:
    for command in (b"no JSON", b'{"exit":1}', b'{"sleep":30}'):
        status, body = call(gateway, "POST", "/my/name", command, JSON_TYPE)

        assert (status, body) == (500, b'{"message":"Internal Server Error"}')


def test_function_that_outlasts_the_integration(pool: FunctionPool) -> None:
    impatient = HttpGateway([route("POST", "/")], {"echo": pool}, API, integration_seconds=0.2)
    try:
        status, body = call(impatient, "POST", "/", b'{"sleep":1}', JSON_TYPE)
    finally:
        impatient.stop()

    assert (status, body) == (503, b'{"message":"Service Unavailable"}')


def test_body_above_the_limit(gateway: HttpGateway) -> None:
    too_long = b"x" * (MAX_BODY_BYTES + 1)

    assert call(gateway, "POST", "/my/name", too_long) == (413, b'{"message":"Request Too Long"}')


def test_body_above_lambdas_limit(gateway: HttpGateway) -> None:
    text = {"Content-Type": "text/plain"}

    assert call(gateway, "POST", "/my/name", b" " * 6_000_000, text)[0] == 200
    assert call(gateway, "POST", "/my/name", b" " * 6_300_000, text)[0] == 413


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
        pytest.param(HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 413, id="endless"),
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length and chunked",
        ),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400, id="unknown encoding"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, id="negative chunk"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400, id="chunk too long"
        ),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413, id="chunk too large"
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
    monkeypatch.setattr(http_front, "REQUEST_SECONDS", 0.3)
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(HEAD)
        started = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012  (a loop)
            while time.monotonic() - started < 10:
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

    assert time.monotonic() - started < 5
    with pytest.raises(ConnectionRefusedError):
        call(gateway, "GET", "/")


def test_stop_finishes_the_request_under_way(pool: FunctionPool) -> None:
    gateway = HttpGateway([route("POST", "/")], {"echo": pool}, API)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(call, gateway, "POST", "/", b'{"sleep":1}', JSON_TYPE)
        with pytest.raises(TimeoutError):
            answer.result(0.5)
        gateway.stop()

        assert answer.result(5)[0] == 200


def test_no_path_is_logged(
    gateway: HttpGateway,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)

    for body in (b"{}", b"no JSON", b'{"answer":{"statusCode":1}}'):
        call(gateway, "POST", "/webhooks/hunter2", body, JSON_TYPE)
    call(gateway, "GET", "/webhooks/hunter2/none")
    raw(gateway, b"POST /webhooks/hunter2 HTTP/1.1\r\nContent-Length: x\r\n\r\n")
    raw(gateway, b"BREW /webhooks/hunter2 HTTP/1.1\r\n\r\n")

    assert "POST /webhooks/{token}" in caplog.text
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())
