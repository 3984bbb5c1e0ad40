"""SQS in memory, and Lambda's event source over it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final

from botocore.exceptions import ClientError

from reportflow.queues import Record
from tests.simulation import deliveries
from tests.simulation.faults import Chaos, Fault
from tests.simulation.process import Function, Process
from tests.simulation.scheduler import EPOCH, Scheduler

DISORDER_SECONDS: Final = 0.5
"""By so much a message may be late, and so overtake no one."""


class Order(StrEnum):
    """In which order a queue hands its visible messages over; SQS promises none."""

    VISIBLE = "as they became visible"
    SENT = "as they were sent: a delayed message overtakes those that were sent during its delay"
    ANY = "by chance"


@dataclass(eq=False)
class Message:
    """A message on a queue; `attributes` in the form that SendMessage takes."""

    message_id: str
    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    sent_at: float
    visible_at: float = 0.0
    receive_count: int = 0
    receipts: list[str] = field(default_factory=list)
    deleted: bool = False

    def text(self, name: str) -> str | None:
        """A string attribute."""
        return self.attributes[name]["StringValue"] if name in self.attributes else None


class Queue:
    """A standard queue: unordered, at least once."""

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        chaos: Chaos,
        *,
        visibility_timeout: float = 30.0,
        max_receives: int = 0,
        dead_letters: "Queue | None" = None,
        order: Order = Order.VISIBLE,
        retention: float = float("inf"),
    ) -> None:
        self.name = name
        self.order = order
        self.messages: dict[str, Message] = {}
        self.on_visible: Callable[[float], None] | None = None
        self.on_sent: Callable[[Message], None] | None = None
        self.dropped: list[Message] = []
        """Those that were older than the queue's retention."""

        self.sent: int = 0
        self.received: int = 0
        self._scheduler = scheduler
        self._chaos = chaos
        self._visibility_timeout = visibility_timeout
        self._max_receives = max_receives
        self._dead_letters = dead_letters
        self._retention = retention
        self._waiting: list[tuple[float, int, Message]] = []
        self._entries = 0
        self._by_receipt: dict[str, Message] = {}

    @property
    def keeps_dead_letters(self) -> bool:
        """Whether it is a dead-letter queue, which has none of its own."""
        return self._dead_letters is None

    def send(
        self, body: str, attributes: Mapping[str, Mapping[str, Any]], delay: float = 0.0
    ) -> str:
        """Take a message."""
        self.sent += 1
        message = Message(f"{self.name}-{self.sent:04}", body, attributes, self._scheduler.now)
        self.messages[message.message_id] = message
        self._show(message, self._scheduler.now + delay)
        if self.on_sent is not None:
            self.on_sent(message)
        return message.message_id

    def receive(self, limit: int) -> list[Message]:
        """Up to `limit` visible messages, hidden from now on for the visibility timeout."""
        now = self._scheduler.now
        batch: list[Message] = []
        visible = self._visible()
        while visible and len(batch) < limit:
            message = self._take(visible)
            if 0 < self._max_receives <= message.receive_count and self._dead_letters is not None:
                self._dead_letters.send(message.body, message.attributes)
                self._drop(message)
                continue
            message.receive_count += 1
            self.received += 1
            receipt = f"{message.message_id}/{message.receive_count}"
            message.receipts.append(receipt)
            self._by_receipt[receipt] = message
            if self._chaos.strikes(Fault.DELIVERED_TWICE):
                self._show(message, now + self._chaos.rng.random() * 5)
            else:
                self._show(message, now + self._visibility_timeout)
            batch.append(message)
        for message in visible:
            self._wait(message)
        return batch

    def visible(self) -> int:
        """How many messages could be received now."""
        visible = self._visible()
        for message in visible:
            self._wait(message)
        return len(visible)

    def _visible(self) -> list[Message]:
        """Take the visible messages out of the heap, in the order in which they became so."""
        visible: dict[str, Message] = {}
        waiting, now = self._waiting, self._scheduler.now
        while waiting and waiting[0][0] <= now:
            visible_at, _, message = heappop(waiting)
            if message.deleted or message.visible_at != visible_at:
                continue
            if now - message.sent_at > self._retention:
                self._drop(message)
                self.dropped.append(message)
            else:
                visible[message.message_id] = message
        return list(visible.values())

    def _take(self, visible: list[Message]) -> Message:
        if self.order is Order.VISIBLE:
            return visible.pop(0)
        if self.order is Order.ANY:
            return visible.pop(self._chaos.rng.randrange(len(visible)))
        first = min(visible, key=lambda message: message.sent_at)
        visible.remove(first)
        return first

    def delete(self, receipt: str) -> None:
        """Delete a message; with a receipt that is not the newest, perhaps."""
        message = self._by_receipt.get(receipt)
        if message is None or message.deleted:
            return
        if message.receipts[-1] != receipt and self._chaos.rng.random() < 0.5:
            return
        if self._chaos.strikes(Fault.DELETED_IN_VAIN):
            self._show(message, self._scheduler.now + self._chaos.rng.random() * 600)
            return
        self._drop(message)

    def change_visibility(self, receipt: str, seconds: float) -> None:
        """Hide a message for so long from now.

        Raises:
            ClientError: it is not in flight, or gone.
        """
        message = self._by_receipt.get(receipt)
        if message is None or message.deleted or message.visible_at <= self._scheduler.now:
            raise ClientError({"Error": {"Code": "MessageNotInflight"}}, "ChangeMessageVisibility")
        if message.receipts[-1] == receipt or self._chaos.rng.random() < 0.5:
            self._show(message, self._scheduler.now + seconds)

    def next_visible_at(self) -> float | None:
        """When the next message can be received."""
        waiting = self._waiting
        while waiting:
            visible_at, _, message = waiting[0]
            if not message.deleted and message.visible_at == visible_at:
                return visible_at
            heappop(waiting)
        return None

    def _show(self, message: Message, when: float) -> None:
        when += self._chaos.rng.random() * DISORDER_SECONDS
        message.visible_at = when
        self._wait(message)
        if self.on_visible is not None:
            self.on_visible(when)

    def _wait(self, message: Message) -> None:
        self._entries += 1
        heappush(self._waiting, (message.visible_at, self._entries, message))

    def _drop(self, message: Message) -> None:
        message.deleted = True
        del self.messages[message.message_id]


class SqsClient:
    """`boto3`'s client as far as the functions use it, in one process."""

    def __init__(self, process: Process, queues: Mapping[str, Queue]) -> None:
        self._process = process
        self._queues = queues

    def send_message(self, **call: Any) -> dict[str, Any]:
        """SendMessage."""
        queue = self._queues[call["QueueUrl"]]
        attributes = call.get("MessageAttributes", {})
        assert len(attributes) <= 10, "SQS takes ten attributes"
        body, delay = call["MessageBody"], call.get("DelaySeconds", 0)
        assert 0 <= delay <= 900, "SQS delays by fifteen minutes at most"
        delivery = deliveries.current()
        if queue.keeps_dead_letters and delivery is not None:
            delivery.dead_letters += 1
        return self._process.aws(
            f"SendMessage to {queue.name}",
            lambda: {"MessageId": queue.send(body, attributes, delay)},
        )

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        """SendMessageBatch, of which each entry can fail alone."""
        queue = self._queues[call["QueueUrl"]]

        def send() -> dict[str, Any]:
            failed = []
            for entry in call["Entries"]:
                if self._process.chaos.strikes(Fault.AWS_BATCH_PARTIAL):
                    failed.append({"Id": entry["Id"]})
                else:
                    queue.send(entry["MessageBody"], {}, entry["DelaySeconds"])
            return {"Failed": failed}

        return self._process.aws(f"SendMessageBatch to {queue.name}", send)

    def change_message_visibility(self, **call: Any) -> None:
        """ChangeMessageVisibility."""
        queue = self._queues[call["QueueUrl"]]
        self._process.aws(
            f"ChangeMessageVisibility of {call['ReceiptHandle']}",
            lambda: queue.change_visibility(call["ReceiptHandle"], call["VisibilityTimeout"]),
        )

    def get_queue_attributes(self, **call: Any) -> dict[str, Any]:
        """GetQueueAttributes, of which the functions ask for one."""
        assert call["AttributeNames"] == ["ApproximateNumberOfMessages"]
        queue = self._queues[call["QueueUrl"]]
        return self._process.aws(
            f"GetQueueAttributes of {queue.name}",
            lambda: {"Attributes": {"ApproximateNumberOfMessages": str(queue.visible())}},
        )


class EventSource:
    """Hands a queue's messages to a function, several batches at a time."""

    def __init__(
        self,
        queue: Queue,
        function: Function,
        scheduler: Scheduler,
        chaos: Chaos,
        *,
        batch_size: int,
        concurrency: int,
    ) -> None:
        self._queue = queue
        self._function = function
        self._scheduler = scheduler
        self._chaos = chaos
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._next_poll = float("inf")
        queue.on_visible = self._wake

    def _wake(self, when: float) -> None:
        if when < self._next_poll and self._function.in_flight < self._concurrency:
            self._next_poll = when
            self._scheduler.at(when, partial(self._poll_at, when))

    def _poll_at(self, when: float) -> None:
        if when == self._next_poll:
            self._poll()

    def _poll(self) -> None:
        self._next_poll = float("inf")
        while self._function.in_flight < self._concurrency:
            batch = self._queue.receive(1 + self._chaos.rng.randrange(self._batch_size))
            if not batch:
                break
            self._process(batch)
        upcoming = self._queue.next_visible_at()
        if upcoming is not None:
            self._wake(upcoming)

    def _process(self, batch: list[Message]) -> None:
        records = [_record(message) for message in batch]
        if self._chaos.tell is not None:
            receipts = ", ".join(record.receipt_handle for record in records)
            self._chaos.tell(f"{self._queue.name} hands over {receipts}")

        def delete_finished(response: Any) -> None:
            if response is not None:
                failed = {item["itemIdentifier"] for item in response["batchItemFailures"]}
                for record in records:
                    if record.message_id in failed:
                        continue
                    if not self._chaos.strikes(Fault.DELETE_LOST):
                        self._queue.delete(record.receipt_handle)
            self._poll()

        self._function.invoke(records, delete_finished)


def _record(message: Message) -> Record:
    return Record(
        message_id=message.message_id,
        receipt_handle=message.receipts[-1],
        body=message.body,
        receive_count=message.receive_count,
        sent_at=EPOCH + timedelta(seconds=message.sent_at),
        attributes={
            name: {"dataType": value["DataType"], "stringValue": value["StringValue"]}
            for name, value in message.attributes.items()
        },
    )
