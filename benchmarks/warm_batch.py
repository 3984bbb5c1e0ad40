"""How long does a warm submitter take for a batch of ten, its table writes and slots included?

ReportFlow answers after 150 ms, and AWS after the time that a call to DynamoDB takes. Both are the
echo: an emulated AWS would take longer for the calls of a batch than the function for all else.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.bench import ROUNDS, Bar, Row, batch, echo, started
from benchmarks.candidates import ours, peer
from benchmarks.deployment import AWS_SECONDS

STEPS: Final = ROUNDS
LATENCY_SECONDS: Final = 0.15
BATCH: Final = 10


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """The one row; the candidates alternate. The floor is one request to ReportFlow."""
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(
            echo(folder, LATENCY_SECONDS, aws_seconds=AWS_SECONDS["dynamodb"])
        )
        processes = {
            candidate.name: stack.enter_context(started(candidate, place))
            for candidate in (ours("submitter"), peer("submitter"))
        }
        for process in processes.values():
            process.ready()
            process.invoke(batch(BATCH))
        for number in range(ROUNDS):
            step(f"warm batch: round {number + 1}")
            for name, process in processes.items():
                begun = time.perf_counter()
                response = process.invoke(batch(BATCH))
                taken[name].append((time.perf_counter() - begun) * 1e3)
                if response["batchItemFailures"]:
                    raise RuntimeError(f"{name} did not succeed: {response}")
    yield Row(
        f"warm batch of {BATCH} with its table writes, ReportFlow after 150 ms",
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
