import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from traceback import format_exception

import pytest

from local.backend import Backend
from reportflow.errors import CredentialsRefused, Retryable
from reportflow.secret import CACHE_SECONDS, REREAD_SECONDS, SecretStore
from tests.unit.clock import Ticker
from tests.unit.samples import APP_KEY, SECRET_KEY, TOKEN

type Rotate = Callable[..., None]


def test_the_secret_is_read_as_it_is_stored(secret_store: SecretStore) -> None:
    secret = secret_store.get()

    assert (secret.keys["appKey"], secret.keys["secretKey"]) == (APP_KEY, SECRET_KEY)
    assert secret.webhook_tokens == (TOKEN,)


def test_a_rotation_accepts_both_tokens(secret_store: SecretStore, rotate: Rotate) -> None:
    rotate(webhookToken="new", previousWebhookToken=TOKEN)

    assert secret_store.get().webhook_tokens == ("new", TOKEN)


def test_white_space_that_came_along_with_a_pasted_key_is_no_part_of_it(
    secret_store: SecretStore, rotate: Rotate
) -> None:
    rotate(appKey=f" {APP_KEY}\n", secretKey=f"{SECRET_KEY}\r\n")

    secret = secret_store.get()

    assert (secret.keys["appKey"], secret.keys["secretKey"]) == (APP_KEY, SECRET_KEY)


def test_it_is_read_again_when_it_is_old(
    secret_store: SecretStore, rotate: Rotate, ticker: Ticker
) -> None:
    secret_store.get()
    rotate(appKey="new")

    ticker.now = CACHE_SECONDS - 1
    assert secret_store.get().keys["appKey"] == APP_KEY
    ticker.now = CACHE_SECONDS
    assert secret_store.get().keys["appKey"] == "new"


def test_a_clock_that_is_set_back_does_not_keep_it(
    secret_store: SecretStore, rotate: Rotate, ticker: Ticker
) -> None:
    ticker.now = 10 * CACHE_SECONDS
    secret_store.get()
    rotate(appKey="new")

    ticker.now -= 1

    assert secret_store.get().keys["appKey"] == "new"


def test_a_refusal_reads_it_again_at_once_but_a_burst_of_them_does_not(
    secret_store: SecretStore, rotate: Rotate, ticker: Ticker
) -> None:
    secret_store.get()
    rotate(appKey="second")
    ticker.now = REREAD_SECONDS
    assert secret_store.get_fresh().keys["appKey"] == "second"

    rotate(appKey="third")
    ticker.now += 1
    assert secret_store.get_fresh().keys["appKey"] == "second"
    ticker.now += REREAD_SECONDS
    assert secret_store.get_fresh().keys["appKey"] == "third"
    assert secret_store.get().keys["appKey"] == "third"


def test_ten_threads_read_it_once(aws: Backend, secret_store: SecretStore) -> None:
    reads: list[object] = []
    events = aws.client("secretsmanager").meta.events
    note = "before-send.secretsmanager.GetSecretValue"

    def count(**sent: object) -> None:
        reads.append(sent)

    events.register(note, count)
    try:
        with ThreadPoolExecutor(10) as pool:
            found = list(pool.map(lambda _: secret_store.get(), range(10)))
    finally:
        events.unregister(note, count)

    assert all(each is found[0] for each in found)
    assert len(reads) == 1


def test_no_part_of_it_shows(secret_store: SecretStore, rotate: Rotate) -> None:
    rotate(webhookSigningSecrets=["whsec_c2lnbmVk"])

    shown = repr(secret_store.get()) + str(secret_store.get())

    secrets = (APP_KEY, SECRET_KEY, TOKEN, "whsec_", "c2lnbmVk")
    assert not [part for part in secrets if part in shown]


def test_the_relays_secrets_are_read_as_they_are_stored(
    secret_store: SecretStore, rotate: Rotate, ticker: Ticker
) -> None:
    assert secret_store.get().webhook_signing_secrets == ()

    rotate(webhookSigningSecrets=["whsec_new", "whsec_old"])
    ticker.now = CACHE_SECONDS

    assert secret_store.get().webhook_signing_secrets == ("whsec_new", "whsec_old")


@pytest.mark.parametrize("wrong", ["whsec_x", {}, [7], [["whsec_x"]], 7, True, None])
def test_a_mistake_in_the_relays_secrets_stops_nobody_but_the_webhook(
    secret_store: SecretStore, rotate: Rotate, wrong: object
) -> None:
    rotate(webhookSigningSecrets=wrong)

    secret = secret_store.get()

    assert (secret.keys["appKey"], secret.webhook_tokens) == (APP_KEY, (TOKEN,))
    assert secret.webhook_signing_secrets == ()


@pytest.mark.parametrize(
    "text",
    [
        f"{APP_KEY}",
        f'["{APP_KEY}"]',
        f'{{"appKey": "{APP_KEY}"}}',
        f'{{"appKey": "{APP_KEY}", "webhookToken": null}}',
        json.dumps({"appKey": APP_KEY, "webhookToken": TOKEN})[:-1],
    ],
)
def test_a_malformed_one_is_an_outage_that_quotes_nothing(
    secret_store: SecretStore, rotate: Rotate, text: str
) -> None:
    rotate(text)

    with pytest.raises(CredentialsRefused, match="SECRET_MALFORMED") as malformed:
        secret_store.get()
    shown = "".join(format_exception(malformed.value)) + repr(malformed.value)
    assert APP_KEY not in shown
    assert TOKEN not in shown


def test_a_binary_one_is_malformed_too(
    aws: Backend, secret_store: SecretStore, secret_arn: str
) -> None:
    aws.client("secretsmanager").put_secret_value(SecretId=secret_arn, SecretBinary=b"{}")

    with pytest.raises(CredentialsRefused, match="SECRET_MALFORMED"):
        secret_store.get()


def test_a_failed_read_is_tried_again_and_not_kept(
    aws: Backend, secret_store: SecretStore, rotate: Rotate
) -> None:
    absent = SecretStore(aws.client("secretsmanager"), "absent")
    with pytest.raises(Retryable, match="AWS_ResourceNotFoundException"):
        absent.get()

    rotate("{}")
    with pytest.raises(Retryable):
        secret_store.get()
    rotate()
    assert secret_store.get().keys["appKey"] == APP_KEY
