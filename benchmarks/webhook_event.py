"""How much does the webhook do for one event, without the call of the queue?

In instructions of a warm process, Lambda's runtime client included.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.bench import VALGRIND, Row, started, webhook
from benchmarks.candidates import Candidate, floor, ours, peer

FEW: Final = 10
MANY: Final = 60
STEPS: Final = 3

# botocore answers by itself: with the secret, and to the queue with no failure.
_UNQUEUED: Final = """
from json import dumps
from botocore.client import BaseClient
TOKEN = "t0kenT0kenT0kenT0kenT0ken"
SECRET = dumps({"appKey": "key", "secretKey": "secret", "webhookToken": TOKEN})
BaseClient._make_api_call = lambda *_: {"SecretString": SECRET}
"""


def instructions(candidate: Candidate, before: str = "") -> float:
    """Thousands of them for one event; `before` runs before the handler's own code."""
    with tempfile.TemporaryDirectory() as folder:
        first, *others = candidate.path
        source = (first / "handler.py").read_text()
        (Path(folder) / "handler.py").write_text(f"{before}\n{source}")
        unqueued = Candidate(candidate.name, (Path(folder), *others))
        counts = []
        for number in (FEW, MANY):
            with started(unqueued, prefix=VALGRIND) as process:
                process.ready()
                for _ in range(number):
                    if process.invoke(webhook())["statusCode"] != 200:
                        raise RuntimeError(f"{candidate.name} refused the webhook")
                counts.append(process.instructions())
    return (counts[1] - counts[0]) / (MANY - FEW) / 1e3


def measure(repository: Path, step: Callable[[str], None]) -> Iterator[Row]:
    """The one row."""
    step("webhook event: ours")
    mine = instructions(ours("webhook", repository), _UNQUEUED)
    step("webhook event: peer")
    other = instructions(peer("webhook"), _UNQUEUED)
    step("webhook event: floor")
    least = instructions(floor())
    yield Row(
        "webhook event without the queue call", "K instructions", [mine], [other], [least], 0.45
    )
