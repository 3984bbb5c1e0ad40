"""How long does a warm submitter take for a batch of ten?

ReportFlow answers after 150 ms. The calls to AWS, the table's writes among them, take the time that
`deployment` assumes. The rate limiter is off: it would make the batch wait for its slots.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

from benchmarks.bench import ROUNDS, Bar, Row
from benchmarks.candidates import Candidate, ours, peer
from benchmarks.deployment import deployed
from benchmarks.running import REQUEST_BATCH, running

STEPS: Final = ROUNDS
LATENCY_SECONDS: Final = 0.15


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """The one row; the candidates alternate. The floor is one request to ReportFlow."""
    candidates: dict[str, Callable[[str], Candidate]] = {"ours": ours, "peer": peer}
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    with (
        deployed(
            reportflow_seconds=LATENCY_SECONDS, settings={"reportflow_requests_per_minute": "0"}
        ) as deployment,
        ExitStack() as stack,
    ):
        runs = {
            name: stack.enter_context(running(candidate, deployment))
            for name, candidate in candidates.items()
        }
        for name, run in runs.items():
            run.submit(REQUEST_BATCH, f"first-{name}")
        for number in range(ROUNDS):
            step(f"warm batch: round {number + 1}")
            for name, run in runs.items():
                run.submit(REQUEST_BATCH, f"{name}-{number}")
                taken[name].append(run.wall_seconds["submitter"][-1] * 1e3)
    yield Row(
        f"warm batch of {REQUEST_BATCH} with its table writes, ReportFlow after 150 ms",
        "ms",
        taken["ours"],
        taken["peer"],
        [LATENCY_SECONDS * 1e3],
        bar=1.35,
        kind=Bar.FLOOR,
    )


if __name__ == "__main__":
    for row in measure(print):
        print(row)
