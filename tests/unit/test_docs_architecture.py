"""docs/architecture.md draws what the code does."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from reportflow.jobs import JobStatus
from tests.simulation.process import Moment
from tests.simulation.run import deliver_calmly
from tests.simulation.upstream import one_job
from tests.transitions import TRANSITIONS

PAGE = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
NOWHERE = "[*]"


class Watching:
    """Lets everybody live, and remembers who called what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def dies(self, function: str, call: str, moment: Moment) -> bool:
        if moment is Moment.BEFORE:
            self.calls.append((function, call))
        return False


def test_the_diagram_has_the_moves_that_are_legal() -> None:
    moves: dict[JobStatus | None, set[JobStatus]] = defaultdict(set)
    ends = set()
    for source, target in re.findall(r"^    (\S+) --> (\w+|\[\*\])", PAGE, re.MULTILINE):
        if target == NOWHERE:
            ends.add(JobStatus(source))
        else:
            moves[None if source == NOWHERE else JobStatus(source)].add(JobStatus(target))

    assert moves == {source: targets for source, targets in TRANSITIONS.items() if targets}
    assert ends == {source for source, targets in TRANSITIONS.items() if not targets}


def _told() -> Iterator[tuple[str, str]]:
    """The first two cells of each row in the table of a job's life."""
    section = PAGE.partition("\n## The life of one job\n")[2].partition("\n## ")[0]
    yield from re.findall(r"^\| (\w+) \| `([^`]+)` \|", section, re.MULTILINE)


def test_the_life_of_a_job_is_described_call_by_call() -> None:
    watching = Watching()
    world = deliver_calmly([one_job("job-1", 1)], watching, seed=2)
    assert [item["status"]["S"] for item in world.table.items.values()] == [JobStatus.ARCHIVED]

    # The body of a download comes in several pieces of one call, and a write names its job.
    calls = (
        (function, call.removesuffix(" job-1"))
        for function, call in watching.calls
        if not call.startswith("body of ")
    )
    assert list(_told()) == [call for call, _ in groupby(calls)]
