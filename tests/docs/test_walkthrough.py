"""A reader follows the documents, word by word, on one machine."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.paths import REPOSITORY
from tests.assemblies import JSII_CACHE
from tests.docs.blocks import Block, block
from tests.pipeline.driver import Driver, descendants, new_id, until

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import TargetTypeDef

BIN = Path(sys.executable).parent
START_SECONDS = 180
ACTIVATE = ". .venv/bin/activate\n"


@dataclass(frozen=True)
class Reader:
    """Somebody in a folder like a fresh clone, who types what the documents say."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Without the AWS account of the person who runs the tests."""
        path = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.folder), **JSII_CACHE}

    def types(self, block: Block) -> str:
        """What the block's commands print, standard error included."""
        # The tests have the environment already.
        text = block.text.replace(ACTIVATE, "")
        return subprocess.run(
            ["/bin/sh", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    def state(self) -> dict[str, Any] | None:
        """The running system's state file."""
        path = self.folder / "state.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    reader = Reader(tmp_path_factory.mktemp("clone"))
    (reader.folder / ".venv").symlink_to(BIN.parent)
    return reader


@pytest.fixture(scope="module")
def system(reader: Reader) -> Iterator[subprocess.Popen[bytes]]:
    """The program that runs the system, once it is ready."""
    command = block("README.md", ".venv/bin/reportflow local up").text.split()
    with subprocess.Popen(command, cwd=reader.folder, env=reader.environment) as up:
        try:
            until(partial(_ready, up, reader), START_SECONDS, "the system's state file")
            yield up
        finally:
            up.send_signal(signal.SIGINT)
            up.wait()


def _ready(up: subprocess.Popen[bytes], reader: Reader) -> dict[str, Any] | None:
    assert up.poll() is None, "the system did not start"
    return reader.state()


@pytest.fixture(scope="module")
def driver(system: subprocess.Popen[bytes], reader: Reader) -> Iterator[Driver]:
    state = reader.state()
    assert state
    driver = Driver(state)
    yield driver
    driver.close()


@pytest.fixture
def _as_documented(reader: Reader, monkeypatch: pytest.MonkeyPatch, driver: Driver) -> None:
    """The AWS SDK finds the local system by the variables that receive.md sets."""
    exports = block("docs/receive.md", "setting()").text
    script = (
        f"{exports}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    printed = reader.types(Block("", 0, "sh", script))
    for name, value in json.loads(printed).items():
        if name.startswith("AWS_") or name == "REQUEST_QUEUE_URL":
            monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("system")
def test_the_readmes_first_job_and_its_failed_one(reader: Reader) -> None:
    (reader.folder / "one.json").write_text(block("README.md", '{\n  "jobId"').text)

    sent = reader.types(block("README.md", ". .venv/bin/activate\nreportflow submit"))
    assert "invoice-2024-001 ARCHIVED" in sent
    assert (reader.folder / "invoice-2024-001.pdf").read_bytes().startswith(b"%PDF-")

    failed = reader.types(block("README.md", "sed 's/-001/-002/; "))
    assert "invoice-2024-002 FAILED HTTP_404" in failed
    assert "reportflow dlq edit invoice-2024-002" in failed

    corrected = reader.types(block("README.md", "sed 's/-001/-002/' "))
    assert "invoice-2024-002 ARCHIVED" in corrected
    assert "0 dead letters" in corrected


@pytest.mark.slow
def test_the_readmes_demo_ends_as_it_must() -> None:
    [program, verb, *_] = block("README.md", "make demo").text.split()
    command = ["/usr/bin/env", program, "--silent", "--old-file=.venv/installed", verb]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    assert "23 archived, 2 in a dead-letter queue." in done.stdout


@pytest.fixture
def events_queue(driver: Driver) -> Iterator[str]:
    """A queue with the rule of receive.md, made as its commands make it."""
    url = driver.sqs.create_queue(QueueName=new_id("finished"))["QueueUrl"]
    arn = driver.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    rule, bus = new_id("finished-pdfs"), driver.state["event_bus"]
    [pattern] = [
        line.split("'")[1]
        for line in block("docs/receive.md", "bus=").text.splitlines()
        if "--event-pattern" in line
    ]
    driver.events.put_rule(Name=rule, EventBusName=bus, EventPattern=pattern)
    target: TargetTypeDef = {"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}
    driver.events.put_targets(Rule=rule, EventBusName=bus, Targets=[target])
    yield url
    driver.events.remove_targets(Rule=rule, EventBusName=bus, Ids=["queue"])


@pytest.mark.usefixtures("_as_documented")
def test_the_readmes_ten_lines_send_and_receive(
    events_queue: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    message = json.loads(block("README.md", '{\n  "jobId"').text) | {"jobId": new_id("sample")}
    Path("one.json").write_text(json.dumps(message))
    names = {"REQUEST_QUEUE_URL": os.environ["REQUEST_QUEUE_URL"], "EVENTS_QUEUE_URL": events_queue}

    def printed() -> str | None:
        # To run it again sends the same job, which makes no second PDF and no second event.
        run(block("README.md", "import json, pathlib, boto3"), dict(names))
        return capsys.readouterr().out or None

    event = until(printed, 120, "the job's event")
    assert event.startswith(f"PDF Archived {message['jobId']} {message['designId']}/")


@pytest.mark.usefixtures("_as_documented")
def test_the_python_sample_sends_a_job(driver: Driver) -> None:
    sample = block("docs/send.md", "import json\n\nimport boto3\n\nmessage")

    run(sample, {"REQUEST_QUEUE_URL": os.environ["REQUEST_QUEUE_URL"]})

    [job_id] = [each for each in sample.text.split('"') if each.startswith("invoice-")]
    assert driver.ended(job_id)["status"] == "ARCHIVED"


@pytest.mark.usefixtures("_as_documented")
def test_the_lambda_sample_reads_both_events(
    driver: Driver, events_queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = json.loads(block("README.md", '{\n  "jobId"').text)
    good, bad = new_id("good"), new_id("bad")
    driver.send(message | {"jobId": good})
    driver.send(message | {"jobId": bad, "designId": "unknown"})
    names = run(block("docs/receive.md", "import json\n\nimport boto3\n\ns3"), {})

    def both() -> list[str] | None:
        received = boto3.client("sqs").receive_message(QueueUrl=events_queue, WaitTimeSeconds=1)
        for record in received.get("Messages", []):
            names["handler"]({"Records": [{"body": record["Body"]}]}, None)
            driver.sqs.delete_message(QueueUrl=events_queue, ReceiptHandle=record["ReceiptHandle"])
        printed.extend(capsys.readouterr().out.splitlines())
        return printed if len(printed) == 2 else None

    printed: list[str] = []
    assert sorted(line.split()[:2] for line in until(both, 120, "both events")) == [
        ["archived", good],
        ["failed", bad],
    ]


def test_ctrl_c_ends_the_system_and_leaves_nothing_running(
    system: subprocess.Popen[bytes], reader: Reader
) -> None:
    """The last one here: it stops what the others use."""
    started = descendants(system.pid)
    system.send_signal(signal.SIGINT)

    assert system.wait(120) == 0
    assert started
    assert not {each for each in started if Path(f"/proc/{each}").exists()}
    assert reader.state() is None


def run(sample: Block, names: dict[str, Any]) -> dict[str, Any]:
    """Run a sample with what its reader fills in; the names that it defines."""
    exec(compile(sample.text, str(REPOSITORY / sample.page), "exec"), names)  # noqa: S102  (ours)
    return names
