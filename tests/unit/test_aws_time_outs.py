"""A call to AWS ends within the time that is kept for it, whatever AWS does."""

import importlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from reportflow import aws
from reportflow.consumer import Invocation
from reportflow.contract.client import SHORTEST_SECONDS
from reportflow.errors import Unavailable
from stacks.setting_types import bounds
from stacks.settings import DeploymentSettings
from tests.unit.deliveries import HalfAMinute

SLACK_SECONDS = 5.0
"""For a machine that is busy with other things."""

CALLS: dict[str, Callable[[Any], object]] = {
    "dynamodb": lambda client: client.describe_table(TableName="jobs"),
    "events": lambda client: client.put_events(Entries=[{"Source": "test"}]),
    "secretsmanager": lambda client: client.get_secret_value(SecretId="secret"),
    "sqs": lambda client: client.send_message(QueueUrl="http://any/queue", MessageBody="text"),
}


@contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A server that takes no connection: its backlog is full, and Linux drops what comes."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        waiting = stack.enter_context(socket.socket())
        waiting.connect(server.getsockname())
        for _ in range(2):
            one_more = stack.enter_context(socket.socket())
            one_more.setblocking(False)  # noqa: FBT003  (the socket's own interface)
            one_more.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture
def _cold_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    importlib.reload(aws)
    yield
    importlib.reload(aws)


def seconds_of(service: str) -> float:
    """How long the process's client of the service takes to give up."""
    client = getattr(aws, service)()
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="AWS_UNREACHABLE"), aws.translated(service):
        CALLS[service](client)
    return time.monotonic() - begun


@pytest.mark.usefixtures("_cold_clients")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("server", [silent, full])
def test_a_call_that_nobody_answers_ends_in_time(
    server: Callable[[], Any], scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS it is the handshake that nobody answers."""
    with server() as port, ThreadPoolExecutor(len(CALLS)) as pool:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{scheme}://127.0.0.1:{port}")
        for service in CALLS:
            getattr(aws, service)()
        longest = max(pool.map(seconds_of, CALLS))

    assert longest < aws.PROMPT_SECONDS + SLACK_SECONDS


@pytest.mark.usefixtures("_cold_clients")
@pytest.mark.parametrize("timeout_seconds", [4, 7.7, 8, 12, 30, 900])
def test_all_tries_of_a_call_fit_into_the_time_it_is_given(timeout_seconds: float) -> None:
    given = aws.call_seconds(timeout_seconds)
    aws.limit_calls(given)

    for service in CALLS:
        config: Any = getattr(aws, service)().meta.config
        tries = config.retries["total_max_attempts"]
        # To connect and for the handshake, or for two addresses. One to connect is not enough.
        each = 2 * config.connect_timeout + config.read_timeout
        # The longest pause before a second try is a second in this mode, and more in the newer.
        assert config.retries["mode"] == "legacy"
        assert tries <= 2
        assert tries * each + (tries - 1) * 1.0 == pytest.approx(given)
        assert tries == (2 if timeout_seconds >= 8 else 1)
        assert config.connect_timeout >= 0.3
        assert config.read_timeout >= 0.7


@pytest.mark.parametrize("name", ["submitter_timeout_seconds", "downloader_timeout_seconds"])
def test_a_call_leaves_time_for_a_request_whatever_the_settings(name: str) -> None:
    for seconds in bounds(DeploymentSettings.model_fields[name]):
        assert seconds - aws.call_seconds(seconds) > SHORTEST_SECONDS


def test_the_time_to_store_an_answer_is_that_of_one_call() -> None:
    invocation = Invocation.of(HalfAMinute())

    assert invocation.store_time == timedelta(seconds=aws.PROMPT_SECONDS)
