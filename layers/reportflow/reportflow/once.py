"""Creates shared objects once per process, on first use, in a thread-safe way."""

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import Final

# One lock for all: two threads cannot safely create boto3 clients or Powertools loggers at the same
# time. It is reentrant, because one such object may need another.
_lock: Final = RLock()


def once[T](make: Callable[[], T]) -> Callable[[], T]:
    """Run `make` at most once per process; with `functools.cache`, two threads could run it."""
    cached = cache(make)

    @wraps(make)
    def get() -> T:
        with _lock:
            return cached()

    return get
