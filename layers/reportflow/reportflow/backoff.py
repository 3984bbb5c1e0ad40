"""Exponential backoff with full jitter."""

import random

BASE_SECONDS = 2.0
CAP_SECONDS = 900.0


def full_jitter(
    attempt: int, rng: random.Random, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS
) -> float:
    """Return a random number of seconds to wait after failure number `attempt`, counted from 1.

    The ceiling starts at `base`, doubles with each attempt and stops at `cap`. Full jitter spreads
    jobs that failed together over the whole interval.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return rng.uniform(0.0, ceiling)
