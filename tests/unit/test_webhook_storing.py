"""A webhook's files are stored whole, or the sender is asked to come again."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from reportflow.aws import PROMPT_SECONDS
from reportflow.contract.files import CompletedFile
from reportflow.errors import OutOfTime, Retryable
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.secret import REREAD_SECONDS, SecretStore
from reportflow.webhook import Receiver
from tests.unit.clock import Ticker
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import webhook_body
from tests.unit.test_signature import OTHER, SECRET, at, headers, sign
from tests.unit.webhook_events import event

MANY = event(webhook_body(files=[{"fileId": f"f{n}", "uuid": "u"} for n in range(35)]))


class Slow:
    """A queue whose every call takes its time."""

    def __init__(self, queue: Downloads, time: Ticker, seconds: float) -> None:
        self._queue = queue
        self._time = time
        self._seconds = seconds

    def send(self, files: Sequence[CompletedFile]) -> None:
        self._time.now += self._seconds
        self._queue.send(files)


def stored(queues: QueuePair) -> int:
    number = 0
    while records := queues.receive():
        number += len(records)
    return number


def test_a_slow_queue_ends_in_an_answer_before_the_function_is_killed(
    secret_store: SecretStore, queues: QueuePair
) -> None:
    time, timeout = Ticker(), 10.0
    destination = Slow(Downloads(queues.client, queues.url), time, PROMPT_SECONDS)
    receiver = Receiver(secret_store, cast("Any", destination), "acme")

    with pytest.raises(OutOfTime):
        receiver.receive(MANY, lambda: timeout - time.now)
    assert time.now <= timeout
    assert 0 < stored(queues) < 35


def test_files_that_were_stored_in_part_are_all_stored_when_the_sender_comes_again(
    secret_store: SecretStore, queues: QueuePair
) -> None:
    time = Ticker()
    destination = Slow(Downloads(queues.client, queues.url), time, 1.0)
    receiver = Receiver(secret_store, cast("Any", destination), "acme")
    with pytest.raises(Retryable):
        receiver.receive(MANY, lambda: PROMPT_SECONDS + 1.5 - time.now)
    stored(queues)

    receiver.receive(MANY)

    assert stored(queues) == 35


def test_an_unauthenticated_caller_learns_nothing_when_time_is_short_either(
    secret_store: SecretStore,
) -> None:
    """Reading the secret again could take longer than there is."""
    receiver = Receiver(secret_store, Downloads(object(), ""), "acme")  # type: ignore[arg-type]  # never reached
    with pytest.raises(OutOfTime):
        receiver.receive(event(token="wrong"), lambda: PROMPT_SECONDS)
    with pytest.raises(Refused) as refused:
        receiver.receive(event(token="wrong"), lambda: PROMPT_SECONDS + 1)
    assert refused.value.reason is Refusal.UNKNOWN_CALLER


def test_a_rotation_of_the_signing_secret_loses_no_event(
    secret_store: SecretStore,
    queues: QueuePair,
    rotate: Callable[..., None],
    ticker: Ticker,
) -> None:
    rotate(webhookSigningSecrets=[OTHER])
    receiver = Receiver(secret_store, Downloads(queues.client, queues.url), "acme", signed=True)

    def send(secret: str) -> bool:
        given, stamp = event(), at()
        signature = sign(secret, timestamp=stamp, body=given["body"])
        return bool(receiver.receive({**given, "headers": headers(signature, timestamp=stamp)}))

    assert send(OTHER)
    rotate(webhookSigningSecrets=[SECRET, OTHER])
    ticker.now = REREAD_SECONDS
    assert send(SECRET)
    assert send(OTHER)
    rotate(webhookSigningSecrets=[SECRET])
    ticker.now += 300
    with pytest.raises(Refused) as refused:
        send(OTHER)
    assert refused.value.reason is Refusal.SIGNATURE_WRONG


def test_a_signing_secret_that_was_put_in_late_is_found(
    secret_store: SecretStore, queues: QueuePair, rotate: Callable[..., None], ticker: Ticker
) -> None:
    receiver = Receiver(secret_store, Downloads(queues.client, queues.url), "acme", signed=True)
    given, stamp = event(), at()
    signature = sign(timestamp=stamp, body=given["body"])
    given["headers"] = headers(signature, timestamp=stamp)
    with pytest.raises(Retryable, match="SIGNING_SECRET_MISSING"):
        receiver.receive(given)

    rotate(webhookSigningSecrets=[SECRET])
    ticker.now = REREAD_SECONDS

    assert receiver.receive(given).files
