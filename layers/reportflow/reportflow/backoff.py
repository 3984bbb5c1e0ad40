"""Exponential backoff with full jitter."""

import random

BASE_SECONDS = 2.0
CAP_SECONDS = 900.0


def full_jitter(
    attempt: int, rng: random.Random, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS
) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): uniform up to a doubling ceiling.

    The ceiling starts at `base` seconds and stops at `cap`. Full jitter spreads a crowd of
    failed jobs over the whole interval instead of bringing them back together.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return rng.uniform(0.0, ceiling)
