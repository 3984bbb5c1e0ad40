"""Requests to the webhook as API Gateway hands them over."""

import json
from typing import Any

from local.deployment import Route
from local.http_server import HttpRequest
from local.payload_format import Api, make_event
from tests.unit.samples import TOKEN, webhook_body


def event(body: object = None, *, token: str = TOKEN, method: str = "POST") -> dict[str, Any]:
    """Payload format 2.0; `body` as text, or as what is to be JSON."""
    value = webhook_body() if body is None else body
    return {
        "requestContext": {"http": {"method": method}},
        "pathParameters": {"token": token},
        "body": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False),
        "isBase64Encoded": False,
    }


def sent(
    body: bytes,
    *headers: tuple[str, str],
    token: str = TOKEN,
    content_type: str | None = None,
    method: str = "POST",
) -> dict[str, Any]:
    """The event that becomes of a request on the wire."""
    path = f"/webhooks/{token}"
    typed = () if content_type is None else (("Content-Type", content_type),)
    request = HttpRequest(method, path, "", "HTTP/1.1", (*typed, *headers), body, "127.0.0.1", 443)
    route = Route(method, "/webhooks/{token+}", "webhook", "api", "$default")
    return dict(make_event(request, route, {"token": token}, Api("ap-northeast-1", "1")))
