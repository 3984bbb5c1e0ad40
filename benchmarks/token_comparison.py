"""Does the time of the token's comparison depend on the position of the first wrong character?

See README.md for the method.
"""

import gc
import random
import secrets
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Final

import typer

from reportflow.refusal import Refusal, Refused
from reportflow.webhook import Request, check_token

TOKEN_LENGTH: Final = 32 * 1024
LEAK: Final = 4.5
"""|t| that a fair machine does not reach by chance."""

CROPPED_AT: Final = (1.0, 0.99, 0.95, 0.9, 0.75, 0.5)

type Check = Callable[[Request, Sequence[str]], None]


@dataclass(frozen=True)
class Result:
    """Nanoseconds of the calls with a token that is wrong at its start, and at its end."""

    early: Sequence[int]
    late: Sequence[int]

    def t(self) -> float:
        """Welch's t of the largest size, over all croppings."""
        return max((self._cropped(share) for share in CROPPED_AT), key=abs)

    def _cropped(self, share: float) -> float:
        pooled = sorted((*self.early, *self.late))
        limit = pooled[int(share * len(pooled)) - 1]
        early, late = (
            [time for time in times if time <= limit] for times in (self.early, self.late)
        )
        if min(len(early), len(late)) < 100:
            # One class has hardly any time as short as the other's: nothing separates them more.
            return float("inf")
        spread = statistics.variance(early) / len(early) + statistics.variance(late) / len(late)
        return (statistics.fmean(late) - statistics.fmean(early)) / sqrt(spread or 1e-9)


def until_the_first_difference(request: Request, tokens: Sequence[str]) -> None:
    """The peer: compares as `==` does, and stops where it knows."""
    if request.token not in tokens:
        raise Refused(Refusal.UNKNOWN_CALLER)


def measure(check: Check, samples: int, order: random.Random) -> Result:
    """Time the check of wrong tokens, both classes in random order."""
    token = secrets.token_hex(TOKEN_LENGTH // 2)
    tokens = (token, secrets.token_hex(TOKEN_LENGTH // 2))
    wrong = ("x" + token[1:], token[:-1] + "x")
    classes = [0, 1] * samples
    order.shuffle(classes)
    times: tuple[list[int], list[int]] = ([], [])
    clock = time.perf_counter_ns
    gc.disable()
    try:
        for chosen in classes:
            # Anew each time: neither class has its token in the cache before the other.
            request = Request("POST", wrong[chosen][:1] + wrong[chosen][1:], {}, b"")
            begun = clock()
            try:
                check(request, tokens)
            except Refused:
                times[chosen].append(clock() - begun)
    finally:
        gc.enable()
    return Result(*times)


def _benchmark(
    samples: Annotated[
        int, typer.Option(min=1000, help="Calls of each class and check.")
    ] = 100_000,
    seed: Annotated[int | None, typer.Option(help="Of the order of the calls.")] = None,
) -> None:
    """Time the comparison of wrong tokens, and say whether it leaks."""
    first = secrets.randbelow(2**31) if seed is None else seed
    print(
        f"{samples:,} calls with a token wrong in its first and as many with one wrong in its last "
        f"of {TOKEN_LENGTH:,} characters, in random order (seed {first})"
    )
    scores = {}
    for name, check in (
        ("check_token of the webhook", check_token),
        ("the peer with ==", until_the_first_difference),
    ):
        result = measure(check, samples, random.Random(first))  # noqa: S311  (an order)
        scores[name] = abs(result.t())
        print(
            f"{name}: {_shown(result.early)} first, {_shown(result.late)} last, t {result.t():+.1f}"
        )
    ours, peer = scores.values()
    if peer <= LEAK:
        print("Verdict: none. Not even the peer's leak was seen; use more samples.")
        raise typer.Exit(2)
    if ours > LEAK:
        print(f"Verdict: ours leaks; |t| {ours:.1f} is above {LEAK}.")
        raise typer.Exit(1)
    print(f"Verdict: no leak; |t| {ours:.1f} is below {LEAK}, and the peer's {peer:.1f} is not.")


def _shown(times: Sequence[int]) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    return f"median {middle:,.0f} ns ({low:,.0f} to {high:,.0f})"


if __name__ == "__main__":
    typer.run(_benchmark)
