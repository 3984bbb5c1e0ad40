"""Lambda's SQS event source: receives messages and runs the function on them."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from local.deployment import EventSource
from local.function_pool import FunctionPool
from local.lambda_process import InvocationFailed
from local.runtime_api import MAX_PAYLOAD_BYTES
from local.sqs_event import Batch, batches, failed_messages

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

logger = logging.getLogger(__name__)

MIN_POLLERS = 2
MAX_POLLERS = 4
"""Lambda has up to a thousand. One machine lacks the processors."""

_MAX_SQS_BATCH = 10
_LONG_POLL_SECONDS = 1
"""Lambda waits for 20 seconds. A shorter wait lets the runner stop sooner."""

_MAX_BACKOFF_SECONDS = 5.0
_DELETE_ATTEMPTS = 5


class SqsEventSource:
    """Polls one queue for one function until it is stopped.

    Two pollers always wait for messages. While there are any, more are added, up to the
    template's maximum concurrency or `MAX_POLLERS`.
    """

    def __init__(self, source: EventSource, pool: FunctionPool, sqs: "SQSClient") -> None:
        self._source = source
        self._pool = pool
        self._sqs = sqs
        self._max_pollers = max(
            MIN_POLLERS, min(source.maximum_concurrency or MAX_POLLERS, MAX_POLLERS)
        )
        self._lock = threading.Lock()
        self._pollers: set[threading.Thread] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Starts polling."""
        for _ in range(MIN_POLLERS):
            self._add_poller()

    def stop(self) -> None:
        """Finishes the invocations in flight, deletes their messages, and stops."""
        with self._lock:
            self._stopping.set()
            pollers = tuple(self._pollers)
        for poller in pollers:
            poller.join()

    def _add_poller(self) -> None:
        with self._lock:
            if len(self._pollers) >= self._max_pollers or self._stopping.is_set():
                return
            name = f"{self._source.function_name}-poller"
            poller = threading.Thread(target=self._poll, name=name)
            self._pollers.add(poller)
            poller.start()

    def _remove_surplus_poller(self) -> bool:
        with self._lock:
            surplus = len(self._pollers) > MIN_POLLERS
            if surplus:
                self._pollers.remove(threading.current_thread())
            return surplus

    def _poll(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                messages = self._collect()
            except (BotoCoreError, ClientError) as error:
                failures += 1
                self._back_off("receive", error, failures)
                continue
            failures = 0
            if messages:
                self._add_poller()
            elif self._remove_surplus_poller():
                return
            for batch in batches(messages, self._source.queue_arn, MAX_PAYLOAD_BYTES):
                self._process(batch)

    def _collect(self) -> list["MessageTypeDef"]:
        """Receives the messages of a batch, for as long as the batching window."""
        messages = self._receive(self._source.batch_size, _LONG_POLL_SECONDS)
        window_ends = time.monotonic() + self._source.batching_window_seconds
        while messages and not self._stopping.is_set():
            missing = self._source.batch_size - len(messages)
            remaining = window_ends - time.monotonic()
            if missing <= 0 or remaining <= 0:
                break
            try:
                messages += self._receive(missing, min(math.ceil(remaining), _LONG_POLL_SECONDS))
            except (BotoCoreError, ClientError) as error:
                logger.warning("%s: batch cut short: %s", self._source.function_name, error)
                break
        return messages

    def _receive(self, count: int, wait_seconds: int) -> list["MessageTypeDef"]:
        received = self._sqs.receive_message(
            QueueUrl=self._source.queue_url,
            MaxNumberOfMessages=min(count, _MAX_SQS_BATCH),
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return received.get("Messages", [])

    def _process(self, batch: Batch) -> None:
        """Runs the function, and deletes the messages that it did not fail."""
        name = self._source.function_name
        sent = frozenset(message["MessageId"] for message in batch.messages)
        try:
            response = self._pool.invoke(batch.event)
        except InvocationFailed as failure:
            logger.warning("%s: %s; %d messages return", name, failure.message, len(sent))
            return
        failed: frozenset[str] = frozenset()
        if self._source.report_item_failures:
            failed = failed_messages(response, sent)
        if failed:
            logger.info("%s: %d of %d messages return", name, len(failed), len(sent))
        done = [message for message in batch.messages if message["MessageId"] not in failed]
        for first in range(0, len(done), _MAX_SQS_BATCH):
            self._delete(done[first : first + _MAX_SQS_BATCH])

    def _delete(self, messages: Sequence["MessageTypeDef"]) -> None:
        pending = {str(n): message["ReceiptHandle"] for n, message in enumerate(messages)}
        for attempt in range(1, _DELETE_ATTEMPTS + 1):
            try:
                answer = self._sqs.delete_message_batch(
                    QueueUrl=self._source.queue_url,
                    Entries=[{"Id": n, "ReceiptHandle": handle} for n, handle in pending.items()],
                )
            except (BotoCoreError, ClientError) as error:
                self._back_off("delete", error, attempt)
                continue
            failed = [entry for entry in answer.get("Failed", []) if not entry["SenderFault"]]
            pending = {entry["Id"]: pending[entry["Id"]] for entry in failed}
            if not pending:
                return
            self._back_off("delete", failed[0]["Code"], attempt)
        logger.error(
            "%s: %d finished messages are not deleted and will come again",
            self._source.function_name,
            len(pending),
        )

    def _back_off(self, action: str, problem: object, failures: int) -> None:
        delay = min(0.1 * 2**failures, _MAX_BACKOFF_SECONDS)
        name = self._source.function_name
        logger.warning("%s: cannot %s: %s; again in %.1f s", name, action, problem, delay)
        self._stopping.wait(delay)
