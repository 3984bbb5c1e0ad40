"""A webhook's files are stored whole, or the sender is asked to come again."""

from collections.abc import Callable

import pytest

from reportflow.errors import Retryable
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


def stored(queues: QueuePair) -> int:
    number = 0
    while records := queues.receive():
        number += len(records)
    return number


def test_all_files_of_a_large_webhook_are_stored(
    secret_store: SecretStore, queues: QueuePair
) -> None:
    receiver = Receiver(secret_store, Downloads(queues.client, queues.url), "acme")

    receiver.receive(MANY)

    assert stored(queues) == 35


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
