import random
from itertools import pairwise

import pytest

from reportflow.backoff import BASE_SECONDS, CAP_SECONDS, full_jitter

ATTEMPTS = range(1, 40)


def longest(attempt: int) -> float:
    rng = random.Random(1)
    return max(full_jitter(attempt, rng) for _ in range(2000))


def test_the_ceiling_doubles_until_the_cap() -> None:
    ceilings = [longest(attempt) for attempt in ATTEMPTS]

    assert ceilings[0] == pytest.approx(BASE_SECONDS, rel=0.01)
    for before, after in pairwise(ceilings):
        assert after == pytest.approx(min(2 * before, CAP_SECONDS), rel=0.02)


@pytest.mark.parametrize("attempt", [1, 5, 1000, 10**9])
def test_the_jitter_is_full(attempt: int) -> None:
    rng = random.Random(2)
    delays = [full_jitter(attempt, rng) for _ in range(2000)]

    assert 0 <= min(delays) < 0.01 * max(delays)
    assert sum(delays) / len(delays) == pytest.approx(max(delays) / 2, rel=0.05)
    assert max(delays) <= CAP_SECONDS
