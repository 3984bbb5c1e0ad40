"""The webhook's secret is changed, and no event is refused meanwhile."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, Self, cast
from uuid import uuid4

import pytest
import urllib3

from cli import secret
from cli.failures import CliError
from cli.target import Clients, Target
from local.backend import Backend
from reportflow.secret import REREAD_SECONDS
from tests.cli.conftest import Cli
from tests.pipeline.aws_proxy import AwsProxy, Failure, Operation
from tests.pipeline.driver import INVOICE, until
from tests.unit.peer import answer, listening

EVENT = {
    "event": "file.completed",
    "workspaceId": "local-workspace",
    "designId": INVOICE,
    "version": 1,
    # Verified like any other, and nothing for the downloader to look for.
    "files": [],
}


class Stream:
    """A sender of webhooks that never rests, and what it is answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[tuple[str, int]] = Counter()
        self._pool = urllib3.PoolManager(retries=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.clear()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            url = self.url
            status = self._pool.request("POST", url, body=json.dumps(EVENT)).status
            self.answers[url, status] += 1


@pytest.fixture
def own_secret(target: Target) -> Iterator[Target]:
    """The system with a secret that no function reads."""
    value = {"appKey": "a", "secretKey": "s", "webhookToken": "t1", "extra": ["kept"]}
    made = target.secretsmanager.create_secret(
        Name=f"own-{uuid4().hex}", SecretString=json.dumps(value)
    )
    yield replace(target, secret_id=made["ARN"])
    target.secretsmanager.delete_secret(SecretId=made["ARN"], ForceDeleteWithoutRecovery=True)


def stored(target: Target) -> dict[str, Any]:
    """What a function would read."""
    # By its stage: without one, moto may answer with another version.
    answer = target.secretsmanager.get_secret_value(
        SecretId=target.secret_id, VersionStage="AWSCURRENT"
    )
    value: dict[str, Any] = json.loads(answer["SecretString"])
    return value


def test_not_one_event_of_a_stream_is_refused(cli: Cli, target: Target) -> None:
    old = cli("webhook-url").stdout.strip()
    with Stream(old) as stream:
        # An unknown caller's guess makes a function read the secret just before it changes.
        guess = f"{target.webhook_base_url}/guess"
        assert urllib3.request("POST", guess, body=b"{}").status == 404

        rotated = cli("rotate-webhook-secret")
        assert rotated.exit_code == 0, rotated.output
        stream.url = new = cli("webhook-url").stdout.strip()
        until(lambda: stream.answers[new, 200] > 20 or None, 120, "events by the new URL")
        begun = cli("rotate-webhook-secret")
        finished = cli("rotate-webhook-secret", "--finish", "--yes")
        after = stream.answers[new, 200]
        until(lambda: stream.answers[new, 200] > after + 20 or None, 120, "events after the end")

    assert begun.exit_code == 1, "a second rotation would cut off the first token"
    assert finished.exit_code == 0, finished.output
    assert old != new
    assert stream.answers.keys() == {(old, 200), (new, 200)}
    token = new.rpartition("/")[2]
    assert token not in rotated.output + begun.output + finished.output
    assert stored(target)["previousWebhookToken"] == ""


def test_without_the_wait_the_new_token_can_be_refused(target: Target) -> None:
    """What the wait is for: a function that has just read the secret does not read it again."""
    before = stored(target)
    guess = f"{target.webhook_base_url}/guess"
    assert urllib3.request("POST", guess, body=b"{}").status == 404
    secret.rotate(target)
    try:
        url = f"{target.webhook_base_url}/{stored(target)['webhookToken']}"
        assert urllib3.request("POST", url, body=b'{"event":"x"}').status == 404
    finally:
        target.secretsmanager.put_secret_value(
            SecretId=target.secret_id, SecretString=json.dumps(before)
        )


def test_the_new_url_is_not_shown_while_any_function_may_refuse_it(own_secret: Target) -> None:
    """One function that accepts it says nothing of the others: each has looked in its own time."""
    slept: list[float] = []
    secret.rotate(own_secret)
    begun = time.monotonic()
    with listening(lambda _: answer(200)) as accepting:
        there = replace(own_secret, webhook_base_url=accepting.url)
        url = secret.accepted_url(there, sleep=slept.append)

    assert sum(slept) + time.monotonic() - begun > REREAD_SECONDS
    assert url == f"{accepting.url}/{stored(own_secret)['webhookToken']}"


def test_everything_else_in_the_secret_is_kept(own_secret: Target) -> None:
    before = stored(own_secret)

    secret.rotate(own_secret)

    after = stored(own_secret)
    assert after.pop("previousWebhookToken") == before.pop("webhookToken")
    assert len(after.pop("webhookToken")) >= 43
    assert after == before


def test_a_second_rotation_waits_for_the_end_of_the_first(own_secret: Target) -> None:
    secret.rotate(own_secret)
    once = stored(own_secret)

    with pytest.raises(CliError, match="under way"):
        secret.rotate(own_secret)
    assert stored(own_secret) == once

    secret.rotate(own_secret, force=True)
    assert stored(own_secret)["previousWebhookToken"] == once["webhookToken"]


def test_what_somebody_else_writes_meanwhile_is_not_lost(own_secret: Target) -> None:
    client = own_secret.secretsmanager
    theirs = {**stored(own_secret), "appKey": "filled in just now"}
    done = threading.Event()

    def write(**_: object) -> None:
        """Between the read and the write of the secret."""
        if not done.is_set():
            done.set()
            client.put_secret_value(SecretId=own_secret.secret_id, SecretString=json.dumps(theirs))

    event = "before-call.secrets-manager.UpdateSecretVersionStage"
    client.meta.events.register(event, write)
    try:
        with pytest.raises(CliError, match="Somebody else"):
            secret.rotate(own_secret)
    finally:
        client.meta.events.unregister(event, write)

    assert done.is_set()
    assert stored(own_secret) == theirs
    secret.rotate(own_secret)
    assert stored(own_secret)["appKey"] == theirs["appKey"]


def test_a_change_whose_answer_was_lost_is_no_failure(own_secret: Target, backend: Backend) -> None:
    """botocore asks again, and finds the label moved. Who then forces it cuts off ReportFlow."""
    before = stored(own_secret)
    asked: list[Operation] = []

    def lose(operation: Operation) -> Failure | None:
        if operation.name != "UpdateSecretVersionStage":
            return None
        asked.append(operation)
        lost = Failure(500, "InternalServiceError", forwarded=True)
        return lost if len(asked) == 1 else None

    with (
        AwsProxy(backend.endpoint_url) as proxy,
        closing(Backend(backend.kind, proxy.url)) as clients,
    ):
        proxy.mischief = lose
        secret.rotate(replace(own_secret, clients=cast("Clients", clients)))

    assert len(asked) == 3, "once in vain, once more, and AWSPENDING"
    assert stored(own_secret)["previousWebhookToken"] == before["webhookToken"]


def test_a_label_that_another_change_took_is_no_failure(own_secret: Target) -> None:
    """Another change begins between the two steps of this one, and takes AWSPENDING."""
    client = own_secret.secretsmanager
    before = stored(own_secret)
    done = threading.Event()

    def begin(**_: object) -> None:
        if not done.is_set():
            done.set()
            client.put_secret_value(
                SecretId=own_secret.secret_id, SecretString="{}", VersionStages=["AWSPENDING"]
            )

    event = "after-call.secrets-manager.UpdateSecretVersionStage"
    client.meta.events.register(event, begin)
    try:
        secret.rotate(own_secret)
    finally:
        client.meta.events.unregister(event, begin)

    assert done.is_set()
    assert stored(own_secret)["previousWebhookToken"] == before["webhookToken"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"appKey": "k-1-2-3"}', '{"webhookToken": 1}'])
def test_a_malformed_secret_is_reported_and_not_quoted(own_secret: Target, text: str) -> None:
    own_secret.secretsmanager.put_secret_value(
        SecretId=own_secret.secret_id, SecretString=text or " "
    )

    with pytest.raises(CliError, match="malformed") as malformed:
        secret.rotate(own_secret)
    assert "k-1-2-3" not in str(malformed.value)
