"""Functions are killed, webhooks forged, and programs stopped: nothing is left without an end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests

from cli.commands.keys import key_mistake
from local.emulator import Contract, Emulator, EmulatorSettings
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import Slow
from local.paths import REPOSITORY
from local.state_file import owned
from local.system import APP_KEYS, System
from reportflow.contract import CONTRACTS
from tests.pipeline.driver import Driver, body, descendants, new_id, until


@pytest.fixture
def slow(system: System) -> Iterator[None]:
    """ReportFlow takes a second for each call: time enough to be killed in mid-batch."""
    assert system.emulator is not None
    system.emulator.faults.replace(
        [
            Fault(call=call, fault=Slow(seconds=1), times=None)
            for call in (Call.SUBMIT, Call.DOWNLOAD)
        ]
    )
    yield
    system.emulator.faults.replace([])


def _pool(system: System, name: str) -> str:
    return next(function for function in system.pools if name in function.lower())


@pytest.mark.parametrize(
    ("function", "status_before"), [("submitter", "SUBMITTING"), ("downloader", "SUBMITTED")]
)
@pytest.mark.usefixtures("slow")
def test_function_killed_in_mid_batch_leaves_no_job_without_an_end(
    system: System, driver: Driver, function: str, status_before: str
) -> None:
    pool = system.pools[_pool(system, function)]
    job_ids = [new_id("killed") for _ in range(10)]
    for job_id in job_ids:
        driver.send(body(job_id))

    def in_flight() -> bool | None:
        jobs = [driver.job(job_id) for job_id in job_ids]
        return any(job and job["status"] == status_before for job in jobs) or None

    until(in_flight, 60, f"a job is {status_before}")
    for pid in pool.pids():
        os.kill(pid, signal.SIGKILL)

    ended = [driver.ended(job_id, 240) for job_id in job_ids]

    assert {job["status"] for job in ended} == {"ARCHIVED"}


type Program = tuple[subprocess.Popen[str], Path]


@contextmanager
def _up(folder: Path, *options: str) -> Iterator[Program]:
    """`reportflow local up`, started as a person would."""
    state = folder / "state.json"
    command = [
        sys.executable,
        "-m",
        "cli",
        "local",
        "up",
        "--state",
        str(state),
        "--workspace-id",
        "ws_1",
    ]
    with subprocess.Popen(
        [*command, "--workspace-id", "ws_1", *options],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process, state
        process.kill()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with _up(tmp_path) as program:
        yield program


def _until_ready(process: subprocess.Popen[str], path: Path) -> None:
    until(lambda: path.exists() or process.poll() is not None or None, 180, "the state file")
    assert process.poll() is None, process.stderr and process.stderr.read()


@pytest.mark.slow  # test_walkthrough.py does the same with Ctrl-C
def test_up_is_driven_by_its_state_file_and_leaves_nothing_running(
    program: Program,
) -> None:
    process, path = program
    _until_ready(process, path)
    driver = Driver(json.loads(path.read_text()))
    job_id = new_id("driven")
    driver.send(body(job_id))

    assert driver.ended(job_id)["status"] == "ARCHIVED"

    driver.close()
    children = descendants(process.pid)
    process.terminate()
    assert process.wait(120) == 0
    alive = {child for child in children if Path(f"/proc/{child}").exists()}
    assert children
    assert not alive
    assert not path.exists()


@pytest.mark.slow
def test_up_takes_the_one_key_of_central_and_another_reportflow(tmp_path: Path) -> None:
    theirs = EmulatorSettings(
        contract=Contract.CENTRAL, workspace_id="ws_1", app_key="ak_theirs", secret_key="unused"
    )
    with Emulator(theirs) as emulator:
        options = ("--set", "contract=central", "--app-key", "ak_theirs")
        with _up(tmp_path, *options, "--reportflow-url", emulator.url) as (process, path):
            _until_ready(process, path)
            state = json.loads(path.read_text())
            emulator.webhook_url = state["webhook_url"]
            with closing(Driver(state)) as driver:
                job_id = new_id("central")
                driver.send(body(job_id))

                assert driver.ended(job_id)["status"] == "ARCHIVED"

    assert state["contract"] == "central"
    [file] = emulator.files()
    assert [attempt.status for attempt in file.webhooks] == [200]


@pytest.mark.parametrize("contract", Contract)
def test_set_keys_takes_the_emulators_key_again(contract: Contract) -> None:
    assert not key_mistake(CONTRACTS[contract], APP_KEYS[contract])


def test_up_reports_all_wrong_settings_and_starts_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    wrong = ["--set", "max_file_mb=many", "--set", "request_batch_sise=3"]
    done = subprocess.run(
        [sys.executable, "-m", "cli", "local", "up", "--state", str(state), *wrong],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 2
    assert "max_file_mb" in done.stderr
    assert "request_batch_size" in done.stderr
    assert "Traceback" not in done.stderr
    assert not state.exists()


def test_a_second_up_with_the_same_state_file_names_the_first_and_leaves_it_alone(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state.json"
    text = '{"aws_endpoint_url": "of the first"}'
    with owned(state):
        state.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "cli", "local", "up", "--state", str(state)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

        assert done.returncode == 2
        assert f"Process {os.getpid()}" in done.stderr
        assert "Traceback" not in done.stderr
        assert state.read_text() == text


@pytest.mark.slow
def test_after_a_rotation_the_emulator_and_the_state_file_have_the_new_url(
    program: Program,
) -> None:
    process, path = program
    _until_ready(process, path)
    state = json.loads(path.read_text())

    for options in ([], ["--finish", "--yes"]):
        subprocess.run(
            [
                *(sys.executable, "-m", "cli", "--state", str(path)),
                *("rotate-webhook-secret", *options),
            ],
            cwd=REPOSITORY,
            check=True,
            timeout=120,
        )

    def new_url() -> str | None:
        url: str = json.loads(path.read_text())["webhook_url"]
        return url if url != state["webhook_url"] else None

    url = until(new_url, 60, "the new URL in the state file")
    origin = state["reportflow_url"].removesuffix("/v1")
    assert requests.get(f"{origin}/_emulator/webhook", timeout=60).json() == {"url": url}
    assert requests.post(url, json={"event": "of nothing"}, timeout=60).status_code == 200
