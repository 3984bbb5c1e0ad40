"""`watch` on a terminal: totals, rate, and unfinished jobs first."""

import os
import pty
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from cli import REPOSITORY
from cli.commands.watch import progress_line, unfinished_first
from cli.target import Target
from tests.cli.conftest import Cli
from tests.cli.test_jobs import put
from tests.pipeline.driver import new_id


def test_the_rate_and_the_remaining_time_are_of_this_run() -> None:
    before, now = Counter(ARCHIVED=40), Counter(ARCHIVED=58, FAILED=2, SUBMITTED=7)

    line = progress_line(100, before, now, timedelta(minutes=2))

    assert line == "60 of 100 jobs finished: 58 archived, 2 failed. 10 a minute, about 4m left."


def test_nothing_is_guessed_before_a_job_has_finished() -> None:
    start = Counter[str]()
    later = timedelta(seconds=9)

    assert progress_line(1, start, start, later) == "0 of 1 job finished: 0 archived, 0 failed."
    assert "left" not in progress_line(1, start, Counter(ARCHIVED=1), later)


def test_unfinished_jobs_are_first_and_archived_ones_last() -> None:
    known = {
        name: {"status": status}
        for name, status in (("a", "ARCHIVED"), ("f", "FAILED"), ("s", "SUBMITTED"))
    }

    assert unfinished_first(["a", "f", "none", "s"], known) == ["none", "s", "f", "a"]


def test_without_a_terminal_a_summary_ends_it(cli: Cli, target: Target) -> None:
    job_id = new_id("done")
    put(target, job_id, "ARCHIVED", timedelta())

    assert "1 archived in " in cli("watch", job_id).stderr
    assert cli("watch", job_id, "--json").stderr == ""


def test_a_terminal_shows_the_totals_and_as_many_jobs_as_fit(
    target: Target, state_file: Path
) -> None:
    names = [new_id(f"row-{number}") for number in range(12)]
    for name in names:
        put(target, name, "SUBMITTED", timedelta())
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "cli", "watch", "--state", state_file, "--timeout", "1s", *names],
        cwd=REPOSITORY,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "LINES": "10", "COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while read := os.read(ours, 65536):
            shown += read
    os.close(ours)

    assert program.wait(30) == 1
    assert b"0 of 12 jobs finished: 0 archived, 0 failed." in shown
    assert b"and 6 more" in shown
