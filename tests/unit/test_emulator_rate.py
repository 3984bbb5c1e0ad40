from collections.abc import Callable

import pytest

from local.emulator import rate_limit as module
from local.emulator.rate_limit import RateCount, RateLimit


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the limit's clock."""

    def at(seconds: float) -> None:
        monkeypatch.setattr(module, "monotonic", lambda: seconds)

    at(0)
    return at


def test_no_sixty_seconds_have_more_than_the_limit(at: Callable[[float], None]) -> None:
    limit = RateLimit(2)
    taken = []
    for now in (0, 59, 59.9, 60, 118.9, 119):
        at(now)
        taken.append(limit.take())

    assert taken == pytest.approx([0, 0, 0.1, 0, 0.1, 0])
    assert limit.count() == RateCount(per_minute=2, allowed=4, refused=2, most_in_a_window=2)


def test_refused_requests_count_if_it_is_set_so(at: Callable[[float], None]) -> None:
    limit = RateLimit(2, counts_refused=True)
    for now in (0, 0, 40):
        at(now)
        limit.take()
    at(61)
    assert limit.take() == 0
    at(70)
    assert limit.take() == pytest.approx(51)
    assert limit.count().refused == 2


def test_no_limit_counts_all_the_same(at: Callable[[float], None]) -> None:
    limit = RateLimit(None)
    for now in (0, 1, 60, 60.5):
        at(now)
        assert limit.take() == 0
    assert limit.count() == RateCount(per_minute=None, allowed=4, refused=0, most_in_a_window=3)
