"""Odd answers alone never cost a PDF: each job is submitted once, and gets its own document."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

import pytest

from reportflow.jobs import JobStatus
from tests.simulation.faults import Fault
from tests.simulation.run import deliver_calmly
from tests.simulation.test_crash_points import DiesOnce
from tests.simulation.upstream import one_job
from tests.simulation.variants import BROKEN_SESSIONS, Variant
from tests.simulation.wire import FORGOTTEN_AFTER
from tests.simulation.world import World

JOBS = 60
SOME = tuple(
    replace(one_job(f"job-{number:02}", number), at=number // 3 * (FORGOTTEN_AFTER + 30))
    for number in range(JOBS)
)
"""Three at a time, and long enough apart for a NAT gateway to forget a connection."""


def among(*faults: Fault) -> Callable[[World], AbstractContextManager[object]]:
    def begin(world: World) -> AbstractContextManager[object]:
        world.chaos.rates.update(dict.fromkeys(faults, 0.3))
        return ExitStack()

    return begin


def lost_answers(world: World) -> int:
    return sum("outcomeUnknownAt" in item for item in world.table.items.values())


@pytest.mark.parametrize("seed", range(3))
def test_interim_answers_cost_nothing(seed: int) -> None:
    world = deliver_calmly(SOME, DiesOnce(), seed=seed, change=among(Fault.INTERIM_ANSWER))

    assert world.chaos.counts[Fault.INTERIM_ANSWER] > 0
    assert world.checker.violations == []
    assert {item["status"]["S"] for item in world.table.items.values()} == {JobStatus.ARCHIVED}
    assert len(world.service.documents) == JOBS
    assert lost_answers(world) == 0


@pytest.mark.parametrize("seed", range(3))
def test_what_follows_an_answer_costs_nothing(seed: int) -> None:
    world = deliver_calmly(SOME, DiesOnce(), seed=seed, change=among(Fault.LEFT_OVER))

    assert world.chaos.counts[Fault.LEFT_OVER] > 0
    assert world.checker.violations == []
    assert {item["status"]["S"] for item in world.table.items.values()} == {JobStatus.ARCHIVED}
    assert len(world.service.documents) == JOBS
    assert lost_answers(world) == 0


@pytest.mark.slow
@pytest.mark.parametrize("variant", BROKEN_SESSIONS, ids=lambda variant: variant.name)
def test_a_session_that_is_broken_loses_answers(variant: Variant) -> None:
    odd = among(Fault.INTERIM_ANSWER)

    def change(world: World) -> AbstractContextManager[object]:
        both = ExitStack()
        both.enter_context(odd(world))
        both.enter_context(variant.change(world))
        return both

    world = deliver_calmly(SOME, DiesOnce(), change=change)

    assert lost_answers(world) > 0
