import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from reportflow.contract.files import CompletedFile
from reportflow.errors import Permanent, Retryable
from reportflow.jobs import Step
from reportflow.messages import Check, Download, parse_download
from reportflow.queues import MAX_MESSAGE_ATTRIBUTES, Downloads, SqsQueue
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import DESIGN_ID, message_body

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

ERROR = Permanent("INVALID_MESSAGE", "version: 必須です")
REASON = {"errorCode", "errorMessage", "failedStep", "jobId"}


def text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}


def dead_letter(
    queues: QueuePair,
    attributes: "dict[str, MessageAttributeValueTypeDef] | None" = None,
    *,
    body: str = "{}",
    error: Permanent = ERROR,
) -> None:
    queues.send(body, attributes)
    (record,) = queues.receive()
    queues.queue.dead_letter(record, error, Step.SUBMIT, "job-1")


@pytest.mark.parametrize(
    "body", [message_body(), " {\n}\t", "no json", "請求書 𠮷 \U0001f4c4", "x" * 200_000]
)
def test_a_dead_letter_has_the_very_body(queues: QueuePair, body: str) -> None:
    dead_letter(queues, body=body)

    (letter,) = queues.dead_letters()
    assert letter["Body"] == body


def test_a_dead_letter_says_why(queues: QueuePair) -> None:
    dead_letter(queues)

    assert queues.dead_letter_reasons() == [
        {
            "errorCode": ERROR.code,
            "errorMessage": ERROR.message,
            "failedStep": "submit",
            "jobId": "job-1",
        }
    ]


def test_upstreams_attributes_go_along(queues: QueuePair) -> None:
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        "tenant": text("株式会社"),
        "attempt": {"DataType": "Number", "StringValue": "1.50"},
        "trace": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "kind": {"DataType": "String.custom", "StringValue": "x"},
    }
    dead_letter(queues, attributes)

    (letter,) = queues.dead_letters()
    kept = letter["MessageAttributes"]
    assert {name: kept[name] for name in attributes} == attributes


def test_a_redriven_dead_letter_that_fails_again_says_why_it_does_now(queues: QueuePair) -> None:
    dead_letter(queues, {"errorCode": text("OLD"), "jobId": text("other"), "tenant": text("acme")})

    (reason,) = queues.dead_letter_reasons()
    assert reason["errorCode"] == ERROR.code
    assert reason["jobId"] == "job-1"
    assert reason["tenant"] == "acme"


def test_the_reason_is_kept_when_upstream_used_all_attributes(queues: QueuePair) -> None:
    upstreams = {f"a{number}": text("x") for number in range(MAX_MESSAGE_ATTRIBUTES)}
    dead_letter(queues, upstreams)

    (reason,) = queues.dead_letter_reasons()
    assert set(reason) >= REASON
    assert set(reason) - REASON <= set(upstreams)
    assert len(reason) == MAX_MESSAGE_ATTRIBUTES


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("unknown field 'a\x00b'", "unknown field 'a"),
        ("bell\x07", "bell"),
        ("half\ud800", "half"),
        ("non\uffffcharacter", "non"),
        ("tab\tline\n𠮷", "tab\tline\n𠮷"),
    ],
    ids=ascii,
)
def test_a_reason_holds_only_characters_that_sqs_takes(
    queues: QueuePair, message: str, kept: str
) -> None:
    dead_letter(queues, error=Permanent("CODE", message))

    (reason,) = queues.dead_letter_reasons()
    said = reason["errorMessage"]
    assert said.startswith(kept)
    assert all(char in "\t\n\r" or char >= " " for char in said)
    assert not {"\ud800", "\uffff"} & set(said)


def test_a_long_reason_is_cut(queues: QueuePair) -> None:
    dead_letter(queues, error=Permanent("CODE", "理" * 100_000))

    (reason,) = queues.dead_letter_reasons()
    assert 100 <= len(reason["errorMessage"]) <= 2000


@pytest.mark.parametrize("seconds", [-5.0, 0.0])
def test_a_message_comes_back_when_its_time_is_over(queues: QueuePair, seconds: float) -> None:
    record = queues.deliver("{}")
    assert queues.receive() == []

    queues.queue.return_after(record, seconds)

    (again,) = queues.receive()
    assert again.body == record.body
    assert again.message_id == record.message_id
    assert again.receive_count > record.receive_count


@pytest.mark.parametrize(("seconds", "told"), [(1.2, 2), (899.5, 900)])
def test_a_delay_is_whole_seconds_that_sqs_takes(
    queues: QueuePair, seconds: float, told: int
) -> None:
    record = queues.deliver("{}")

    with queues.visibility_changes() as changes:
        queues.queue.return_after(record, seconds)

    assert changes == [told]
    assert queues.receive() == []


def test_a_queue_that_does_not_answer_is_a_retryable_failure(queues: QueuePair) -> None:
    record = queues.deliver("{}")
    absent = SqsQueue(queues.client, queues.url + "-absent", queues.dlq_url + "-absent")

    with pytest.raises(Retryable, match="AWS_"):
        absent.return_after(record, 1)
    with pytest.raises(Retryable, match="AWS_"):
        absent.dead_letter(record, ERROR, Step.SUBMIT, "job-1")


@pytest.mark.parametrize("count", [1, 10, 11, 25])
def test_every_file_becomes_one_message(queues: QueuePair, count: int) -> None:
    files = [CompletedFile(f"file_{n}", f"uuid_{n}", DESIGN_ID, 1, "d") for n in range(count)]

    Downloads(queues.client, queues.url).send(files)

    queued: list[Download] = []
    while records := queues.receive():
        queued += [parse_download(record.body.encode()) for record in records]
    assert len(queued) == count
    assert all(file in queued for file in files)


def test_a_file_that_the_queue_refuses_is_not_passed_over(queues: QueuePair) -> None:
    too_large = CompletedFile("f" * (1024 * 1024), "u", DESIGN_ID, 1, "d")

    with pytest.raises(Retryable):
        Downloads(queues.client, queues.url).send([too_large])


def test_a_batch_that_the_queue_takes_in_part_is_sent_again(
    peer: Peer, client_at: Callable[[str, str], Any]
) -> None:
    taken = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}
    refused = {"Id": "1", "SenderFault": False, "Code": "InternalError"}
    body = json.dumps({"Successful": [taken], "Failed": [refused]}).encode()
    peer.respond = lambda _: answer(200, body, Content_Type="application/x-amz-json-1.0")
    files = [CompletedFile(f"file_{n}", "u", DESIGN_ID, 1, "d") for n in range(2)]

    with pytest.raises(Retryable, match="1 of 2"):
        Downloads(client_at("sqs", peer.url), f"{peer.url}/1/downloads").send(files)


def test_what_waits_is_counted_without_what_is_in_flight(queues: QueuePair) -> None:
    assert queues.queue.waiting() == 0
    for _ in range(3):
        queues.send("{}")
    assert queues.queue.waiting() == 3

    queues.receive()

    assert queues.queue.waiting() == 0


@pytest.mark.parametrize("seconds", [0, 900])
def test_a_check_comes_when_its_time_has(queues: QueuePair, seconds: int) -> None:
    downloads = Downloads(queues.client, queues.url, check_delay_seconds=seconds)

    downloads.order("job-1")

    delayed = queues.client.get_queue_attributes(
        QueueUrl=queues.url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )["Attributes"]["ApproximateNumberOfMessagesDelayed"]
    received = [parse_download(record.body.encode()) for record in queues.receive()]
    assert int(delayed) == (seconds > 0)
    assert received == ([] if seconds else [Check("job-1")])


def test_a_check_that_the_queue_does_not_take_is_ordered_again(queues: QueuePair) -> None:
    with pytest.raises(Retryable, match="AWS_"):
        Downloads(queues.client, queues.url + "-absent").order("job-1")


def test_a_check_that_the_queue_refuses_in_a_batch_is_ordered_again(
    peer: Peer, client_at: Callable[[str, str], Any]
) -> None:
    refused = {"Id": "0", "SenderFault": False, "Code": "InternalError"}
    body = json.dumps({"Successful": [], "Failed": [refused]}).encode()
    peer.respond = lambda _: answer(200, body, Content_Type="application/x-amz-json-1.0")

    with pytest.raises(Retryable, match="QUEUE_INCOMPLETE"):
        Downloads(client_at("sqs", peer.url), f"{peer.url}/1/downloads").order("job-1")
