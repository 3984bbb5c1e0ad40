import json
from queue import Queue

import pytest

from cli import secret as of_the_cli
from local import rotation
from local.backend import Backend
from local.rotation import ACCEPTED_SECONDS, Follower, following
from tests.unit.clock import Ticker


def test_it_waits_as_long_as_the_command_line_does() -> None:
    assert ACCEPTED_SECONDS == of_the_cli.ACCEPTED_SECONDS


def test_the_new_token_is_used_once_every_function_accepts_it(ticker: Ticker) -> None:
    follower = Follower("old", clock=ticker)

    assert follower.see("old") is None
    assert follower.see("new") is None
    ticker.now = ACCEPTED_SECONDS - 0.1
    assert follower.see("new") is None
    ticker.now = ACCEPTED_SECONDS
    assert follower.see("new") == "new"
    ticker.now *= 2
    assert follower.see("new") is None


def test_a_second_rotation_begins_the_wait_anew(ticker: Ticker) -> None:
    follower = Follower("old", clock=ticker)
    follower.see("first")
    ticker.now = ACCEPTED_SECONDS

    assert follower.see("second") is None
    ticker.now += ACCEPTED_SECONDS
    assert follower.see("second") == "second"


def test_the_secret_is_watched_whatever_stands_in_it(
    aws: Backend, secret_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "ACCEPTED_SECONDS", 0.0)
    monkeypatch.setattr(rotation, "POLL_SECONDS", 0.01)
    client, urls = aws.client("secretsmanager"), Queue[str]()

    with following(aws, secret_arn, "http://front/webhooks/old", urls.put):
        for text in ("no json", "[]", json.dumps({"webhookToken": "new"})):
            client.put_secret_value(SecretId=secret_arn, SecretString=text)

        assert urls.get(timeout=60) == "http://front/webhooks/new"
