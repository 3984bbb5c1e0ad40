import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from reportflow.messages import CompletedFile, parse_download
from reportflow.queues import Downloads
from reportflow.secret import REREAD_SECONDS, SecretStore
from reportflow.webhook import MAX_BODY_BYTES, MAX_FILES, Receiver, Refusal, Refused
from tests.unit.clock import Ticker
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import TOKEN, webhook_body
from tests.unit.webhook_events import event

type Rotate = Callable[..., None]

FORGED = "t0kenT0kenT0kenT0kenT0keN"
LARGE = "x" * (MAX_BODY_BYTES + 1)


@pytest.fixture
def receiver(secret_store: SecretStore, queues: QueuePair) -> Receiver:
    return Receiver(secret_store, Downloads(queues.client, queues.url), "acme")


def queued(queues: QueuePair) -> list[CompletedFile]:
    """All that the downloader will get."""
    files: list[CompletedFile] = []
    while records := queues.receive():
        messages = [parse_download(record.body.encode()) for record in records]
        files += [message for message in messages if isinstance(message, CompletedFile)]
    return files


def refusal(receiver: Receiver, request: dict[str, Any]) -> Refusal:
    with pytest.raises(Refused) as refused:
        receiver.receive(request)
    return refused.value.reason


def test_every_file_is_queued_without_the_customers_data(
    receiver: Receiver, queues: QueuePair
) -> None:
    receiver.receive(event())

    bodies = [record.body for record in queues.receive()]
    named = sorted(json.loads(body)["fileId"] for body in bodies)
    assert named == [file["fileId"] for file in webhook_body()["files"]]
    assert not [body for body in bodies if "秘密" in body or "a.pdf" in body]


# Each request is wrong in its own respect and in all that come after it: the first one decides.
@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (event(LARGE, token=FORGED, method="GET"), Refusal.TOO_LARGE),
        (event("no json", token=FORGED, method="GET"), Refusal.WRONG_METHOD),
        (event("no json", token=FORGED), Refusal.UNKNOWN_CALLER),
        (event("no json"), Refusal.NOT_JSON),
        (event({"event": 7, "workspaceId": "other"}), Refusal.WRONG_SHAPE),
        (event({"event": "file.completed", "workspaceId": "other"}), Refusal.WRONG_SHAPE),
        (event(webhook_body(workspaceId="other")), Refusal.WRONG_WORKSPACE),
    ],
    ids=lambda value: value.name if isinstance(value, Refusal) else "",
)
def test_the_first_thing_wrong_is_the_reason(
    receiver: Receiver, queues: QueuePair, request_: dict[str, Any], reason: Refusal
) -> None:
    assert refusal(receiver, request_) is reason
    assert queues.receive() == []


@pytest.mark.parametrize(
    "token",
    ["", FORGED, TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", "t\udcffken", "秘密"],
    ids=ascii,
)
def test_another_token_is_an_unknown_caller(receiver: Receiver, token: str) -> None:
    assert refusal(receiver, event(token=token)) is Refusal.UNKNOWN_CALLER


def test_no_token_at_all_is_an_unknown_caller(receiver: Receiver) -> None:
    assert refusal(receiver, {**event(), "pathParameters": None}) is Refusal.UNKNOWN_CALLER
    assert refusal(receiver, {**event(), "pathParameters": {}}) is Refusal.UNKNOWN_CALLER


def test_an_empty_previous_token_opens_nothing(receiver: Receiver, rotate: Rotate) -> None:
    rotate(previousWebhookToken="")

    assert refusal(receiver, event(token="")) is Refusal.UNKNOWN_CALLER


def test_a_rotation_loses_no_event(
    receiver: Receiver, queues: QueuePair, rotate: Rotate, ticker: Ticker
) -> None:
    receiver.receive(event())
    rotate(webhookToken="new", previousWebhookToken=TOKEN)
    ticker.now = REREAD_SECONDS

    assert receiver.receive(event(token="new"))
    assert receiver.receive(event(token=TOKEN))

    rotate(webhookToken="new", previousWebhookToken="")
    ticker.now += REREAD_SECONDS
    refusal(receiver, event(token=FORGED))
    assert refusal(receiver, event(token=TOKEN)) is Refusal.UNKNOWN_CALLER


@pytest.mark.parametrize(
    "body", [{"event": "workspace.renamed"}, {"event": "file.failed", "files": 7}]
)
def test_an_event_about_something_else_is_taken_and_leads_to_nothing(
    receiver: Receiver, queues: QueuePair, body: dict[str, Any]
) -> None:
    assert receiver.receive(event(body)) == []
    assert queues.receive() == []


def test_an_event_without_files_leads_to_nothing(receiver: Receiver, queues: QueuePair) -> None:
    assert receiver.receive(event(webhook_body(files=[]))) == []
    assert queues.receive() == []


def test_a_file_that_is_named_twice_is_queued_once(receiver: Receiver, queues: QueuePair) -> None:
    file = {"fileId": "file_1", "uuid": "u1", "params": {"a": 1}}

    receiver.receive(event(webhook_body(files=[file, {"fileId": "file_2", "uuid": "u2"}, file])))

    assert sorted(file.file_id for file in queued(queues)) == ["file_1", "file_2"]


def test_more_files_than_one_call_to_the_queue_takes_are_all_queued(
    receiver: Receiver, queues: QueuePair
) -> None:
    sent = {f"file_{number}" for number in range(25)}
    receiver.receive(event(webhook_body(files=[{"fileId": f, "uuid": "u"} for f in sent])))

    assert {file.file_id for file in queued(queues)} == sent


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": {}},
        {"files": [{"uuid": "u"}]},
        {"files": [{"fileId": "file_1"}]},
        {"files": [{"fileId": "../../x", "uuid": "u"}]},
        {"files": [{"fileId": "file_1", "uuid": "u/../../other"}]},
        {"files": [{"fileId": "file_1", "uuid": "u?x=1"}]},
        {"files": [{"fileId": "file_1", "uuid": "u\n"}]},
        {"files": [{"fileId": "", "uuid": "u"}]},
        {"files": [{"fileId": f"f{n}", "uuid": "u"} for n in range(MAX_FILES + 1)]},
        {"designId": "../x"},
        {"designId": None},
        {"version": "1"},
        {"workspaceId": None},
        {"event": None},
    ],
    ids=lambda changes: repr(changes)[:50],
)
def test_what_is_not_shaped_like_an_event_is_refused(
    receiver: Receiver, queues: QueuePair, changes: dict[str, Any]
) -> None:
    assert refusal(receiver, event(webhook_body(**changes))) is Refusal.WRONG_SHAPE
    assert queues.receive() == []


def test_a_body_in_base64_is_read(receiver: Receiver) -> None:
    encoded = b64encode(json.dumps(webhook_body()).encode()).decode()

    assert receiver.receive({**event(encoded), "isBase64Encoded": True})


def test_neither_a_refusal_nor_a_request_shows_the_token(receiver: Receiver) -> None:
    with pytest.raises(Refused) as refused:
        receiver.receive(event(token=FORGED))

    assert FORGED not in repr(refused.value)
    assert FORGED not in str(refused.value)
