"""The shipped handler behind the local API Gateway, with a cheap AWS below botocore."""

import importlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from local.deployment import Route
from local.http_server import HttpRequest
from local.paths import REPOSITORY
from local.payload_format import Api, error_response, make_event, path_parameters
from reportflow import aws, observability
from tests.properties import canary
from tests.properties.case import Case
from tests.properties.signing import headers

WORKSPACE: Final = "acme"
API: Final = Api("ap-northeast-1", "123456789012")
ROUTES: Final = tuple(
    Route(method, "/webhooks/{token+}", "webhook", "abc123", "$default")
    for method in ("POST", "GET", "HEAD")
)
"""See `stacks/http_api.py`."""

_ENVIRONMENT: Final = {
    "AWS_REGION": API.region,
    "AWS_DEFAULT_REGION": API.region,
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "ReportFlow",
    "POWERTOOLS_SERVICE_NAME": "fuzz",
    "DOWNLOAD_QUEUE_URL": "https://sqs.ap-northeast-1.amazonaws.com/123456789012/downloads",
    "SECRET_ARN": "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:reportflow",
    "WORKSPACE_ID": WORKSPACE,
    "WEBHOOK_SIGNATURE": "off",
    "WEBHOOK_TIMEOUT_SECONDS": "10",
}

_SECRET: Final = {
    "appKey": canary.APP_KEY,
    "secretKey": canary.SECRET_KEY,
    "webhookToken": canary.CURRENT,
    "previousWebhookToken": canary.PREVIOUS,
    "webhookSigningSecrets": [canary.SIGNING_SECRET, canary.PREVIOUS_SIGNING_SECRET],
}

TOKENS: Final = (canary.CURRENT, canary.PREVIOUS)

type Json = dict[str, Any]


@dataclass
class Outcome:
    """What one request led to. `error` is what the handler raised, `event` what it was given.

    `event` is None where API Gateway has no route for the request.
    """

    event: Mapping[str, Any] | None
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    messages: tuple[str, ...] = ()
    calls: int = 0
    log: str = ""
    error: BaseException | None = None


class StandIn:
    """Answers what the AWS clients are about to send: SQS and Secrets Manager in good order.

    With `refuses_queue` SQS answers 403, with `drops` it leaves the first of each batch out.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.calls = 0
        self.secret: Json = dict(_SECRET)
        self.refuses_queue = False
        self.drops = False

    def answer(self, request: Any, **_: Any) -> Any:
        """Botocore's `before-send` event."""
        self.calls += 1
        asked = json.loads(request.body)
        if request.headers["X-Amz-Target"] == b"secretsmanager.GetSecretValue":
            return _answer(200, {"SecretString": json.dumps(self.secret)})
        if self.refuses_queue:
            return _answer(403, {"__type": "AccessDeniedException"})
        entries = asked["Entries"]
        dropped = entries[:1] if self.drops else []
        taken = entries[len(dropped) :]
        self.messages += [entry["MessageBody"] for entry in taken]
        return _answer(
            200,
            {
                "Successful": [{"Id": entry["Id"], "MessageId": "m"} for entry in taken],
                "Failed": [{"Id": entry["Id"], "SenderFault": False} for entry in dropped],
            },
        )


def _answer(status: int, body: Json) -> AWSResponse:
    raw = io.BytesIO(json.dumps(body).encode())
    raw.stream = lambda *_, **__: iter([raw.read()])  # type: ignore[attr-defined]  # urllib3's
    return AWSResponse("https://aws", status, HTTPHeaders(), raw)


class _Context:
    """Lambda's, with all the time there is."""

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


class Receiver:
    """Runs requests through the handler, one at a time."""

    def __init__(self, handler: Callable[[Json, object], Json], log: io.StringIO) -> None:
        self.aws = StandIn()
        self._handler = handler
        self._log = log
        for client in (aws.sqs(), aws.secretsmanager()):
            client.meta.events.register_first("before-send", self.aws.answer)

    def send(self, case: Case) -> Outcome:
        """The request as API Gateway would hand it over, if it has a route for it."""
        event = event_of(case)
        if event is None:
            missing = error_response(HTTPStatus.NOT_FOUND)
            return Outcome(None, missing.status, dict(missing.headers), missing.body)
        return self.invoke(event)

    def invoke(self, event: Json) -> Outcome:
        """Hand the event to the function."""
        outcome = Outcome(event)
        self.aws.messages.clear()
        self.aws.calls = 0
        self._log.seek(0)
        self._log.truncate()
        try:
            answer = self._handler(event, _Context())
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is a finding)
            outcome.error = error
            outcome.status = 500
        else:
            outcome.status = answer["statusCode"]
            outcome.headers = answer["headers"]
            outcome.body = answer["body"].encode()
        outcome.messages = tuple(self.aws.messages)
        outcome.calls = self.aws.calls
        outcome.log = self._log.getvalue()
        return outcome


@contextmanager
def receiver(**environment: str) -> Iterator[Receiver]:
    """A receiver after a cold start; until the end its logs and metrics are caught.

    One within the other share what is caught, as they share the process's logger.
    """
    log = sys.stdout if isinstance(sys.stdout, io.StringIO) else io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, {**_ENVIRONMENT, **environment}))
        stack.enter_context(redirect_stdout(log))
        importlib.reload(aws)
        stack.callback(importlib.reload, aws)
        for handler in observability.logger().handlers:
            previous = handler.setStream(log)  # type: ignore[attr-defined]  # a StreamHandler
            stack.callback(handler.setStream, previous)  # type: ignore[attr-defined]
        made = Receiver(_load(), log)
        # A function reads its environment at its first event, and this one's is gone by then.
        made.send(Case())
        yield made


def event_of(case: Case) -> Json | None:
    """API Gateway's event of the request; None where no route is the request's."""
    path, _, query = case.path.partition("?")
    request = HttpRequest(
        case.method,
        path,
        query,
        "HTTP/1.1",
        headers(case.signing, case.body) + case.headers,
        case.body,
        "192.0.2.1",
        443,
    )
    method = "POST" if case.event else case.method
    for route in ROUTES:
        parameters = path_parameters(route, method, path)
        if parameters is not None:
            return _merged(dict(make_event(request, route, parameters, API)), case.event)
    return None


def _merged(target: Json, changes: Mapping[str, Any]) -> Json:
    """A merge patch, RFC 7396."""
    merged = dict(target)
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        elif isinstance(change, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(merged[name], change)
        else:
            merged[name] = change
    return merged


def _load() -> Callable[[Json, object], Json]:
    path = REPOSITORY / "functions" / "webhook" / "handler.py"
    spec = importlib.util.spec_from_file_location("webhook_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Callable[[Json, object], Json] = module.handler
    return handler
