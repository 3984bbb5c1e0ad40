"""Made once, when first asked for, however many threads ask first."""

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import Final

# One lock for everything: boto3's sessions and Powertools' logger are not made for two threads at
# the start, and what is made here may ask for more of its kind.
_lock: Final = RLock()


def once[T](make: Callable[[], T]) -> Callable[[], T]:
    """Let `make` run at most once in a process; `functools.cache` would let two threads run it."""
    cached = cache(make)

    @wraps(make)
    def get() -> T:
        with _lock:
            return cached()

    return get
