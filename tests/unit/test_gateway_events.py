"""A request becomes an event in API Gateway's payload format 2.0."""

import base64
import json
import time
from datetime import datetime

import pytest

from local.gateway import HttpGateway
from tests.unit.echo_gateway import call, connect, event_of

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


@pytest.mark.parametrize("rest", ["t", "t/", "t//", "a/b", "/t"])
def test_greedy_variable_takes_the_rest_of_the_path(gateway: HttpGateway, rest: str) -> None:
    event = event_of(gateway, "POST", f"/webhooks/{rest}", b"{}")

    assert event["pathParameters"] == {"token": rest}


def test_greedy_variable_takes_something(gateway: HttpGateway) -> None:
    for path in ("/webhooks", "/webhooks/", "/other/t"):
        assert call(gateway, "POST", path, b"{}")[0] == 404
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
