"""How much does Python do from the start of the process until the function is ready?

In instructions, which do not depend on what else the machine does. All that the functions call is
refused, so that nobody waits for anybody.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench import VALGRIND, Row, started
from benchmarks.candidates import FUNCTIONS, Candidate, floor, ours, peer

STEPS = 1 + 4 * len(FUNCTIONS)


def instructions(candidate: Candidate) -> float:
    """Millions of them."""
    with started(candidate, prefix=VALGRIND) as process:
        process.ready()
        return process.instructions() / 1e6


def measure(repository: Path, step: Callable[[str], None]) -> Iterator[Row]:
    """One row a function and way of shipping it."""
    step("cold start: floor")
    least = [instructions(floor())]
    for name in FUNCTIONS:
        mine, other = ours(name, repository), peer(name)
        step(f"cold start: {name}")
        counted = [instructions(mine)]
        step(f"cold start: {name}, peer")
        beside = [instructions(other)]
        yield Row(f"cold start, {name}", "M instructions", counted, beside, least, 0.45)
        step(f"cold start: {name}, peer without bytecode")
        bare = [instructions(other.without_bytecode())]
        yield Row(
            f"the same, peer without bytecode, {name}", "M instructions", counted, bare, least, 0.16
        )
        step(f"cold start: {name}, ours without bytecode")
        bare_ours = [instructions(mine.without_bytecode())]
        yield Row(f"the same, both without bytecode, {name}", "M instructions", bare_ours, bare)
