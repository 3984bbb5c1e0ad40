"""The program as others run it: its exit status, its streams, and signals."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli import REPOSITORY
from cli.target import Target
from tests.pipeline.driver import body, new_id


def start(state_file: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "--state", str(state_file), *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )


def test_ctrl_c_ends_with_its_status_and_no_trace(state_file: Path, target: Target) -> None:
    job_id = new_id("waiting")
    now = "2026-01-01T00:00:00.000Z"
    texts = {"jobId": job_id, "status": "SUBMITTED", "createdAt": now, "updatedAt": now}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )
    program = start(state_file, "watch", job_id)
    assert program.stdout is not None
    assert job_id in program.stdout.readline()

    program.send_signal(signal.SIGINT)
    _, stderr = program.communicate(timeout=20)

    assert program.returncode == 130
    assert "Traceback" not in stderr


@pytest.mark.parametrize("arguments", [["list", "--json"], ["list"]])
def test_a_reader_that_has_seen_enough_ends_it_quietly(
    state_file: Path, target: Target, arguments: list[str]
) -> None:
    now = "2026-01-01T00:00:00.000Z"
    for number in range(100):
        texts = {"status": "SUBMITTED", "createdAt": now, "updatedAt": now, "note": "x" * 2000}
        texts["jobId"] = f"pipe-{number}"
        item = {name: {"S": text} for name, text in texts.items()}
        target.dynamodb.put_item(TableName=target.jobs_table, Item=item)
    with start(state_file, *arguments) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        stderr = program.stderr.read()

    assert program.returncode == 141
    assert stderr == ""


def test_a_result_is_alone_on_standard_output(state_file: Path, tmp_path: Path) -> None:
    job_id = new_id("alone")
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join([json.dumps(body(job_id))] * 2))

    program = start(state_file, "submit", str(path), "--json")
    stdout, stderr = program.communicate(timeout=30)

    assert program.returncode == 0
    assert json.loads(stdout)["jobId"] == job_id
    assert "1 repetition" in stderr
    assert "\x1b" not in stdout + stderr


def test_a_file_gets_the_result_while_a_terminal_shows_the_progress(
    state_file: Path, tmp_path: Path
) -> None:
    job_id = new_id("filed")
    path = tmp_path / "d.json"
    path.write_text(json.dumps(body(job_id)))
    ours, theirs = pty.openpty()

    program = subprocess.run(
        [sys.executable, "-m", "cli", "--state", str(state_file), "submit", str(path), "--json"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
        check=True,
        timeout=60,
    )
    os.close(theirs)
    os.close(ours)

    assert json.loads(program.stdout)["jobId"] == job_id


def test_an_unknown_option_is_a_mistake_of_the_user(state_file: Path) -> None:
    program = start(state_file, "list", "--colour", "red")
    program.communicate(timeout=20)

    assert program.returncode == 2
