"""How much does Python do from the start of the process until the function is ready?

All that the functions call is refused, so that nobody waits for anybody.
"""

from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.bench import COUNTER, COUNTS, ROUNDS, Row, started
from benchmarks.candidates import FUNCTIONS, Candidate, floor, ours, peer

STEPS: Final = 2 * len(FUNCTIONS)
UNIT: Final = "M instructions" if COUNTS else "ms of processor"


def cost(candidate: Candidate) -> float:
    """What a start takes."""
    with started(candidate, prefix=COUNTER if COUNTS else ()) as process:
        process.ready()
        return process.instructions() / 1e6 if COUNTS else process.processor_seconds() * 1e3


def costs(*candidates: Candidate) -> list[tuple[float, ...]]:
    """What starts take; the candidates alternate."""
    taken = [[cost(candidate) for candidate in candidates] for _ in range(1 if COUNTS else ROUNDS)]
    return list(zip(*taken, strict=True))


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """Rows of each function, with bytecode and without."""
    for name in FUNCTIONS:
        mine, other = ours(name), peer(name)
        step(f"cold start: {name}")
        compiled, beside, least = costs(mine, other, floor())
        yield Row(f"cold start, {name}", UNIT, compiled, beside, least, 0.45)
        step(f"cold start: {name}, without bytecode")
        bare, bare_peer = costs(mine.without_bytecode(), other.without_bytecode())
        what = "the same, peer without bytecode"
        yield Row(f"{what}, {name}", UNIT, compiled, bare_peer, least, 0.16)
        yield Row(f"the same, both without bytecode, {name}", UNIT, bare, bare_peer)
