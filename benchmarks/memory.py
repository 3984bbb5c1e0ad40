"""How much memory does a function occupy once it is ready?

Over TLS: ours holds the root certificates already, and the peer loads them with the first event.
"""

from collections.abc import Callable, Iterator

from benchmarks.bench import Echo, Row, started
from benchmarks.candidates import FUNCTIONS, Candidate, floor, ours, peer

STEPS = len(FUNCTIONS)


def resident(candidate: Candidate, place: Echo) -> list[float]:
    """MB of a process that is ready."""
    with started(candidate, place) as process:
        process.ready()
        return [process.resident_bytes() / 1e6]


def measure(place: Echo, step: Callable[[str], None]) -> Iterator[Row]:
    """One row a function."""
    for name in FUNCTIONS:
        step(f"memory: {name}")
        mine, other = ours(name), peer(name)
        yield Row(
            f"memory when ready, {name}",
            "MB",
            resident(mine, place),
            resident(other, place),
            resident(floor(), place),
            0.55,
        )
