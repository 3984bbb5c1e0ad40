"""The command as it is installed, and its options before and after the sub-command."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import REPOSITORY
from cli.__main__ import app
from cli.commands import options
from cli.target import Target
from tests.cli.conftest import Cli
from tests.cli.test_jobs import put
from tests.pipeline.driver import new_id

BIN = Path(sys.executable).parent
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


def test_make_setup_installs_the_command(state_file: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        return subprocess.run(
            [BIN / "reportflow", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert run("--version") == f"reportflow {VERSION}\n"
    assert run("list", "--state", str(state_file), "--limit", "1", "--json").count("\n") <= 1


def test_a_wheel_has_all_that_the_commands_need(tmp_path: Path) -> None:
    subprocess.run(
        [BIN / "uv", "build", "--quiet", "--offline", "--wheel", "-o", tmp_path, REPOSITORY],
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--version").stdout == f"reportflow {VERSION}\n"
    assert "ReportFlow refuses" in run("dlq", "explain", "HTTP_404").stdout
    assert run("schema", "pdf-failed").returncode == 0
    assert "There is no state.json" in run("--local", "doctor").stderr
    program = "import cli.checks, reportflow; print(cli.__file__, reportflow.__file__)"
    where = subprocess.check_output(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, text=True
    )
    assert where.count(str(installed)) == 2


@pytest.mark.parametrize("command", [["list", "--limit", "1"], ["dlq", "explain"], ["doctor"]])
def test_the_deployment_may_be_named_after_the_command(
    state_file: Path, aws_environment: dict[str, str | None], command: list[str]
) -> None:
    here = Cli([], aws_environment)(*command, "--state", str(state_file), "--json")
    there = Cli([], aws_environment)(*command, "--prefix", "Nowhere", "--region", "eu-west-1")

    assert here.exit_code in {0, 1}
    assert "There is no stack Nowhere-Storage in eu-west-1" in there.stderr


def test_the_option_after_the_command_counts_more(state_file: Path) -> None:
    result = Cli(["--state", "absent.json"], {})("list", "--limit", "1", "--state", str(state_file))

    assert result.exit_code == 0


def test_a_group_takes_the_options_too(state_file: Path) -> None:
    assert Cli([], {})("dlq", "--state", str(state_file), "list").exit_code in {0, 1}


def test_a_status_given_as_the_state_file_is_explained(target: Target) -> None:
    result = Cli([], {})("list", "--state", "FAILED")

    assert result.exit_code == 2
    assert "--status FAILED" in " ".join(result.stderr.split())


def completed(words: str, **environment: str) -> list[str]:
    """What the shell offers for the last word."""
    typed = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), **environment}
    program = subprocess.run(
        [BIN / "reportflow"],
        env={**os.environ, "_REPORTFLOW_COMPLETE": "complete_bash", **typed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert program.stderr == ""
    return program.stdout.split()


def test_the_shell_completes_sub_commands() -> None:
    assert completed("reportflow dlq re") == ["redrive"]


@pytest.mark.parametrize("command", ["status", "dlq show", "dlq edit", "list --after"])
def test_the_shell_completes_job_ids(
    target: Target, state_file: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "COMPLETION_SECONDS", 60)
    job_id = new_id("tab")
    put(target, job_id, "SUBMITTED", timedelta())
    words = f"reportflow --state {state_file} {command} {job_id[:-1]}"
    typed = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}

    offered = CliRunner().invoke(
        app,
        [],
        prog_name="reportflow",
        env={"_REPORTFLOW_COMPLETE": "complete_bash", **typed},
    )

    assert offered.stdout.split() == [job_id]


def test_the_shell_is_never_asked_for_a_code(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nregion = eu-west-1\nrole_arn = arn:aws:iam::111122223333:role/r\n"
        "source_profile = keys\nmfa_serial = arn:aws:iam::111122223333:mfa/me\n"
        "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )

    assert completed("reportflow --aws status a", AWS_CONFIG_FILE=str(config)) == []


@pytest.mark.parametrize("chosen", ["--state absent.json", "--local --aws", "--prefix Nowhere"])
def test_the_shell_completes_silently_nothing_if_it_cannot(chosen: str) -> None:
    assert completed(f"reportflow {chosen} status a") == []


def commands() -> list[list[str]]:
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    return [
        [*path, command.name or ""]
        for path, of in [([], app), *(([str(name)], of) for name, of in groups.items() if of)]
        for command in of.registered_commands
    ]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_help_has_an_example_that_the_command_takes(command: list[str]) -> None:
    screen: dict[str, str | None] = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}

    shown = Cli([], screen)(*command, "--help").stdout

    [example] = re.findall(r"Example: (.*)", shown)
    assert f"reportflow {' '.join(command)}" in example
    for part in re.split(r" \| | && ", example.strip()):
        words = shlex.split(part.partition(" > ")[0])
        assert words[0] == "reportflow"
        options = {word for word in words if word.startswith("--")}
        assert all(option in Cli([], screen)(*command, "--help").stdout for option in options)
