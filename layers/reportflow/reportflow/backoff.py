"""Exponential backoff with full jitter."""

import random

BASE_SECONDS = 2.0
CAP_SECONDS = 900.0


def full_jitter(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): uniform up to a doubling ceiling.

    The ceiling starts at `BASE_SECONDS` and stops at `CAP_SECONDS`. Full jitter spreads a crowd of
    failed jobs over the whole interval instead of bringing them back together.
    """
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempt - 1, 30))
    return rng.uniform(0.0, ceiling)
