import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import md5
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local.backend import Backend, BackendKind
from local.deployment import EventSource
from local.event_source import SqsEventSource
from local.function_pool import FunctionPool
from local.runtime_api import MAX_PAYLOAD_BYTES
from local.sqs_event import batches, failed_messages
from tests.conftest import Backends
from tests.unit.small_functions import make_function, wait_until

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# Writes down what it gets; a message's body says how to treat it.
RECORDER = """
    import json, os, time, uuid
    from pathlib import Path

    def handler(event, context):
        name = str(uuid.uuid4())
        record = Path(os.environ["RECORDS"], name)
        record.with_suffix(".part").write_text(json.dumps(event))
        record.with_suffix(".part").rename(record.with_suffix(".json"))
        bodies = {message["messageId"]: message["body"] for message in event["Records"]}
        if "slow" in bodies.values():
            time.sleep(1)
        if "crash" in bodies.values():
            os._exit(1)
        return {
            "batchItemFailures": [
                {"itemIdentifier": name} for name, body in bodies.items() if body == "fail"
            ]
        }
"""
ARN = "arn:aws:sqs:eu-central-1:123456789012:orders"

type Json = dict[str, Any]


class Queue:
    """A queue with its dead-letter queue, and the function that it feeds."""

    def __init__(self, backend: Backend, name: str, folder: Path, visibility_seconds: int) -> None:
        self.sqs: SQSClient = backend.client("sqs")
        self.dead_letters = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.url = self.sqs.create_queue(
            QueueName=name,
            Attributes={
                "VisibilityTimeout": str(visibility_seconds),
                "RedrivePolicy": json.dumps(
                    {"deadLetterTargetArn": self._arn(self.dead_letters), "maxReceiveCount": 2}
                ),
            },
        )["QueueUrl"]
        self.arn = self._arn(self.url)
        self.records = folder / "records"
        self.records.mkdir()
        function = make_function(folder, RECORDER, environment={"RECORDS": str(self.records)})
        self.pool = FunctionPool(function, backend, work_dir=folder / "logs", max_processes=4)

    @property
    def mapping(self) -> EventSource:
        return EventSource(
            function_name=self.pool.function.name,
            queue_url=self.url,
            queue_arn=self.arn,
            batch_size=10,
            batching_window_seconds=0,
            maximum_concurrency=2,
            report_item_failures=True,
        )

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def events(self) -> list[Json]:
        files = sorted(self.records.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(file.read_bytes()) for file in files]

    def seen(self, body: str) -> list[Json]:
        return [
            message
            for event in self.events()
            for message in event["Records"]
            if message["body"] == body
        ]

    def remaining(self, url: str | None = None) -> int:
        """Messages in the queue, those in flight included."""
        answer = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=["All"])
        attributes = answer["Attributes"]
        visible = int(attributes["ApproximateNumberOfMessages"])
        return visible + int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def _arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return answer["Attributes"]["QueueArn"]


@pytest.fixture(
    scope="module",
    params=[BackendKind.MOTO, pytest.param(BackendKind.MINISTACK, marks=pytest.mark.slow)],
)
def backend(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    return backends(request.param)


numbers = count()

type MakeQueue = Callable[[int], Queue]
type Start = Callable[..., SqsEventSource]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Stops sources before it closes the functions that they were started after."""
    with ExitStack() as callbacks:
        yield callbacks


@pytest.fixture
def make_queue(backend: Backend, tmp_path: Path, stack: ExitStack) -> MakeQueue:
    def make(visibility_seconds: int) -> Queue:
        queue = Queue(backend, f"orders-{next(numbers)}", tmp_path, visibility_seconds)
        stack.callback(queue.pool.close)
        return queue

    return make


@pytest.fixture
def queue(make_queue: MakeQueue) -> Queue:
    return make_queue(60)


@pytest.fixture
def start(stack: ExitStack) -> Start:
    def start_source(queue: Queue, mapping: EventSource | None = None) -> SqsEventSource:
        source = SqsEventSource(mapping or queue.mapping, queue.pool, queue.sqs)
        stack.callback(source.stop)
        source.start()
        return source

    return start_source


def test_event_has_lambdas_shape(queue: Queue, start: Start) -> None:
    queue.sqs.send_message(
        QueueUrl=queue.url,
        MessageBody="請求書",
        MessageAttributes={
            "name": {"DataType": "String", "StringValue": "value"},
            "number": {"DataType": "Number", "StringValue": "100"},
            "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )

    start(queue)

    (message,) = wait_until(lambda: queue.seen("請求書"))
    lists: Json = {"stringListValues": [], "binaryListValues": []}
    assert message["eventSource"] == "aws:sqs"
    assert message["eventSourceARN"] == queue.arn
    assert message["awsRegion"] == queue.arn.split(":")[3]
    assert message["md5OfBody"] == md5("請求書".encode(), usedforsecurity=False).hexdigest()
    assert message["messageId"]
    assert message["receiptHandle"]
    assert message["messageAttributes"] == {
        "name": {"dataType": "String", "stringValue": "value", **lists},
        "number": {"dataType": "Number", "stringValue": "100", **lists},
        "bytes": {
            "dataType": "Binary",
            "binaryValue": base64.b64encode(b"\x00\xff").decode(),
            **lists,
        },
    }
    assert message["attributes"]["ApproximateReceiveCount"] == "1"
    assert message["attributes"].keys() >= {
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
    }


def test_finished_messages_are_deleted(queue: Queue, start: Start) -> None:
    bodies = [f"message {number}" for number in range(25)]
    queue.send(*bodies)

    start(queue)

    wait_until(lambda: queue.remaining() == 0)
    assert all(queue.seen(body) for body in bodies)
    assert all(len(event["Records"]) <= 10 for event in queue.events())


def test_failed_message_comes_back_alone_and_ends_in_the_dead_letter_queue(
    make_queue: MakeQueue, start: Start
) -> None:
    queue = make_queue(1)
    queue.send("done", "fail", "done too")

    start(queue)

    wait_until(lambda: queue.remaining(queue.dead_letters) == 1)
    receive_counts = [
        message["attributes"]["ApproximateReceiveCount"] for message in queue.seen("fail")
    ]
    assert receive_counts == ["1", "2"]
    assert queue.remaining() == 0
    (dead,) = queue.sqs.receive_message(QueueUrl=queue.dead_letters)["Messages"]
    assert dead["Body"] == "fail"


def test_whole_batch_comes_back_when_the_function_dies(make_queue: MakeQueue, start: Start) -> None:
    queue = make_queue(1)
    queue.send("crash", "innocent")

    start(queue)

    wait_until(lambda: queue.remaining(queue.dead_letters) == 2)
    innocent = queue.seen("innocent")
    assert [message["attributes"]["ApproximateReceiveCount"] for message in innocent] == ["1", "2"]


def test_response_means_nothing_unless_the_template_says_so(queue: Queue, start: Start) -> None:
    queue.send("fail")

    start(queue, replace(queue.mapping, report_item_failures=False))

    wait_until(lambda: queue.seen("fail"))
    wait_until(lambda: queue.remaining() == 0)


def test_batch_is_filled_as_long_as_the_window_says(queue: Queue, start: Start) -> None:
    bodies = [f"message {number}" for number in range(25)]
    queue.send(*bodies)

    start(queue, replace(queue.mapping, batch_size=100, batching_window_seconds=2))

    wait_until(lambda: queue.remaining() == 0)
    assert any(len(event["Records"]) > 10 for event in queue.events())


def test_batch_size_is_kept(queue: Queue, start: Start) -> None:
    queue.send(*(f"message {number}" for number in range(7)))

    start(queue, replace(queue.mapping, batch_size=2))

    wait_until(lambda: queue.remaining() == 0)
    assert all(len(event["Records"]) <= 2 for event in queue.events())


def test_pollers_are_added_up_to_the_maximum_concurrency(queue: Queue, start: Start) -> None:
    queue.send(*["slow"] * 10)

    start(queue, replace(queue.mapping, batch_size=1, maximum_concurrency=3))

    wait_until(lambda: len(queue.pool.pids()) == 3)
    wait_until(lambda: queue.remaining() == 0)
    assert len(queue.pool.pids()) == 3


def test_deleting_is_tried_again(queue: Queue, start: Start) -> None:
    outages = iter(range(2))

    def fail(**_: object) -> None:
        if next(outages, None) is not None:
            raise EndpointConnectionError(endpoint_url=queue.url)

    queue.sqs.meta.events.register("before-call.sqs.DeleteMessageBatch", fail)
    try:
        queue.send("once")
        start(queue)
        wait_until(lambda: queue.remaining() == 0)
    finally:
        queue.sqs.meta.events.unregister("before-call.sqs.DeleteMessageBatch", fail)

    assert next(outages, None) is None
    assert len(queue.seen("once")) == 1


def test_stop_finishes_what_is_under_way(queue: Queue, start: Start) -> None:
    source = start(queue)
    queue.send("slow")
    wait_until(lambda: queue.seen("slow"))

    source.stop()

    assert queue.remaining() == 0
    queue.send("later")
    assert queue.remaining() == 1


def test_survives_a_queue_that_is_not_there(
    queue: Queue, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    queue.sqs.delete_queue(QueueUrl=queue.url)
    start(queue)
    wait_until(
        lambda: len([record for record in caplog.messages if "cannot receive" in record]) > 2
    )

    queue.sqs.create_queue(QueueName=queue.url.rpartition("/")[2])
    queue.send("at last")

    wait_until(lambda: queue.seen("at last"))
    wait_until(lambda: queue.remaining() == 0)


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        pytest.param(b"null", set(), id="null"),
        pytest.param(b"{}", set(), id="empty object"),
        pytest.param(b'{"batchItemFailures":null}', set(), id="null list"),
        pytest.param(b'{"batchItemFailures":[]}', set(), id="empty list"),
        pytest.param(b'{"statusCode":200}', set(), id="no list"),
        pytest.param(b'{"batchItemFailures":[{"itemIdentifier":"b"}]}', {"b"}, id="one"),
        pytest.param(
            b'{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}',
            {"b"},
            id="one twice",
        ),
        pytest.param(b'{"batchItemFailures":[{"itemIdentifier":"x"}]}', {"a", "b"}, id="unknown"),
        pytest.param(
            b'{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"x"}]}',
            {"a", "b"},
            id="one known and one unknown",
        ),
        pytest.param(b'{"batchItemFailures":[{"itemIdentifier":""}]}', {"a", "b"}, id="empty id"),
        pytest.param(b'{"batchItemFailures":[{"itemIdentifier":null}]}', {"a", "b"}, id="null id"),
        pytest.param(
            b'{"batchItemFailures":[{"itemIdentifier":["b"]}]}', {"a", "b"}, id="id of another type"
        ),
        pytest.param(b'{"batchItemFailures":[{"messageId":"b"}]}', {"a", "b"}, id="wrong key"),
        pytest.param(b'{"batchItemFailures":["b"]}', {"a", "b"}, id="not an object"),
        pytest.param(b'{"batchItemFailures":"b"}', {"a", "b"}, id="not a list"),
        pytest.param(b'"done"', {"a", "b"}, id="a string"),
        pytest.param(b"[]", {"a", "b"}, id="a list"),
        pytest.param(b"{", {"a", "b"}, id="no JSON"),
        pytest.param(b"", {"a", "b"}, id="nothing"),
    ],
)
def test_partial_batch_response(response: bytes, failed: set[str]) -> None:
    assert failed_messages(response, frozenset({"a", "b"})) == failed


def test_events_stay_within_lambdas_payload_limit() -> None:
    sent: list[MessageTypeDef] = [
        {
            "MessageId": str(number),
            "ReceiptHandle": f"handle {number}",
            "Body": '"' * 1024 * 1024,
            "MD5OfBody": "",
        }
        for number in range(10)
    ]

    made = list(batches(sent, ARN, MAX_PAYLOAD_BYTES))

    assert all(len(batch.event) <= MAX_PAYLOAD_BYTES for batch in made)
    assert [message for batch in made for message in batch.messages] == sent
    for batch in made:
        records = json.loads(batch.event)["Records"]
        assert [record["messageId"] for record in records] == [
            message["MessageId"] for message in batch.messages
        ]
    # No batch could have taken the first message of the next one.
    for batch, following in pairwise(made):
        (first,) = batches(following.messages[:1], ARN, MAX_PAYLOAD_BYTES)
        assert len(batch.event) + len(first.event) > MAX_PAYLOAD_BYTES
