"""The relay's signing secret is put into the secret, and the webhook is tried as a relay would."""

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli import secret
from cli.failures import CliError
from cli.target import Target
from reportflow.errors import CredentialsRefused
from reportflow.refusal import Refused
from reportflow.secret import SecretStore
from reportflow.webhook import Request, verify
from tests.cli.conftest import Cli, changed
from tests.unit.peer import Peer, Received, answer, listening

FIRST, SECOND, THIRD = (
    f"whsec_{b64encode(name.encode() * 4).decode()}"
    for name in ("first-key", "second-key", "third-key")
)


@pytest.fixture
def own_secret(target: Target) -> Iterator[Target]:
    """The system with a secret that no function reads."""
    value = {"appKey": "a", "secretKey": "s", "webhookToken": "t1", "extra": ["kept"]}
    made = target.secretsmanager.create_secret(
        Name=f"own-{uuid4().hex}", SecretString=json.dumps(value)
    )
    yield replace(target, secret_id=made["ARN"])
    target.secretsmanager.delete_secret(SecretId=made["ARN"], ForceDeleteWithoutRecovery=True)


@pytest.fixture
def signing(own_secret: Target) -> Iterator[Peer]:
    """A webhook that believes what is signed only, by the functions' own check."""

    def respond(received: Received) -> list[bytes]:
        token = received.target.rpartition("/")[2]
        request = Request(received.method, token, received.headers, received.body)
        secret = SecretStore(own_secret.secretsmanager, own_secret.secret_id).get()
        try:
            verify(request, secret, "local-workspace", time.time(), signed=True)
        except Refused as refused:
            return answer(refused.reason.status)
        except CredentialsRefused:
            return answer(503)
        return answer(200)

    with listening(respond) as peer:
        yield peer


@pytest.fixture
def signing_cli(own_secret: Target, signing: Peer, state_file: Path, tmp_path: Path) -> Cli:
    changes = {"secret_arn": own_secret.secret_id, "webhook_url": f"{signing.url}/t1"}
    return Cli(["--state", str(changed(state_file, tmp_path, **changes))], {})


def stored(target: Target) -> dict[str, Any]:
    answer = target.secretsmanager.get_secret_value(
        SecretId=target.secret_id, VersionStage="AWSCURRENT"
    )
    value: dict[str, Any] = json.loads(answer["SecretString"])
    return value


def test_a_new_secret_comes_before_the_old_one_until_the_end(
    signing_cli: Cli, own_secret: Target
) -> None:
    before = stored(own_secret)

    results = [signing_cli("set-signing-secret", stdin=f"{one}\n") for one in (FIRST, SECOND)]
    assert [result.exit_code for result in results] == [0, 0]
    assert stored(own_secret) == {**before, "webhookSigningSecrets": [SECOND, FIRST]}

    third = signing_cli("set-signing-secret", stdin=THIRD)
    assert third.exit_code == 1
    assert "--finish" in third.stderr
    finished = [signing_cli("set-signing-secret", "--finish", "--yes") for _ in range(2)]
    assert [result.exit_code for result in finished] == [0, 1]
    assert stored(own_secret) == {**before, "webhookSigningSecrets": [SECOND]}
    printed = "".join(result.output for result in (*results, third, *finished))
    assert not [one for one in (FIRST, SECOND, THIRD) if one.removeprefix("whsec_") in printed]


@pytest.mark.parametrize(
    "stdin", ["", "whsec_c2hvcnQ=", f"{FIRST} {SECOND}", FIRST.removeprefix("whsec_"), "whsec_?"]
)
def test_what_is_no_signing_secret_changes_nothing(
    signing_cli: Cli, own_secret: Target, stdin: str
) -> None:
    before = stored(own_secret)

    assert signing_cli("set-signing-secret", stdin=stdin).exit_code == 2
    assert stored(own_secret) == before


def test_what_somebody_else_writes_meanwhile_is_not_lost(own_secret: Target) -> None:
    client = own_secret.secretsmanager
    theirs = {**stored(own_secret), "appKey": "filled in just now"}

    def write(**_: object) -> None:
        client.meta.events.unregister(event, write)
        client.put_secret_value(SecretId=own_secret.secret_id, SecretString=json.dumps(theirs))

    event = "before-call.secrets-manager.UpdateSecretVersionStage"
    client.meta.events.register(event, write)
    with pytest.raises(CliError, match="Somebody else"):
        secret.set_signing_secret(own_secret, FIRST)

    assert stored(own_secret) == theirs


def test_a_webhook_that_asks_for_signatures_is_tried_with_one(
    signing_cli: Cli, signing: Peer
) -> None:
    assert signing_cli("set-signing-secret", stdin=FIRST).exit_code == 0

    shown = signing_cli("webhook-url")
    rotated = signing_cli("rotate-webhook-secret")

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.strip() == f"{signing.url}/t1"
    assert rotated.exit_code == 0, rotated.output
    found = {line["check"] for line in signing_cli.json("doctor")}
    assert "webhook" not in found


def test_a_webhook_without_a_signing_secret_is_reported_as_such(
    own_secret: Target, signing: Peer, signing_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(own_secret, webhook_base_url=signing.url)
    monkeypatch.setattr(secret, "PROBE_SECONDS", 0.0)

    with pytest.raises(CliError, match="needs a signing secret and there is none") as printed:
        secret.accepted_url(there)

    assert "reportflow set-signing-secret" in str(printed.value)
    [finding] = [line for line in signing_cli.json("doctor") if line["check"] == "webhook"]
    assert "reportflow set-signing-secret" in finding["remedy"]
