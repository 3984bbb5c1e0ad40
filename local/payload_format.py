"""API Gateway's payload format 2.0: from a request to an event, and from a result to an answer.

AWS does not document everything. The rest follows what users and AWS's own test tool observed:
paths are decoded, a body is text for a few content types only, and a function's result without a
`statusCode` is the body.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from local.deployment import Route
from local.http_server import HttpRequest, HttpResponse

_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript"})
_NOT_FORWARDED = frozenset({"connection", "cookie", "keep-alive", "te", "trailer", "upgrade"})
_MANAGED_HEADERS = frozenset({"connection", "content-length", "date", "transfer-encoding"})
_MESSAGES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request Too Long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "Request Header Fields Too Large",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class MalformedResponseError(ValueError):
    """The function's response has a `statusCode`, and another part is malformed."""


@dataclass(frozen=True)
class Api:
    """The API's place on AWS."""

    region: str
    account: str


def path_parameters(route: Route, method: str, path: str) -> Mapping[str, str] | None:
    """The values of the route's `{parameters}`, or None if the route does not match.

    A greedy `{parameter+}` at the end takes the rest of the path, slashes included.
    """
    if route.method not in {"ANY", method}:
        return None
    pattern = _full_path(route).split("/")
    is_greedy = pattern[-1].endswith("+}")
    segments = _decoded(path).split("/", len(pattern) - 1 if is_greedy else -1)
    if len(pattern) != len(segments):
        return None
    parameters = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{") and segment:
            parameters[expected.strip("{+}")] = segment
        elif expected != segment:
            return None
    return parameters


def make_event(
    request: HttpRequest, route: Route, parameters: Mapping[str, str], api: Api
) -> Mapping[str, object]:
    """The event of a request. Like API Gateway, it leaves out what the request does not have."""
    headers = _headers(request)
    route_key = f"{route.method} {route.path}"
    path = _decoded(request.path)
    now = time.time()
    text = _text(request.body, headers.get("content-type", ""))
    cookies = [
        cookie.strip()
        for name, value in request.headers
        if name.lower() == "cookie"
        for cookie in value.split(";")
    ]
    queries: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        queries[name] = f"{queries[name]},{value}" if name in queries else value
    optional = {
        "cookies": cookies,
        "queryStringParameters": queries,
        "pathParameters": dict(parameters),
        "body": base64.b64encode(request.body).decode() if text is None else text,
    }
    return {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": api.account,
            "apiId": route.api_id,
            "domainName": f"{route.api_id}.execute-api.{api.region}.amazonaws.com",
            "domainPrefix": route.api_id,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": f"{secrets.token_urlsafe(11)}=",
            "routeKey": route_key,
            "stage": route.stage,
            "time": f"{datetime.fromtimestamp(now, UTC):%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": int(now * 1000),
        },
        **{name: value for name, value in optional.items() if value},
        "isBase64Encoded": bool(request.body) and text is None,
    }


def read_response(payload: bytes) -> HttpResponse:
    """Reads a function's response.

    Raises:
        MalformedResponseError: it has a `statusCode`, and another part is malformed.
    """
    answer = json.loads(payload)
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return _whole(200, (("content-type", "application/json"),), payload)
    status = str(answer["statusCode"])
    if not re.fullmatch("[2-5][0-9][0-9]", status):
        raise MalformedResponseError("statusCode is not an HTTP status")
    headers = _response_headers(answer.get("headers"), answer.get("cookies"))
    body = _response_body(answer.get("body"), encoded=answer.get("isBase64Encoded", False))
    return _whole(int(status), headers, body)


def error_response(status: HTTPStatus) -> HttpResponse:
    """API Gateway's own answer, without a function."""
    body = json.dumps({"message": _MESSAGES.get(status, status.phrase)}, separators=(",", ":"))
    return _whole(status, (("content-type", "application/json"),), body.encode())


def _whole(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> HttpResponse:
    return HttpResponse(status, headers, body, len(body))


def _full_path(route: Route) -> str:
    return route.path if route.stage == "$default" else f"/{route.stage}{route.path}"


def _decoded(path: str) -> str:
    """The path as API Gateway sees it: decoded once, and cut at a decoded `?`."""
    return unquote(path).partition("?")[0]


def _headers(request: HttpRequest) -> dict[str, str]:
    joined: dict[str, str] = {}
    for original, value in request.headers:
        name = original.lower()
        if name not in _NOT_FORWARDED and name != "transfer-encoding":
            joined[name] = f"{joined[name]},{value}" if name in joined else value
    forwarded_for = [joined["x-forwarded-for"]] if "x-forwarded-for" in joined else []
    return joined | {
        "content-length": str(len(request.body)),
        "x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}",
        "x-forwarded-for": ", ".join([*forwarded_for, request.source_ip]),
        "x-forwarded-port": str(request.port),
        "x-forwarded-proto": "http",
    }


def _text(body: bytes, content_type: str) -> str | None:
    """The body as text, or None if API Gateway treats it as binary."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _TEXT_TYPES or media_type.startswith("text/"):
        try:
            return body.decode()
        except UnicodeDecodeError:
            return None
    return None


def _response_headers(headers: object, cookies: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(headers, dict | None) or not isinstance(cookies, list | None):
        raise MalformedResponseError("headers is not an object, or cookies not a list")
    pairs = [(str(name), _header_value(value)) for name, value in (headers or {}).items()]
    pairs += [("set-cookie", _header_value(cookie)) for cookie in cookies or []]
    if not all(_HEADER_NAME.fullmatch(name) for name, _ in pairs):
        raise MalformedResponseError("a header's name has a character that cannot be sent")
    if "content-type" not in {name.lower() for name, _ in pairs}:
        pairs.append(("content-type", "text/plain;charset=UTF-8"))
    return tuple((name, value) for name, value in pairs if name.lower() not in _MANAGED_HEADERS)


def _header_value(value: object) -> str:
    if not isinstance(value, str | int | float) or not _HEADER_VALUE.fullmatch(str(value)):
        raise MalformedResponseError("a header's value cannot be sent")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _response_body(body: object, *, encoded: object) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponseError("body is not a string")
    try:
        return base64.b64decode(body, validate=True) if encoded is True else body.encode()
    except ValueError as error:
        raise MalformedResponseError("body is not what isBase64Encoded says") from error
