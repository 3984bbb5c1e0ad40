"""How many messages a second does `local up` bring to the archive?

A thousand messages at once, on each of the emulated AWS. The emulator of ReportFlow makes each PDF
at once.
"""

import json
import time
from collections.abc import Callable, Iterator
from itertools import batched
from typing import Final

from benchmarks.bench import Bar, Row
from local.backend import BackendKind
from local.emulator import EmulatorSettings
from local.system import Options, System, run
from tests.pipeline.driver import body

MESSAGES: Final = 1000
LONGEST_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.5
STEPS: Final = len(BackendKind)
BARS: Final = {BackendKind.MOTO: 20.0, BackendKind.MINISTACK: 60.0}


def messages_per_second(backend: BackendKind, messages: int = MESSAGES) -> float:
    """From the first message sent to the last job archived."""
    options = Options(backend=backend, emulator=EmulatorSettings(render_seconds=(0, 0)))
    with run(options, lambda _: None) as system:
        begun = time.monotonic()
        _send(system, messages)
        while (ended := _archived(system)) < messages:
            if time.monotonic() - begun > LONGEST_SECONDS:
                raise RuntimeError(f"{backend}: {ended} of {messages} messages have ended")
            time.sleep(POLL_SECONDS)
        return messages / (time.monotonic() - begun)


def _send(system: System, messages: int) -> None:
    sqs = system.backend.client("sqs")
    for numbers in batched(range(messages), 10, strict=False):
        sqs.send_message_batch(
            QueueUrl=system.state.request_queue_url,
            Entries=[
                {"Id": str(number), "MessageBody": json.dumps(body(f"job-{number}"))}
                for number in numbers
            ],
        )


def _archived(system: System) -> int:
    """The archived jobs, by the functions' logs: to ask the table would slow the system."""
    return sum(
        b'"message":"archived"' in line
        for pool in system.pools.values()
        for line in pool.log_path.read_bytes().splitlines()
    )


def measure(step: Callable[[str], None]) -> Iterator[Row]:
    """One row for each emulated AWS."""
    for backend in BackendKind:
        step(f"local run: {backend}")
        yield Row(
            f"local run of {MESSAGES:,} messages, {backend}",
            "messages/s",
            [messages_per_second(backend)],
            bar=BARS[backend],
            kind=Bar.LEAST,
        )


if __name__ == "__main__":
    for row in measure(print):
        print(row)
