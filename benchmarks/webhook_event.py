"""How much does the webhook do for one event, without the call of the queue?

In a warm process, Lambda's runtime client included.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.bench import COUNTER, COUNTS, ROUNDS, Row, started, webhook
from benchmarks.candidates import Candidate, floor, ours, peer

FEW: Final = 10
MANY: Final = 60
STEPS: Final = 1
UNIT: Final = "K instructions" if COUNTS else "µs of processor"

# botocore answers by itself: with the secret, and to the queue with no failure.
_UNQUEUED: Final = """
from json import dumps
from botocore.client import BaseClient
TOKEN = "t0kenT0kenT0kenT0kenT0ken"
SECRET = dumps({"appKey": "key", "secretKey": "secret", "webhookToken": TOKEN})
BaseClient._make_api_call = lambda *_: {"SecretString": SECRET}
"""


def cost(candidate: Candidate, before: str = "") -> float:
    """What one event takes; `before` runs before the handler's own code."""
    with tempfile.TemporaryDirectory() as folder:
        first, *others = candidate.path
        source = (first / "handler.py").read_text()
        (Path(folder) / "handler.py").write_text(f"{before}\n{source}")
        unqueued = Candidate(candidate.name, (Path(folder), *others))
        few, many = (_whole(unqueued, events) for events in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def _whole(candidate: Candidate, events: int) -> float:
    """What a process takes for so many events, its start included if instructions are counted."""
    with started(candidate, prefix=COUNTER if COUNTS else ()) as process:
        process.ready()
        begun = 0 if COUNTS else process.processor_seconds()
        for _ in range(events):
            if process.invoke(webhook())["statusCode"] != 200:
                raise RuntimeError(f"{candidate.name} refused the webhook")
        return (
            process.instructions() / 1e3 if COUNTS else (process.processor_seconds() - begun) * 1e6
        )


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """The one row; the candidates alternate."""
    step("webhook event")
    taken = [
        (
            cost(ours("webhook"), _UNQUEUED),
            cost(peer("webhook"), _UNQUEUED),
            cost(floor()),
        )
        for _ in range(1 if COUNTS else ROUNDS)
    ]
    mine, other, least = zip(*taken, strict=True)
    yield Row("webhook event without the queue call", UNIT, mine, other, least, 0.45)
