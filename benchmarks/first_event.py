"""What does the first event after a cold start cost, over TLS?

The processor time of all threads: divided by 0.29, it is how long a function with 512 MB computes.
The import runs with a whole processor, and is a row of its own. The candidates alternate.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.bench import ROUNDS, Echo, Row, batch, started, webhook
from benchmarks.candidates import Candidate, floor, ours, peer

STEPS: Final = 2 * ROUNDS


@dataclass(frozen=True)
class First:
    """Milliseconds of the processor, and what the echo has seen of the event."""

    ready: float
    event: float
    connections: int
    requests: int


def first(candidate: Candidate, place: Echo, event: Mapping[str, Any]) -> First:
    """Start the function and have it handle one event."""
    with started(candidate, place) as process:
        process.ready()
        ready, seen = process.processor_seconds(), place.counts()
        response = process.invoke(event)
        ended, now = process.processor_seconds(), place.counts()
    if response.get("batchItemFailures") or response.get("statusCode", 200) != 200:
        raise RuntimeError(f"{candidate.name} did not succeed: {response}")
    return First(
        ready * 1000,
        (ended - ready) * 1000,
        # The first question for the counts had a connection.
        now["connections"] - seen["connections"] - 1,
        now["requests"] - seen["requests"],
    )


def measure(place: Echo, step: Callable[[str], None]) -> Iterator[Row]:
    """Rows of the first batch, and of the first webhook."""
    events = {
        "submitter": ("first batch of 10", batch(10)),
        "webhook": ("first webhook", webhook()),
    }
    for name, (what, event) in events.items():
        mine, other, least = ours(name), peer(name), floor()
        taken: dict[str, list[First]] = {"ours": [], "peer": [], "floor": []}
        for number in range(ROUNDS):
            step(f"{what}: round {number + 1}")
            for candidate in (mine, other, least):
                taken[candidate.name].append(first(candidate, place, event))

        def row(
            what: str,
            value: Callable[[First], float],
            unit: str = "ms of processor",
            bar: float | None = None,
            of: Mapping[str, list[First]] = taken,
        ) -> Row:
            values = {one: [value(each) for each in of[one]] for one in of}
            return Row(what, unit, values["ours"], values["peer"], values["floor"], bar)

        yield row(f"{what}, TLS", lambda each: each.event, bar=0.3)
        yield row(f"until ready, {name}, TLS", lambda each: each.ready)
        yield row(f"both together, {name}", lambda each: each.ready + each.event)
        yield row(f"{what}, connections", lambda each: each.connections, "")
        yield row(f"{what}, requests", lambda each: each.requests, "")
