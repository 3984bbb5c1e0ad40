"""What the functions counted, and what stays uncounted."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, ClassVar, override

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from cli import checks
from cli.findings import Plan
from cli.target import Target
from tests.cli.numbers.deployment import PLAN, emit, found

SERVICES = {
    "webhook": {"WebhooksReceived", "WebhooksRefused", "WebhooksNotStored"},
    "downloader": {"LostWebhooks", "Archived"},
}


def emit_all(target: Target, counts: Mapping[str, int]) -> None:
    for name, value in counts.items():
        service = next((of for of, names in SERVICES.items() if name in names), "submitter")
        emit(target, name, value, service=service, ago=timedelta(minutes=20))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"Submitted": 3}, "no webhook came"),
        ({"WebhooksRefused": 50}, "50 webhooks refused in the last 1h"),
        ({"WebhooksNotStored": 1}, "could not be queued"),
        (
            {"Submitted": 9, "WebhooksReceived": 7, "LostWebhooks": 2},
            "2 PDFs found by the completion check",
        ),
        ({"PossibleDuplicates": 1}, "1 job asked for again"),
    ],
)
def test_what_the_functions_counted_is_reported(
    target: Target, counts: dict[str, int], words: str
) -> None:
    emit_all(target, counts)

    assert [words in finding.what for finding in found(checks.counters, target)] == [True]


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"Submitted": 3, "WebhooksReceived": 2},
        {"WebhooksRefused": 1},
    ],
)
def test_what_is_usual_is_not(target: Target, counts: dict[str, int]) -> None:
    emit_all(target, counts)

    assert not found(checks.counters, target)


def test_the_webhook_of_a_job_that_was_just_submitted_is_not_missed(target: Target) -> None:
    emit(target, "Submitted", 1)
    assert not found(checks.counters, target)

    emit(target, "LostWebhooks", 1, service="downloader")
    assert ["no webhook came" in finding.what for finding in found(checks.counters, target)] == [
        True
    ], "the check has come already"


@pytest.mark.parametrize(("delay", "is_missed"), [("60", True), ("900", False)])
def test_a_webhook_is_missed_after_the_deployments_own_delay(
    target: Target, *, delay: str, is_missed: bool
) -> None:
    emit(target, "Submitted", 1, ago=timedelta(minutes=4))

    def configured(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        environment = {"Variables": {"CHECK_DELAY_SECONDS": delay}}
        raw: Any = BytesIO(json.dumps({"Environment": environment}).encode())
        raw.stream = lambda: iter([raw.getvalue()])
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    events = target.clients.client("lambda").meta.events
    event = "before-send.lambda.GetFunctionConfiguration"
    events.register(event, configured)
    try:
        printed = found(checks.counters, replace(target, functions={"submitter": "its-name"}))
    finally:
        events.unregister(event, configured)

    assert ["no webhook came" in finding.what for finding in printed] == [True] * is_missed


def test_what_scans_the_internet_all_day_is_no_more_than_in_an_hour(target: Target) -> None:
    emit_all(target, {"WebhooksRefused": 20 * checks.FEW_REFUSALS})

    assert found(checks.counters, target)
    assert not found(checks.counters, target, Plan(timedelta(days=1), PLAN.unfinished))


def test_a_message_that_is_tried_for_too_long_is_reported(target: Target) -> None:
    emit(target, "UnfinishedSeconds", 7300, ago=timedelta(minutes=50))

    [finding] = found(checks.queues, target)

    assert "a message of the request queue was put back 2h 1m after it was sent" in finding.what
    later = Plan(window=PLAN.window, unfinished=timedelta(hours=3))
    assert not found(checks.queues, target, later)


class Doors(BaseHTTPRequestHandler):
    """A webhook that lets one token in, and notes who came."""

    tried: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        token = self.path.rpartition("/")[2]
        self.tried.append(token)
        self.send_response(200 if token == "right" else 404)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def doors(target: Target) -> Iterator[Target]:
    secret: Any = {"webhookToken": "right"}
    target.secretsmanager.create_secret(Name=target.namespace, SecretString=json.dumps(secret))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Doors)
    Doors.tried.clear()
    with server, ThreadPoolExecutor() as pool:
        pool.submit(server.serve_forever)
        url = f"http://127.0.0.1:{server.server_port}"
        yield replace(target, secret_id=target.namespace, webhook_base_url=url)
        server.shutdown()


def test_repeated_checks_do_not_raise_the_alarm_about_unknown_callers(doors: Target) -> None:
    assert not found(checks.webhook, doors)
    assert Doors.tried == ["right", checks.WRONG_TOKEN]

    emit(doors, "WebhooksRefused", 1, service="webhook", reason=checks.UNKNOWN_CALLER)
    assert not found(checks.webhook, doors)
    assert Doors.tried[2:] == ["right"]
