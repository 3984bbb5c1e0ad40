"""What the webhook's caller hears, and what our log and metrics say of it."""

import importlib
import json
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook

from local.backend import Backend
from local.payload_format import error_response, read_response
from reportflow import aws as clients
from reportflow.refusal import Refusal
from reportflow.settings import InvalidEnvironment
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import TOKEN, webhook_body
from tests.unit.test_handlers import LambdaContext, load
from tests.unit.test_signature import ID, OTHER, SECRET, at, headers
from tests.unit.webhook_events import event, sent

if TYPE_CHECKING:
    from types import ModuleType

type Answer = dict[str, Any]
type Rotate = Callable[..., None]

BODY = json.dumps(webhook_body(), ensure_ascii=False)


@pytest.fixture
def environment(
    aws: Backend,
    queues: QueuePair,
    secret_arn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[pytest.MonkeyPatch]:
    """The function's environment; the process's AWS clients are made anew from it."""
    for name, value in {
        **aws.environment,
        "DOWNLOAD_QUEUE_URL": queues.url,
        "SECRET_ARN": secret_arn,
        "WORKSPACE_ID": "acme",
        "WEBHOOK_SIGNATURE": "off",
        "WEBHOOK_TIMEOUT_SECONDS": "10",
    }.items():
        monkeypatch.setenv(name, value)
    importlib.reload(clients)
    yield monkeypatch
    importlib.reload(clients)


@pytest.fixture
def call(environment: pytest.MonkeyPatch) -> Callable[[object], Answer]:
    """Invokes the function, which starts at the first request."""
    started: list[ModuleType] = []

    def invoke(given: object) -> Answer:
        if not started:
            started.append(load("webhook"))
        answer: Answer = started[0].handler(given, LambdaContext())
        return answer

    return invoke


@pytest.fixture
def signed(
    environment: pytest.MonkeyPatch, call: Callable[[object], Answer], rotate: Rotate
) -> Callable[[object], Answer]:
    """The same function in a deployment with a relay that signs."""
    environment.setenv("WEBHOOK_SIGNATURE", "required")
    rotate(webhookSigningSecrets=[OTHER, SECRET])
    return call


def relayed(
    secret: str = SECRET, body: str = BODY, token: str = TOKEN, **changes: str
) -> dict[str, Any]:
    """What the relay sends, signed by the reference library; `changes` replace its headers."""
    stamp = at()
    made = headers(_sign(secret, stamp, body), timestamp=stamp)
    replaced = {name.replace("_", "-"): value for name, value in changes.items()}
    return sent(body.encode(), *{**made, **replaced}.items(), token=token)


def _sign(secret: str, stamp: int, body: str) -> str:
    return Webhook(secret).sign(ID, datetime.fromtimestamp(stamp, UTC), body)


def wire(answer: Answer) -> object:
    """The answer as it leaves API Gateway."""
    return read_response(json.dumps(answer).encode())


MISSING_ROUTE = error_response(HTTPStatus.NOT_FOUND)


def test_an_unauthenticated_caller_gets_what_a_missing_route_answers(
    call: Callable[[object], Answer],
) -> None:
    for given in (
        event(token="wrong"),
        event(token=TOKEN[:-1]),
        event("no json", token="wrong"),
        event(method="OPTIONS"),
        event(method="PUT"),
        event(method="GET", token="wrong"),
        event(method="HEAD", token="wrong"),
        {**event("%%%", token="wrong"), "isBase64Encoded": True},
        {**event(), "pathParameters": None},
        {},
    ):
        assert wire(call(given)) == MISSING_ROUTE


def test_the_token_without_the_signature_looks_like_a_missing_route_too(
    signed: Callable[[object], Answer],
) -> None:
    for given in (
        event(),
        relayed("whsec_" + b64encode(b"guessed" * 5).decode()),
        relayed(webhook_timestamp="１２３"),
        relayed(webhook_timestamp=str(at(-1000))),
        relayed(webhook_signature="v1"),
    ):
        assert wire(signed(given)) == MISSING_ROUTE


def test_an_authenticated_caller_gets_one_bland_word_whatever_was_wrong(
    call: Callable[[object], Answer],
) -> None:
    answers = [
        wire(call(event(body)))
        for body in (
            "no json",
            "[]",
            webhook_body(workspaceId="other"),
            webhook_body(files=[{"fileId": "../x", "uuid": "u"}]),
        )
    ]

    assert answers == [error_response(HTTPStatus.BAD_REQUEST)] * len(answers)


@pytest.mark.parametrize("reason", Refusal)
def test_a_refusal_is_the_callers_fault(reason: Refusal) -> None:
    assert 400 <= reason.status < 500


def test_a_refusal_has_its_reason_in_log_and_metric(
    call: Callable[[object], Answer],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(event(webhook_body(workspaceId="other")))

    assert [vars(record)["reason"] for record in caplog.records] == [Refusal.WRONG_WORKSPACE]
    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    dimensions = [metric["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for metric in emitted]
    assert all(metric["WebhooksRefused"] == [1.0] for metric in emitted)
    assert [metric.get("reason") for metric in emitted] == [None, "WrongWorkspace"]
    assert ["reason" in names for (names,) in dimensions] == [False, True]


def test_a_wrong_entry_among_good_ones_has_its_reason_in_log_and_metric(
    call: Callable[[object], Answer],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = call(event(webhook_body(files=[*webhook_body()["files"], {"fileId": "../secret"}])))

    assert wire(answer) == wire(call(event()))
    refused = next(one for one in caplog.records if one.message == "webhook refused")
    assert (vars(refused)["reason"], vars(refused)["entries"]) == (Refusal.WRONG_ENTRY, 1)
    told = capsys.readouterr().out
    emitted = [json.loads(line) for line in told.splitlines() if "_aws" in line]
    assert {"WrongEntry"} == {one["reason"] for one in emitted if "reason" in one}
    assert sum("WebhooksRefused" in one for one in emitted) == 2
    assert "secret" not in told


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_form_that_tries_the_url_hears_what_a_webhook_does(
    call: Callable[[object], Answer], method: str
) -> None:
    assert wire(call(event(method=method))) == wire(call(event()))


def test_a_form_that_tries_the_url_has_to_sign_where_signatures_are_on(
    signed: Callable[[object], Answer],
) -> None:
    assert wire(signed(event("", method="GET"))) == MISSING_ROUTE


def test_what_the_relay_signed_is_stored(
    signed: Callable[[object], Answer], queues: QueuePair
) -> None:
    assert signed(relayed())["statusCode"] == HTTPStatus.OK
    assert signed(relayed(OTHER))["statusCode"] == HTTPStatus.OK

    assert queues.receive()


def test_a_signed_body_in_base64_is_checked_as_the_bytes_it_was(
    signed: Callable[[object], Answer],
) -> None:
    given = relayed()

    assert given["isBase64Encoded"]
    assert signed(given)["statusCode"] == HTTPStatus.OK


def test_an_unsigned_request_is_refused_where_signatures_are_on(
    signed: Callable[[object], Answer], queues: QueuePair, caplog: pytest.LogCaptureFixture
) -> None:
    """A sample accepts it, another never calls its check."""
    signed(event())

    assert [vars(record)["reason"] for record in caplog.records] == [Refusal.SIGNATURE_MISSING]
    assert queues.receive() == []


def test_the_signature_is_checked_before_the_body_is_parsed(
    signed: Callable[[object], Answer], caplog: pytest.LogCaptureFixture
) -> None:
    signed(event("[" * 1000))
    signed(relayed(webhook_signature="v1,AAAA", body="no json"))
    signed(relayed(body="no json"))

    assert [vars(record)["reason"] for record in caplog.records] == [
        Refusal.SIGNATURE_MISSING,
        Refusal.SIGNATURE_WRONG,
        Refusal.NOT_JSON,
    ]


def test_a_malformed_signature_is_no_exception(signed: Callable[[object], Answer]) -> None:
    assert signed(relayed(webhook_signature="no comma"))["statusCode"] == HTTPStatus.NOT_FOUND


def test_a_body_that_is_not_utf8_is_no_exception(signed: Callable[[object], Answer]) -> None:
    given = relayed()
    given["body"] = b64encode(b"\xff" * 9).decode()

    assert signed(given)["statusCode"] == HTTPStatus.NOT_FOUND


def test_neither_the_expected_signature_nor_a_secret_is_logged(
    signed: Callable[[object], Answer],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = relayed()
    signature = right["headers"]["webhook-signature"].removeprefix("v1,")
    wrong = {**right, "headers": {**right["headers"], "webhook-signature": "v1,AAAA"}}

    answer = signed(wrong)

    said = capsys.readouterr().out + str(answer) + str([vars(one) for one in caplog.records])
    assert "SignatureWrong" in said
    secrets = (signature, TOKEN, SECRET, SECRET.removeprefix("whsec_"), OTHER)
    assert not [secret for secret in secrets if secret in said]


@pytest.mark.parametrize("secrets", [None, [], "whsec_text", [7], {}, ["whsec_"], ["whsec_short"]])
def test_without_a_signing_secret_nothing_gets_in_and_the_sender_may_come_again(
    environment: pytest.MonkeyPatch,
    call: Callable[[object], Answer],
    rotate: Rotate,
    queues: QueuePair,
    caplog: pytest.LogCaptureFixture,
    secrets: Any,
) -> None:
    environment.setenv("WEBHOOK_SIGNATURE", "required")
    rotate(webhookSigningSecrets=secrets)

    assert wire(call(relayed())) == error_response(HTTPStatus.SERVICE_UNAVAILABLE)
    assert wire(call(relayed(token="wrong"))) == MISSING_ROUTE
    assert vars(caplog.records[0])["error_code"] == "SIGNING_SECRET_MISSING"
    assert "webhookSigningSecrets" in vars(caplog.records[0])["error"]
    assert queues.receive() == []


def test_a_word_that_is_no_setting_lets_nobody_in_unsigned(
    environment: pytest.MonkeyPatch, call: Callable[[object], Answer]
) -> None:
    environment.setenv("WEBHOOK_SIGNATURE", "OFF")

    assert call(event())["statusCode"] != HTTPStatus.OK


def test_a_secret_that_cannot_be_read_asks_the_sender_to_come_again(
    call: Callable[[object], Answer], rotate: Rotate
) -> None:
    rotate("no json")

    assert call(event())["statusCode"] == HTTPStatus.SERVICE_UNAVAILABLE


def test_a_queue_that_hangs_asks_the_sender_to_come_again(
    environment: pytest.MonkeyPatch, call: Callable[[object], Answer]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment.setenv("AWS_ENDPOINT_URL_SQS", url)
        environment.setenv("DOWNLOAD_QUEUE_URL", f"{url}/queue")

        assert call(event())["statusCode"] == HTTPStatus.SERVICE_UNAVAILABLE


def test_a_mistake_of_the_deployment_is_in_the_log_and_not_in_the_answer(
    environment: pytest.MonkeyPatch, call: Callable[[object], Answer]
) -> None:
    """Lambda logs it and API Gateway answers 500 of its own; it quotes no value."""
    environment.delenv("WORKSPACE_ID")

    with pytest.raises(InvalidEnvironment, match="WORKSPACE_ID is missing") as invalid:
        call(event())
    assert os.environ["SECRET_ARN"] not in str(invalid.value)
