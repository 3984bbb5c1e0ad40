"""Two jobs ask for the same document, and answers get lost: neither adopts the other's file."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from reportflow.jobs import JobStatus
from tests.simulation.faults import Fault
from tests.simulation.run import Change, deliver_calmly
from tests.simulation.test_crash_points import DiesOnce
from tests.simulation.upstream import one_job
from tests.simulation.variants import BROKEN_SEARCH
from tests.simulation.world import World

PAIRS = tuple(
    replace(one_job(f"job-{number:02}-{which}", number), at=number * 20.0 + which * 4.0)
    for number in range(100)
    for which in range(2)
)


def losing_answers(then: Change | None = None) -> Change:
    def begin(world: World) -> AbstractContextManager[object]:
        world.chaos.rates[Fault.LOST_AFTER] = 0.5
        return nullcontext() if then is None else then(world)

    return begin


@pytest.mark.parametrize("seed", range(2))
def test_each_job_of_a_pair_gets_a_file(seed: int) -> None:
    world = deliver_calmly(PAIRS, DiesOnce(), seed=seed, change=losing_answers())

    adopted = sum("webhookAt" in item for item in world.table.items.values())
    assert adopted > 0
    assert world.checker.violations == []
    assert {item["status"]["S"] for item in world.table.items.values()} == {JobStatus.ARCHIVED}


@pytest.mark.slow
def test_the_checker_catches_the_adoption_of_a_file_whose_answer_is_in_flight() -> None:
    caught = (
        violation
        for seed in range(5)
        for violation in deliver_calmly(
            PAIRS, DiesOnce(), seed=seed, change=losing_answers(BROKEN_SEARCH.change)
        ).checker.violations
    )

    assert any("in flight to" in violation for violation in caught)
