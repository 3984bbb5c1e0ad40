"""The commands against a running system, and against queues that no function consumes."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.client import BaseClient
from typer.testing import CliRunner, Result

from cli import dead_letters
from cli.__main__ import app
from cli.dead_letters import DeadLetters, QueueName
from cli.target import Choice, Target
from local.backend import Backend
from local.system import Options, System, run
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.driver import Driver, body

QUEUES = ("request_queue_url", "request_dlq_url", "download_queue_url", "download_dlq_url")


type Send = Callable[..., str]
type Answer = dict[str, Any]
type Alter = Callable[[Callable[[str, Answer], None]], None]


@dataclass(frozen=True)
class Cli:
    """Runs a command in this process, against one system."""

    options: Sequence[str]
    environment: dict[str, str | None]

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(
            app, [*self.options, *arguments], input=stdin, env=self.environment
        )

    def json(self, *arguments: str, stdin: str | bytes | None = None) -> list[dict[str, Any]]:
        """The lines of `--json`, whatever the status."""
        result = self(*arguments, "--json", stdin=stdin)
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(autouse=True)
def _believing(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto's counts are right at once, and its empty answer means an empty queue."""
    monkeypatch.setattr(dead_letters, "BELIEVED_SECONDS", 0.2)
    monkeypatch.setattr(dead_letters, "WAIT_SECONDS", 0)


@pytest.fixture(scope="session")
def running() -> Iterator[System]:
    with run(Options(settings=SETTINGS), print) as system:
        yield system


@pytest.fixture(scope="session")
def state_file(running: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "state.json"
    running.state.write(path)
    return path


def changed(state_file: Path, folder: Path, **changes: object) -> Path:
    """The state file of a system of which something is otherwise."""
    path = folder / "state.json"
    path.write_text(json.dumps(json.loads(state_file.read_text()) | changes))
    return path


def by_central(state_file: Path, folder: Path) -> Path:
    """The state file of a system that speaks `central`."""
    settings = json.loads(state_file.read_text())["settings"]
    return changed(state_file, folder, settings=settings | {"CONTRACT": "central"})


@pytest.fixture(scope="session")
def cli(state_file: Path) -> Cli:
    return Cli(["--state", str(state_file)], {})


@pytest.fixture(scope="session")
def target(state_file: Path) -> Target:
    return Choice(local=True, state=state_file).find()


@pytest.fixture(scope="session")
def driver(running: System) -> Iterator[Driver]:
    with closing(Driver(asdict(running.state))) as driver:
        yield driver


@pytest.fixture
def still(target: Target) -> Iterator[Target]:
    """The system with queues of its own that nobody consumes."""
    urls: dict[str, Any] = {
        name: target.sqs.create_queue(QueueName=f"{name}-{uuid4().hex[:8]}")["QueueUrl"]
        for name in QUEUES
    }
    yield replace(target, **urls)
    for url in urls.values():
        target.sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def still_cli(still: Target, state_file: Path, tmp_path: Path) -> Cli:
    urls = {name: getattr(still, name) for name in QUEUES}
    return Cli(["--state", str(changed(state_file, tmp_path, **urls))], {})


@pytest.fixture
def requests(still: Target) -> DeadLetters:
    return DeadLetters(still, QueueName.REQUESTS)


@pytest.fixture(scope="session")
def aws_environment(running: System) -> dict[str, str | None]:
    """What points an AWS SDK at the emulated account."""
    return {**running.backend.environment, "AWS_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="session")
def backend(running: System) -> Backend:
    return running.backend


@pytest.fixture
def downloads(still: Target) -> DeadLetters:
    return DeadLetters(still, QueueName.DOWNLOADS)


@pytest.fixture
def send(still: Target) -> Send:
    """Puts a dead letter into the dead-letter queue of the requests; its message id."""

    def put(job_id: str | None, code: str | None = "HTTP_500", text: str | None = None) -> str:
        said = {"jobId": job_id, "errorCode": code, "tenant": "acme"}
        attributes: Any = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in said.items()
            if value is not None
        }
        attributes["trace"] = {"DataType": "Binary", "BinaryValue": b"\x00\x01"}
        return still.sqs.send_message(
            QueueUrl=still.request_dlq_url,
            MessageBody=text or json.dumps(body(job_id)),
            MessageAttributes=attributes,
        )["MessageId"]

    return put


@pytest.fixture
def alter(monkeypatch: pytest.MonkeyPatch) -> Alter:
    """Changes what AWS answers: the given function changes each operation's answer in place."""
    ask = BaseClient._make_api_call  # type: ignore[attr-defined]  # the stubs name public ones only

    def begin(change: Callable[[str, Answer], None]) -> None:
        def asked(client: BaseClient, operation: str, params: dict[str, Any]) -> Answer:
            answer: Answer = ask(client, operation, params)
            change(operation, answer)
            return answer

        monkeypatch.setattr(BaseClient, "_make_api_call", asked)

    return begin


def failed(target: Target, job_id: str, **fields: str) -> None:
    texts = {"jobId": job_id, "status": "FAILED", **fields}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )
