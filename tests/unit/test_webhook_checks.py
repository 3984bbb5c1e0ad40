import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from reportflow.contract import WORKSPACE
from reportflow.contract.files import CompletedFile, ReportedFiles
from reportflow.contract.webhook_body import MAX_FILES
from reportflow.messages import parse_download, parse_request
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.secret import REREAD_SECONDS, SecretStore
from reportflow.webhook import Receiver
from tests.unit.clock import Ticker
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import TOKEN, by_uuid, message_body, webhook_body
from tests.unit.webhook_events import event, sent

type Rotate = Callable[..., None]

FORGED = "t0kenT0kenT0kenT0kenT0keN"


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
        (event("no json", token=FORGED, method="PUT"), Refusal.WRONG_METHOD),
        (event("no json", token=FORGED, method="GET"), Refusal.UNKNOWN_CALLER),
        (event("no json", token=FORGED), Refusal.UNKNOWN_CALLER),
        (event("no json"), Refusal.NOT_JSON),
        (event("[]"), Refusal.WRONG_SHAPE),
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
    [
        "",
        "/",
        f"{TOKEN}//",
        f"/{TOKEN}",
        f"{TOKEN}/x",
        FORGED,
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        f" {TOKEN}",
        "t\udcffken",
        "秘密",
    ],
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

    assert receiver.receive(event(token="new")).files
    assert receiver.receive(event(token=TOKEN)).files

    rotate(webhookToken="new", previousWebhookToken="")
    ticker.now += REREAD_SECONDS
    refusal(receiver, event(token=FORGED))
    assert refusal(receiver, event(token=TOKEN)) is Refusal.UNKNOWN_CALLER


@pytest.mark.parametrize(
    "body",
    [
        {"event": "workspace.renamed"},
        {"event": "file.failed", "files": 7},
        {"event": None, "workspaceId": "other"},
        {"event": 7},
        {"files": [{"fileId": "file_1", "uuid": "u"}]},
        {"ping": True},
        "{}",
        "",
        " \n",
        '{"event":"other","x":"\\ud800"}',
    ],
    ids=repr,
)
def test_a_request_about_something_else_is_taken_and_leads_to_nothing(
    receiver: Receiver, queues: QueuePair, body: object
) -> None:
    assert receiver.receive(event(body)) == ReportedFiles()
    assert queues.receive() == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_form_may_try_the_url_by_another_method(
    receiver: Receiver, queues: QueuePair, method: str
) -> None:
    assert receiver.receive(event(method=method)) == ReportedFiles()
    assert receiver.receive(event("no json", method=method)) == ReportedFiles()
    assert queues.receive() == []


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "get", ""])
def test_any_other_method_is_refused(receiver: Receiver, method: str) -> None:
    assert refusal(receiver, event(method=method)) is Refusal.WRONG_METHOD


def test_an_event_without_files_leads_to_nothing(receiver: Receiver, queues: QueuePair) -> None:
    assert receiver.receive(event(webhook_body(files=[]))) == ReportedFiles()
    assert queues.receive() == []


def test_a_byte_order_mark_in_front_is_ignored(receiver: Receiver) -> None:
    plain = receiver.receive(sent(json.dumps(webhook_body()).encode()))

    assert receiver.receive(sent(b"\xef\xbb\xbf" + json.dumps(webhook_body()).encode())) == plain
    assert plain.files


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json; charset=UTF-8",
        "application/json;charset=shift_jis",
        "application/cloudevents+json; charset=utf-8",
        "text/plain",
        "application/octet-stream",
    ],
)
def test_the_content_type_does_not_matter(receiver: Receiver, content_type: str | None) -> None:
    body = json.dumps(webhook_body(), ensure_ascii=False).encode()

    assert len(receiver.receive(sent(body, content_type=content_type)).files) == 2


def test_a_url_with_a_slash_at_its_end_is_the_same(receiver: Receiver) -> None:
    body = json.dumps(webhook_body()).encode()

    assert receiver.receive(sent(body, token=f"{TOKEN}/")) == receiver.receive(sent(body))
    assert receiver.receive(sent(b"", token=f"{TOKEN}/", method="GET")) == ReportedFiles()


@pytest.mark.parametrize(
    "changes",
    [{"fileName": None}, {"params": None}, {"fileName": ...}, {"params": ...}, {"fileName": 7}],
)
def test_a_file_whose_document_is_not_quoted_is_queued_without_its_digest(
    receiver: Receiver, queues: QueuePair, changes: dict[str, Any]
) -> None:
    whole = {"fileId": "file_1", "uuid": "u1", "fileName": "a.pdf", "params": {}, **changes}
    file = {name: value for name, value in whole.items() if value is not ...}

    receiver.receive(event(webhook_body(files=[file])))

    (stored,) = queued(queues)
    assert (stored.file_id, stored.request_digest) == ("file_1", "")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "file_3",
        [],
        {},
        {"fileId": "file_3"},
        {"fileId": "../x", "uuid": "u"},
        {"fileId": "file_3", "uuid": None},
    ],
    ids=repr,
)
def test_a_wrong_entry_takes_none_of_the_good_ones_with_it(
    receiver: Receiver, queues: QueuePair, wrong: object
) -> None:
    good = webhook_body()["files"]

    announced = receiver.receive(event(webhook_body(files=[good[0], wrong, wrong, good[1]])))

    assert announced.wrong_entries == 2
    assert sorted(file.file_id for file in queued(queues)) == ["file_1", "file_2"]


@pytest.mark.parametrize(
    "design_id", ["design_123", "aB3dE5fG7hI9jK1l", "_x-Y", "-x", "a.b~c", "d" * 128]
)
def test_ids_are_safe_texts_of_any_form(
    receiver: Receiver, queues: QueuePair, design_id: str
) -> None:
    file = {"fileId": f"{design_id[:100]}-file", "uuid": design_id}

    receiver.receive(event(webhook_body(designId=design_id, files=[file])))

    (stored,) = queued(queues)
    assert (stored.design_id, stored.file_id) == (design_id, file["fileId"])
    assert stored.reference == by_uuid(design_id)


@pytest.mark.parametrize("version", ["1", "1.0", "1e0", '"1"'])
def test_a_version_is_a_number_however_it_is_written(
    receiver: Receiver, queues: QueuePair, version: str
) -> None:
    body = json.dumps(webhook_body(version="@")).replace('"@"', version)

    receiver.receive(event(body))

    assert {file.version for file in queued(queues)} == {1}


def test_a_webhook_quotes_its_jobs_document_after_javascript_has_written_it(
    receiver: Receiver, queues: QueuePair
) -> None:
    params = '{"n":12345678901234567890,"e":1E+50,"名":"カ\u3099"}'
    asked = message_body(content={"fileName": "請求書カ\u3099.pdf", "params": "@"})
    quoted = '{"名":"ガ","e":1e+50,"n":12345678901234567000}'
    file = {"fileId": "f", "uuid": "u", "fileName": "請求書ガ.pdf", "params": "@"}

    receiver.receive(event(json.dumps(webhook_body(files=[file])).replace('"@"', quoted)))

    (stored,) = queued(queues)
    request = parse_request(asked.replace('"@"', params).encode(), WORKSPACE)
    assert stored.request_digest == request.digest


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
        {"version": "1.5"},
        {"version": "0"},
        {"version": " 1"},
        {"version": "٣"},
        {"version": "9" * 5000},
        {"version": 1.5},
        {"version": True},
        {"version": None},
        {"workspaceId": None},
        {"files": [{"fileId": "../x", "uuid": "u"}, None]},
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

    assert receiver.receive({**event(encoded), "isBase64Encoded": True}).files


def test_neither_a_refusal_nor_a_request_shows_the_token(receiver: Receiver) -> None:
    with pytest.raises(Refused) as refused:
        receiver.receive(event(token=FORGED))

    assert FORGED not in repr(refused.value)
    assert FORGED not in str(refused.value)
