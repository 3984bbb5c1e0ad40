"""A few thousand jobs among everything that can go wrong; and a seed always gives one story."""

import os
import subprocess
import sys

import pytest

from local.paths import REPOSITORY
from tests.simulation.program import replay_command, run_seeds
from tests.simulation.run import simulate

SEEDS = 20
JOBS = 40


@pytest.mark.parametrize(
    "first", [0, 20, 40, *(pytest.param(first, marks=pytest.mark.slow) for first in (60, 80))]
)
def test_nothing_is_lost_or_doubled(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = range(first, first + SEEDS)
    summary = run_seeds(seeds, JOBS)
    with capsys.disabled():
        print(
            f"\nseeds {seeds[0]} to {seeds[-1]}: {summary.jobs} jobs, "
            f"{summary.faults.total()} faults, {summary.violations} violations"
        )
    assert {replay_command(seed, JOBS): why for seed, why in summary.broken.items()} == {}


def test_a_seed_has_the_same_story_in_another_process() -> None:
    story = simulate(7, 10, listening=True).story
    replayed = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--replay", "7", "--jobs", "10"],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        text=True,
    )
    assert replayed.stdout.splitlines() == list(story), replayed.stderr
