import importlib
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError
from botocore.session import Session
from msgspec.structs import fields

from local.backend import Backend
from local.emulator import Emulator
from reportflow import aws as clients
from reportflow.settings import (
    DownloaderSettings,
    FunctionSettings,
    InvalidEnvironment,
    SubmitterSettings,
    WebhookSettings,
)
from stacks.settings import DeploymentSettings
from tests.unit.emulator_client import body, made, wait_until
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import APP_KEY, SECRET_KEY, TOKEN, webhook_body

FUNCTIONS = Path(__file__).parents[2] / "functions"
READ: Mapping[str, type[FunctionSettings]] = {
    "submitter": SubmitterSettings,
    "webhook": WebhookSettings,
    "downloader": DownloaderSettings,
}

type Items = Callable[[str], dict[str, str]]


@dataclass(frozen=True)
class LambdaContext:
    aws_request_id: str = "request-1"
    milliseconds: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


@dataclass
class Asked:
    """The clients that were made, the operations that were called, and one that AWS refuses."""

    clients: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    unreachable: str = ""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    record = Asked()
    made: list[BaseClient] = []
    make = Session.create_client
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # the stubs name public ones only

    def making(session: Session, service: str, **options: Any) -> BaseClient:
        record.clients.append(service)
        made.append(make(session, service, **options))
        return made[-1]

    def calling(client: BaseClient, operation: str, parameters: Any) -> Any:
        # Another test's system in this process may still call AWS, by clients that it made before.
        if any(client is each for each in made):
            record.calls.append(operation)
        if operation == record.unreachable:
            raise EndpointConnectionError(endpoint_url=client.meta.endpoint_url)
        return call(client, operation, parameters)

    monkeypatch.setattr(Session, "create_client", making)
    monkeypatch.setattr(BaseClient, "_make_api_call", calling)
    return record


def load(name: str) -> ModuleType:
    """The function's module, executed anew as at a cold start."""
    path = FUNCTIONS / name / "handler.py"
    spec = importlib.util.spec_from_file_location(f"{name}_handler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke(name: str, event: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = load(name).handler(event, LambdaContext())
    return answer


@pytest.fixture
def _cold_clients() -> Iterator[None]:
    """The process's AWS clients are made anew, from the environment of the test."""
    importlib.reload(clients)
    yield
    importlib.reload(clients)


@pytest.fixture
def _environment(
    _cold_clients: None,
    aws: Backend,
    table_name: str,
    event_bus: str,
    queues: QueuePair,
    bucket: str,
    secret_arn: str,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the template gives the functions; one pair of queues serves both."""
    settings = DeploymentSettings(
        workspace_id="acme",
        reportflow_url=emulator.url,
        reportflow_files_url=emulator.url.removesuffix("/v1"),
        max_attempts=3,
        max_file_mb=10,
    )
    resources = {
        "jobs_table": table_name,
        "event_bus": event_bus,
        "request_queue_url": queues.url,
        "request_dlq_url": queues.dlq_url,
        "download_queue_url": queues.url,
        "download_dlq_url": queues.dlq_url,
        "secret_arn": secret_arn,
        "archive_bucket": bucket,
    }
    values = dict(aws.environment)
    for read in READ.values():
        values |= settings.variables(read, resources)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def webhook_event(content: object, token: str = TOKEN) -> dict[str, Any]:
    return {
        "requestContext": {"http": {"method": "POST"}},
        "pathParameters": {"token": token},
        "body": json.dumps(content),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("name", READ)
def test_a_cold_start_survives_an_environment_that_lacks_anything(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(load(name).handler)
    assert "InvalidEnvironment" in str([vars(record) for record in caplog.records])


@pytest.mark.parametrize("name", READ)
def test_an_environment_that_lacks_anything_is_reported_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = [each.name.upper() for each in fields(READ[name])]
    for variable in needs:
        monkeypatch.delenv(variable, raising=False)
    event = webhook_event({}) if name == "webhook" else {"Records": []}

    with pytest.raises(InvalidEnvironment) as invalid:
        invoke(name, event)
    said = str(invalid.value)
    assert [variable for variable in needs if f"{variable} is missing" not in said] == []
    assert said.count("is missing") == len(needs)


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("submitter", {"dynamodb", "sqs", "secretsmanager"}),
        ("webhook", {"sqs", "secretsmanager"}),
        ("downloader", {"dynamodb", "sqs", "secretsmanager", "s3", "events"}),
    ],
)
def test_a_cold_start_makes_the_clients_and_reads_the_secret(
    name: str, needed: set[str], asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    load(name)

    assert asked.calls == ["GetSecretValue"]
    assert sorted(asked.clients) == sorted(needed)
    assert not caplog.records


@pytest.mark.usefixtures("_environment")
def test_a_pdf_costs_eleven_calls_besides_its_slots(
    asked: Asked, queues: QueuePair, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # When threads ask decides how many share a write of the rate limit: `test_slots` counts them.
    monkeypatch.setenv("REPORTFLOW_REQUESTS_PER_MINUTE", "0")
    monkeypatch.setenv("CHECK_DELAY_SECONDS", "0")
    functions = {name: load(name) for name in READ}
    calls = {name: Counter[str]() for name in READ}

    def run(name: str, event: dict[str, Any]) -> dict[str, Any]:
        asked.calls.clear()
        answered: dict[str, Any] = functions[name].handler(event, LambdaContext())
        calls[name].update(asked.calls)
        return answered

    for number in range(10):
        queues.send(json.dumps({**body(), "jobId": f"job-{number}"}))
    assert run("submitter", queues.receive_event()) == {"batchItemFailures": []}
    checks = queues.receive_event()
    wait_until(lambda: all(file.sha256 for file in emulator.files()))
    for file in emulator.files():
        named = {"fileId": file.file_id, "uuid": file.uuid, **body()["content"]}
        announced = webhook_body(designId=body()["designId"], files=[named])
        assert run("webhook", webhook_event(announced))["statusCode"] == 200
    webhooks = queues.receive_event()
    for number in (0, 5):
        batch = {"Records": webhooks["Records"][number : number + 5]}
        assert run("downloader", batch) == {"batchItemFailures": []}
    for number in (0, 5):
        batch = {"Records": checks["Records"][number : number + 5]}
        assert run("downloader", batch) == {"batchItemFailures": []}

    # Its claim, its 202 and its check.
    assert calls["submitter"].total() <= 3 * 10, calls
    assert calls["webhook"].total() == 10, calls
    # Its file's job by the index and in the table, the archive, two writes and the event; and, for
    # the check, its record.
    assert calls["downloader"].total() == 7 * 10, calls


@pytest.mark.usefixtures("_environment")
def test_an_outage_of_secrets_manager_during_the_cold_start_ends_with_it(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    event = webhook_event(webhook_body())
    asked.unreachable = "GetSecretValue"
    webhook = load("webhook")
    assert webhook.handler(event, LambdaContext())["statusCode"] == 503

    asked.unreachable = ""

    assert webhook.handler(event, LambdaContext())["statusCode"] == 200
    logged = [vars(record) for record in caplog.records]
    assert logged[0]["message"] == "not ready before the first event"
    assert logged[0]["error_code"] == "AWS_UNREACHABLE"


@pytest.mark.usefixtures("_environment")
def test_the_three_functions_bring_a_message_to_the_archive(
    queues: QueuePair,
    emulator: Emulator,
    aws: Backend,
    bucket: str,
    item: Items,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = {**body("請求書.pdf", customerName="秘密商事"), "jobId": "job-1"}
    queues.send(json.dumps(message, ensure_ascii=False))
    event = queues.receive_event()
    assert invoke("submitter", event) == {"batchItemFailures": []}

    file = made(emulator)
    named = {"fileId": file.file_id, "uuid": file.uuid, **message["content"]}
    announced = webhook_body(designId=message["designId"], files=[named])
    answer = invoke("webhook", webhook_event(announced))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"received": True})

    assert invoke("downloader", queues.receive_event()) == {"batchItemFailures": []}

    job = item("job-1")
    pdf = aws.client("s3").get_object(Bucket=bucket, Key=job["archiveKey"])["Body"].read()
    assert job["status"] == "ARCHIVED"
    assert job["sha256"] == file.sha256
    assert pdf.startswith(b"%PDF-")
    written = capsys.readouterr().out + "".join(str(vars(record)) for record in caplog.records)
    assert "job-1" in written
    assert not [word for word in (APP_KEY, SECRET_KEY, TOKEN, "秘密") if word in written]


@pytest.mark.usefixtures("_environment")
def test_a_record_that_must_come_again_is_named(queues: QueuePair, emulator: Emulator) -> None:
    emulator.close()
    queues.send(json.dumps(body()))
    event = queues.receive_event()

    (record,) = event["Records"]
    assert invoke("submitter", event) == {
        "batchItemFailures": [{"itemIdentifier": record["messageId"]}]
    }


@pytest.mark.usefixtures("_environment")
def test_an_unauthenticated_caller_gets_a_bland_404_and_is_not_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = invoke("webhook", webhook_event(webhook_body(), token="guessed-token"))

    assert answer["statusCode"] == 404
    assert json.loads(answer["body"]) == {"message": "Not Found"}
    assert "UnknownCaller" in "".join(str(vars(record)) for record in caplog.records)
    assert not [r for r in caplog.records if "guessed-token" in str(vars(r))]


@pytest.mark.usefixtures("_environment")
def test_an_event_of_another_kind_is_received(queues: QueuePair) -> None:
    assert invoke("webhook", webhook_event({"event": "other"}))["statusCode"] == 200
    assert queues.receive() == []


@pytest.mark.usefixtures("_environment")
def test_a_queue_that_does_not_take_the_files_asks_the_sender_to_come_again(
    queues: QueuePair,
) -> None:
    queues.client.delete_queue(QueueUrl=queues.url)

    answer = invoke("webhook", webhook_event(webhook_body()))

    assert answer["statusCode"] == 503
    assert os.environ["DOWNLOAD_QUEUE_URL"] not in answer["body"]


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("name", ["submitter", "webhook", "downloader"])
def test_a_functions_calls_to_aws_fit_into_its_time_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{name.upper()}_TIMEOUT_SECONDS", "4")

    load(name)

    for client in (clients.dynamodb(), clients.sqs(), clients.secretsmanager()):
        config: Any = client.meta.config
        assert config.retries["total_max_attempts"] == 1
        assert 2 * config.connect_timeout + config.read_timeout == pytest.approx(2)
