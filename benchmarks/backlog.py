"""What does a PDF take more while it waits for the rate limit?

Simulated in virtual time, with the code that ships: a thousand requests at once, their downloads,
and their completion checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.aws_calls import GIGABYTES
from stacks.settings import DeploymentSettings
from tests.simulation.backlog import Backlog

REQUESTS: Final = 1000
STEPS: Final = 1


@dataclass(frozen=True)
class Waiting:
    """What one PDF takes in a backlog, on average."""

    gb_seconds: float
    """All of its function time, with ReportFlow's answers."""

    slot_writes: float
    put_backs: float
    """Deliveries that found no slot."""

    invocations: float
    """Of submitter and downloader; few batches are full."""


def measured(step: Callable[[str], None]) -> Waiting:
    """Simulate the backlog with default settings."""
    step("backlog")
    backlog = Backlog(DeploymentSettings(workspace_id="benchmark"), requests=REQUESTS)
    backlog.run()
    pdfs = len(backlog.archived)
    return Waiting(
        gb_seconds=GIGABYTES * backlog.busy_seconds,
        slot_writes=backlog.writes / pdfs,
        put_backs=(sum(backlog.receives) - len(backlog.receives)) / pdfs,
        invocations=backlog.invocations,
    )


if __name__ == "__main__":
    print(measured(print))
