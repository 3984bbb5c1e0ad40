"""What a function answers becomes a response in API Gateway's way, and so does its failure."""

import base64
import http.client
import json

import pytest

from local.function_pool import FunctionPool
from local.gateway import MAX_BODY_BYTES, HttpGateway
from local.payload_format import MalformedResponseError, read_response
from tests.unit.echo_gateway import (
    API,
    JSON_TYPE,
    Json,
    call,
    connect,
    route,
)


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
    hurried = HttpGateway([route("POST", "/")], {"echo": pool}, API, integration_seconds=0.2)
    try:
        status, body = call(hurried, "POST", "/", b'{"sleep":1}', JSON_TYPE)
    finally:
        hurried.stop()

    assert (status, body) == (503, b'{"message":"Service Unavailable"}')


def test_body_above_the_limit(gateway: HttpGateway) -> None:
    too_long = b"x" * (MAX_BODY_BYTES + 1)

    assert call(gateway, "POST", "/my/name", too_long) == (413, b'{"message":"Request Too Long"}')


def test_body_above_lambdas_limit(gateway: HttpGateway) -> None:
    text = {"Content-Type": "text/plain"}

    assert call(gateway, "POST", "/my/name", b" " * 6_000_000, text)[0] == 200
    assert call(gateway, "POST", "/my/name", b" " * 6_300_000, text)[0] == 413
