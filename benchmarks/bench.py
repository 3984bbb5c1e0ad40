"""What the questions share: the echo, the events, and how a result is written down."""

import json
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from ssl import create_default_context
from typing import Any, Final
from uuid import uuid4

import certifi

from benchmarks.candidates import Candidate, environment, runtime
from benchmarks.process import FunctionProcess
from tests.unit.samples import message_body, webhook_body
from tests.unit.tls_peer import make_certificate
from tests.unit.webhook_events import sent

UNREACHABLE_URL: Final = "http://127.0.0.1:9"
"""An endpoint that refuses connections at once."""

COUNTS: Final = shutil.which("valgrind") is not None
"""Whether instructions can be counted here; else the candidates alternate and
the processor's time is taken."""

ROUNDS: Final = 7
"""How often a time is taken."""

COUNTER: Final = (
    "valgrind",
    "--tool=cachegrind",
    "--cache-sim=no",
    "--cachegrind-out-file=/dev/null",
)
"""Counts instructions as callgrind does, to half a percent, in half the time."""


class Bar(StrEnum):
    """What a bar is for."""

    RATIO = "ratio"
    """The largest share of the peer's value that ours may have."""

    FLOOR = "floor"
    """The largest multiple of the floor that ours may have."""

    MOST = "most"
    """The largest value that ours may have."""

    LEAST = "least"
    """The smallest value that ours may have."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float] = ()
    floor: Sequence[float] = ()
    bar: float | None = None
    kind: Bar = Bar.RATIO

    @property
    def ratio(self) -> float | None:
        """Ours by the peer's, medians; None if there is no peer or it has none."""
        peer = statistics.median(self.peer) if self.peer else 0.0
        return statistics.median(self.ours) / peer if peer else None

    @property
    def verdict(self) -> str:
        """The bar, and whether ours misses it."""
        if self.bar is None:
            return ""
        value: float | None = statistics.median(self.ours)
        if self.kind is Bar.RATIO:
            value = self.ratio
        elif self.kind is Bar.FLOOR:
            value = statistics.median(self.ours) / statistics.median(self.floor)
        if value is None:
            raise ValueError(f"{self.what}: a bar on the ratio needs a peer")
        missed = value < self.bar if self.kind is Bar.LEAST else round(value, 2) > self.bar
        sign = "≥" if self.kind is Bar.LEAST else "≤"
        unit = {Bar.RATIO: " × peer", Bar.FLOOR: " × floor"}.get(self.kind, "")
        return f"{sign} {self.bar:g}{unit}" + (", missed" if missed else "")


class Echo:
    """A running echo of AWS and ReportFlow, and a `certifi` whose roots include its certificate."""

    def __init__(self, port: int, certificate: Path, folder: Path) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.context = create_default_context(cafile=certificate)
        roots = folder / "roots.pem"
        roots.write_text(Path(certifi.where()).read_text() + certificate.read_text())
        self.trust = folder / "trust"
        (self.trust / "certifi").mkdir(parents=True)
        (self.trust / "certifi" / "__init__.py").write_text(
            f"def where() -> str:\n    return {str(roots)!r}\n"
        )

    def counts(self) -> Mapping[str, int]:
        """How many connections and requests came, without this one's."""
        with urllib.request.urlopen(self.url, context=self.context) as answer:  # noqa: S310  (https)
            counts: dict[str, int] = json.load(answer)
        return {**counts, "connections": counts["connections"] - 1}


@contextmanager
def echo(
    folder: Path,
    seconds: float = 0.0,
    bytes_per_second: float = float("inf"),
    aws_seconds: float = 0.0,
) -> Iterator[Echo]:
    """Run the echo in a process of its own, with the latency and the speed of its links.

    ReportFlow and S3 answer after `seconds`, all else after `aws_seconds`.
    """
    certificate = make_certificate(folder)
    echo_py = Path(__file__).with_name("echo.py")
    program = [
        sys.executable,
        *map(str, (echo_py, certificate, seconds, bytes_per_second, aws_seconds)),
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the echo says nothing")
        try:
            yield Echo(int(process.stdout.readline()), certificate, folder)
        finally:
            process.terminate()


def started(
    candidate: Candidate,
    place: Echo | None = None,
    prefix: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> FunctionProcess:
    """Start a candidate's process; without an echo, all that it calls is refused.

    `variables` are its environment's, if they differ.
    """
    first, *others = candidate.path
    path = [first, *([place.trust] if place else ()), *others, runtime()]
    usual = environment(place.url if place else UNREACHABLE_URL)
    return FunctionProcess(path, {**usual, **(variables or {})}, prefix)


def batch(size: int) -> dict[str, Any]:
    """An SQS event with so many requests."""
    return sqs_event([message_body(jobId=f"job-{number}") for number in range(size)])


def sqs_event(bodies: Sequence[str], receives: Sequence[int] = ()) -> dict[str, Any]:
    """An SQS event with these messages; `receives` are their deliveries, else it is the first."""
    return {
        "Records": [
            {
                "messageId": str(uuid4()),
                "receiptHandle": f"receipt-{number}",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": str(receives[number] if receives else 1),
                    "SentTimestamp": str(int(time.time() * 1000)),
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:1:requests",
                "awsRegion": "eu-west-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def webhook(**changes: object) -> dict[str, Any]:
    """API Gateway's event of one webhook, with two files unless `changes` has others."""
    return sent(json.dumps(webhook_body(**changes)).encode(), content_type="application/json")
