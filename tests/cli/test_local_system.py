"""`reportflow local`: the faults of a running emulator, and a system in the background."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local.emulator import Emulator
from local.emulator.fault_plan import FITTING
from local.state_file import owned
from tests.cli.conftest import Cli
from tests.pipeline.driver import until
from tests.unit.emulator_client import FAST, submit
from tests.unit.test_state_file import state

CLI = Cli([], {"COLUMNS": "200"})


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(FAST) as emulator:
        yield emulator


@pytest.fixture
def path(emulator: Emulator, tmp_path: Path) -> Iterator[Path]:
    """The state file of a running system."""
    path = tmp_path / "local.json"
    with owned(path) as file:
        running = replace(state(), pid=os.getpid(), log_folder=str(tmp_path))
        file.write(replace(running, reportflow_url=emulator.url))
        yield path


def test_a_fault_happens_as_often_as_it_was_set(emulator: Emulator, path: Path) -> None:
    arguments = ("submit", "status", "status=503", "--times", "2", "--state", str(path))
    assert "0 of 2" in CLI("local", "fault", "set", *arguments).stdout

    assert [submit(emulator).status_code for _ in range(3)] == [503, 503, 202]

    assert "2 of 2" in CLI("local", "fault", "show", "--state", str(path)).stdout


def test_a_fault_is_set_beside_the_others_until_all_are_cleared(
    emulator: Emulator, path: Path
) -> None:
    own = ("--state", str(path))
    CLI("local", "fault", "set", "submit", "status", "status=500", *own)
    assert submit(emulator).status_code == 500
    of_file = ("--always", "--file-name", "a")
    CLI("local", "fault", "set", "submit", "status", "status=503", *of_file, *own)

    assert [submit(emulator, name).status_code for name in ("a.pdf", "b.pdf")] == [503, 202]

    assert CLI("local", "fault", "clear", *own).exit_code == 0
    assert submit(emulator, "a.pdf").status_code == 202


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("submit status status=many", "Expected `int`"),
        ("submit slow", "seconds"),
        ("submit slow second=1", "second"),
        ("webhook slow seconds=1", "lost, late, repeated, reordered"),
        ("nothing slow seconds=1", "nothing"),
        ("submit nothing", "nothing"),
    ],
)
def test_a_wrong_fault_is_explained(path: Path, words: str, problem: str) -> None:
    done = CLI("local", "fault", "set", *words.split(), "--state", str(path))

    assert done.exit_code == 2
    assert problem in done.stderr
    assert "reportflow local fault list" in done.stderr


def test_each_kind_of_fault_is_listed_with_its_calls() -> None:
    lines = CLI("local", "fault", "list").stdout.splitlines()

    for call, kinds in FITTING.items():
        for kind in kinds:
            [line] = [line for line in lines if line.startswith(f"{kind.__struct_config__.tag} ")]
            assert f" {call} " in line


def test_faults_need_an_emulator(emulator: Emulator, path: Path) -> None:
    emulator.close()

    done = CLI("local", "fault", "show", "--state", str(path))

    assert done.exit_code == 2
    assert "--reportflow-url" in done.stderr


def test_logs_are_shown_with_the_name_of_their_function(path: Path, tmp_path: Path) -> None:
    for name in ("Submitter", "Webhook", "Downloader"):
        (tmp_path / f"ReportFlow-{name}.log").write_text(f"line of {name}\n")
    (tmp_path / "moto.log").write_text("GET /\n")

    lines = CLI("local", "logs", "--state", str(path)).stdout.splitlines()

    assert "webhook: line of Webhook" in lines
    assert not any("moto" in line for line in lines)
    assert CLI("local", "logs", "moto", "--state", str(path)).stdout == "moto: GET /\n"
    assert "nothing" in CLI("local", "logs", "nothing", "--state", str(path)).stderr


def test_status_hides_the_secret(path: Path) -> None:
    shown = CLI("local", "status", "--state", str(path)).stdout

    assert str(os.getpid()) in shown
    assert json.loads(path.read_text())["webhook_url"].rpartition("/")[2] not in shown


@pytest.mark.parametrize("command", ["status", "logs", "fault show"])
def test_without_a_system_the_next_step_is_named(command: str, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.json")

    done = CLI("local", *command.split(), "--state", absent)

    assert done.exit_code == 1
    assert f"reportflow local up --state {absent}" in done.stderr


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_file_that_is_no_state_file_is_left_alone(command: str, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Mine\n")

    done = CLI("local", command, "--state", str(readme))

    assert done.exit_code == 2
    assert "not a state file" in done.stderr
    assert readme.read_text() == "# Mine\n"


def test_an_installation_without_the_repository_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "local.foreground", None)

    done = CLI("local", "up")

    assert done.exit_code == 2
    assert "make setup" in done.stderr


def test_the_state_file_is_named_after_the_command() -> None:
    done = CLI("--state", "other.json", "local", "status")

    assert done.exit_code == 2
    assert "after the command" in done.stderr


@pytest.mark.slow
def test_a_system_in_the_background_is_driven_killed_and_cleaned_up(tmp_path: Path) -> None:
    def reportflow(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("reportflow"), *arguments],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    started = reportflow("local", "up", "--detach")
    try:
        assert started.returncode == 0, started.stderr
        document = next(line for line in started.stderr.splitlines() if "echo" in line)
        sent = reportflow("submit", "-", stdin=document.split("'")[1])
        assert "1 archived" in reportflow("watch", "-", stdin=sent.stdout).stderr
        assert "runs a system" in reportflow("local", "up").stderr

        pid = json.loads((tmp_path / "state.json").read_text())["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: reportflow("local", "status").returncode == 1 or None, 60, "its end")
    finally:
        stopped = reportflow("local", "down")
    assert stopped.returncode == 0
    assert list(tmp_path.iterdir()) == []
