"""A process dies once, at each outside call of each function in turn; the queues do the rest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from reportflow.jobs import JobStatus
from tests.simulation.process import Moment
from tests.simulation.run import deliver_calmly
from tests.simulation.upstream import Sending, one_job
from tests.simulation.world import World

type Point = tuple[str, str, Moment]


@dataclass
class DiesOnce:
    """Dies at the point with this number; counts them all if there is none."""

    number: int = -1
    points: list[Point] = field(default_factory=list)

    def dies(self, function: str, call: str, moment: Moment) -> bool:
        self.points.append((function, call, moment))
        return len(self.points) == self.number + 1


def effects(world: World, sent_by_upstream: int) -> int:
    """What the functions changed outside: each had to be called for."""
    sent = world.requests.sent + world.downloads.sent + world.request_dlq.sent
    documents, objects = len(world.service.documents), len(world.bucket.objects)
    return world.checker.writes + sent - sent_by_upstream + documents + objects


ONE = (one_job("job-1", 1),)
TWO = (one_job("job-1", 1), one_job("job-2", 2))
TWICE = (one_job("job-1", 1), one_job("job-1", 1), one_job("job-2", 2))


@pytest.mark.parametrize("contract", ["workspace", "central"])
@pytest.mark.parametrize(
    ("plan", "seed"),
    [
        pytest.param(ONE, 0, id="one job"),
        *(pytest.param(TWO, seed, id=f"two jobs, order {seed}") for seed in range(3)),
        *(pytest.param(TWICE, seed, id=f"one of two jobs twice, order {seed}") for seed in (3, 4)),
    ],
)
def test_wherever_a_process_dies_every_job_ends_archived(
    plan: Sequence[Sending], seed: int, contract: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = DiesOnce()
    undisturbed = deliver_calmly(plan, counting, seed=seed, contract=contract)
    assert undisturbed.checker.violations == []
    points = counting.points
    assert {function for function, _, _ in points} == set(undisturbed.functions)
    assert len(points) >= len(Moment) * effects(undisturbed, len(plan))

    broken: list[object] = []
    for number, point in enumerate(points):
        world = deliver_calmly(plan, DiesOnce(number), seed=seed, contract=contract)
        states = Counter(item["status"]["S"] for item in world.table.items.values())
        if world.checker.violations or states.keys() != {JobStatus.ARCHIVED}:
            broken.append((number, point, world.checker.violations, states))
    with capsys.disabled():
        print(f"\n{len(points)} crash points, {len(plan)} messages, order {seed}")
    assert broken == []
