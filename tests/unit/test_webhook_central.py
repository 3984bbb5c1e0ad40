"""The webhook in the form of the contract `central`: ids of two parts, and the mark of a job."""

import json
from typing import Any

import pytest

from reportflow.contract.files import CompletedFile, Mark
from reportflow.contract.webhook_body import MAX_FILES
from reportflow.messages import parse_download
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.secret import Secret, SecretStore
from reportflow.webhook import Receiver, request_of, verify
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import (
    DESIGN_ID,
    MARK,
    REQUEST_ID,
    TOKEN,
    central_webhook_body,
    marked,
    webhook_body,
)
from tests.unit.webhook_events import event

SECRET = Secret({}, (TOKEN,))
DEEP = "[" * 3_000 + "]" * 3_000


def verified(body: object) -> list[CompletedFile]:
    return verify(request_of(event(body)), SECRET, "acme", 0.0).files


def refusal(body: object) -> Refusal:
    with pytest.raises(Refused) as refused:
        verified(body)
    return refused.value.reason


def with_passthrough(text: str, **changes: Any) -> str:
    """A webhook whose passthrough is this very text."""
    return json.dumps(central_webhook_body({"passthrough": "@", **changes})).replace('"@"', text)


def test_every_file_is_queued_with_its_mark_and_without_the_customers_data(
    secret_store: SecretStore, queues: QueuePair
) -> None:
    receiver = Receiver(secret_store, Downloads(queues.client, queues.url), "acme")
    passthrough = marked(MARK, customer="秘密", order=4711)
    files = [{"fileId": f"f{n}", "passthrough": passthrough} for n in range(12)]

    announced = receiver.receive(event(central_webhook_body(*files, {"fileId": "../x"})))

    assert announced.wrong_entries == 1
    bodies = []
    while records := queues.receive():
        bodies += [record.body for record in records]
    assert sorted(bodies) == sorted(set(bodies))
    assert {parse_download(body.encode()) for body in bodies} == {
        CompletedFile(f"{REQUEST_ID}/f{n}", "central", DESIGN_ID, 1, mark=MARK) for n in range(12)
    }
    assert not [body for body in bodies if "秘密" in body or "4711" in body or "a.pdf" in body]


@pytest.mark.parametrize(
    "id_",
    [
        "..",
        "../x",
        "a/b",
        "a%2fb",
        "a\x00",
        "a?b=c",
        "a#b",
        "//evil.example",
        "a\r\nHost: evil.example",
        "a\n",
        "",
        ".a",
        "~a",
        "ａ",
        "a" * 129,
        7,
        None,
        True,
        [],
        {},
        "a\ud800",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("field", ["fileId", "requestId", "designId"])
def test_an_id_beyond_its_alphabet_goes_nowhere(field: str, id_: object) -> None:
    body = central_webhook_body({"fileId": id_} if field == "fileId" else {})
    if field != "fileId":
        body[field] = id_

    assert refusal(json.dumps(body)) is Refusal.WRONG_SHAPE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"workspaceId": "other"}, Refusal.WRONG_WORKSPACE),
        ({"workspaceId": None}, Refusal.WRONG_SHAPE),
        ({"files": None}, Refusal.WRONG_SHAPE),
        ({"files": [None, 7, [], "f"]}, Refusal.WRONG_SHAPE),
        ({"files": [{"fileName": "a.pdf"}]}, Refusal.WRONG_SHAPE),
        ({"files": [{"fileId": "f"}] * (MAX_FILES + 1)}, Refusal.WRONG_SHAPE),
        ({"version": "1.5"}, Refusal.WRONG_SHAPE),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_shaped_like_an_event_is_refused(
    changes: dict[str, Any], reason: Refusal
) -> None:
    assert refusal(central_webhook_body(**changes)) is reason


def test_an_event_that_names_no_request_names_no_file() -> None:
    body = central_webhook_body()
    del body["requestId"]

    assert refusal(body) is Refusal.WRONG_SHAPE


def test_an_entry_with_a_uuid_is_the_other_contracts() -> None:
    mixed = webhook_body(requestId=REQUEST_ID)

    assert [file.reference for file in verified(mixed)] == [
        file.reference for file in verified(webhook_body())
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"fileName": None, "share": None, "passthrough": None},
        {"fileName": 7, "share": "x", "new": [{}]},
        {"share": {"shareType": "99", "url": 7, "passcodeEnabled": "no"}},
    ],
    ids=repr,
)
def test_what_is_not_needed_of_an_entry_may_be_anything(entry: dict[str, Any]) -> None:
    [file] = verified(central_webhook_body(entry))

    assert file == CompletedFile(f"{REQUEST_ID}/file_1", "central", DESIGN_ID, 1)


def test_a_file_that_is_named_twice_is_kept_once() -> None:
    entry = {"passthrough": marked()}

    assert len(verified(central_webhook_body(entry, {"fileId": "f"}, entry))) == 2


@pytest.mark.parametrize(
    ("passthrough", "mark"),
    [
        ('{"a":1,"a":{"b":1,"b":2}}', None),
        ('{"reportflowJob":{"jobId":"a","tag":"t"},"reportflowJob":1}', None),
        ('{"reportflowJob":1,"reportflowJob":{"jobId":"a","tag":"t"}}', Mark("a", "t")),
        ('{"reportflowJob":{"jobId":"x","jobId":"a","tag":"t"}}', Mark("a", "t")),
        ('{"report\\u0066lowJob":{"jobId":"a","tag":"t"}}', Mark("a", "t")),
        (f'{{"deep":{DEEP},"reportflowJob":{{"jobId":"a","tag":"t"}}}}', Mark("a", "t")),
        (f'{{"reportflowJob":{{"jobId":"a","tag":"t","deep":{DEEP}}}}}', Mark("a", "t")),
        (f'{{"reportflowJob":{{"jobId":{DEEP},"tag":"t"}}}}', None),
        (f'{{"reportflowJob":{DEEP}}}', None),
        (DEEP, None),
        ('{"reportflowJob":{"jobId":"\\ud800","tag":"t"}}', None),
        ('{"reportflowJob":{"jobId":"a","tag":"t","\\ud800":1},"\\udc00":1}', Mark("a", "t")),
        ('{"n":1e400,"m":' + "9" * 50_000 + "}", None),
        ('{"reportflowJob":{"jobId":1e400,"tag":1}}', None),
        ('{"__proto__":{"reportflowJob":{"jobId":"a","tag":"t"}}}', None),
    ],
    ids=lambda value: value[:44] if isinstance(value, str) else "",
)
def test_no_passthrough_of_a_customer_stops_a_webhook(passthrough: str, mark: Mark | None) -> None:
    """It is the customer's, and the service reads the last of repeated names."""
    [file] = verified(with_passthrough(passthrough))

    assert (file.file_id, file.mark) == (f"{REQUEST_ID}/file_1", mark)


def test_one_event_may_have_files_of_many_jobs() -> None:
    marks = [Mark(f"job-{number}", f"tag-{number}") for number in range(3)]
    files = [{"fileId": mark.job_id, "passthrough": marked(mark)} for mark in marks]

    assert [file.mark for file in verified(central_webhook_body(*files))] == marks
