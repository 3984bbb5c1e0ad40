"""A gateway in front of a function that answers with its own event, or as a test says."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from local.backend import Backend, BackendKind
from local.deployment import Route
from local.function_pool import FunctionPool
from local.gateway import HttpGateway
from local.payload_format import Api
from tests.unit.small_functions import make_function

BACKEND = Backend(BackendKind.MOTO, "http://127.0.0.1:9")
API = Api(region="us-east-1", account="123456789012")
JSON_TYPE = {"Content-Type": "application/json"}

# Answers with the event it got, or as the event's body says: a function may be slow, or die.
ECHO = """
    import base64, json, os, time
    from pathlib import Path

    def handler(event, context):
        is_command = event["headers"].get("content-type") == "application/json"
        command = json.loads(event["body"]) if is_command else {}
        if "mark" in command:
            Path(command["mark"]).touch()
        if "sleep" in command:
            time.sleep(command["sleep"])
        if "exit" in command:
            os._exit(1)
        if "answer" in command:
            return command["answer"]
        return {"statusCode": 200, "body": json.dumps(event)}
"""

type Json = dict[str, Any]


def route(method: str, path: str, stage: str = "$default") -> Route:
    return Route(method, path, "echo", api_id="api-id", stage=stage)


@contextmanager
def echo_pool(folder: Path) -> Iterator[FunctionPool]:
    function = make_function(folder, ECHO, name="echo", timeout_seconds=5)
    with closing(FunctionPool(function, BACKEND, work_dir=folder, max_processes=4)) as pool:
        yield pool


@contextmanager
def echo_gateway(pool: FunctionPool) -> Iterator[HttpGateway]:
    routes = [
        route("POST", "/my/{name}"),
        route("POST", "/webhooks/{token+}"),
        route("GET", "/plain"),
        route("ANY", "/staged/{one}/{two}", stage="prod"),
    ]
    gateway = HttpGateway(routes, {"echo": pool}, API)
    try:
        yield gateway
    finally:
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
