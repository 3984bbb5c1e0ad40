"""One process of the long run: libFuzzer chooses requests by the code's coverage (atheris).

Prints a JSON line a second, and one for each violation.
"""

import hashlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["reportflow"], exclude=["reportflow.observability"]):
    import reportflow.aws
    import reportflow.contract.webhook_body
    import reportflow.messages
    import reportflow.queues
    import reportflow.secret
    import reportflow.signature
    import reportflow.webhook  # noqa: F401  (what is imported here is watched)

import msgspec

from tests.properties.case import Case, dump, dump_raw, load
from tests.properties.generator import mutated, valid
from tests.properties.judged import Judge, judging
from tests.properties.over_http import broken

MAX_FILE_BYTES: Final = 200_000
VIOLATIONS_KEPT: Final = 20


class Worker:
    """Runs what libFuzzer proposes, until its time is over."""

    def __init__(self, judge: Judge, folder: Path, seconds: float, seed: int) -> None:
        self._judge = judge
        self._folder = folder
        self._ends = time.monotonic() + seconds
        self._told = 0.0
        self._random = Random(seed)
        self._requests = 0
        self._violations: Counter[str] = Counter()

    def run(self, content: bytes) -> None:
        """libFuzzer's target."""
        try:
            case = load(content)
        except (msgspec.DecodeError, ValueError):
            return
        self._requests += 1
        try:
            content, found = self._send(case, content)
        except Exception as error:  # noqa: BLE001  (the run goes on, and the file says so)
            found = [f"sending raised {error!r}"]
        if found:
            self._keep(content, found)
        now = time.monotonic()
        if now - self._told > 1:
            self._told = now
            self._tell()
        if now > self._ends:
            self._tell()
            os._exit(0)

    def mutate(self, content: bytes, max_size: int, seed: int) -> bytes:
        """libFuzzer's mutator: structure, bytes and headers of a request, and never its file."""
        random = Random(seed)
        try:
            case = load(content)
        except (msgspec.DecodeError, ValueError):
            case = valid(random)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            case = mutated(case, random)
        if random.random() < 0.1:
            case = valid(random)
        made = dump(case)
        return made if len(made) <= max_size else content

    def _send(self, case: Case, content: bytes) -> tuple[bytes, list[str]]:
        """What was sent, as a file holds it, and what was wrong."""
        judge, turn = self._judge, self._requests % 100
        if turn == 50:
            sent = broken(case, self._random)
            return dump_raw(sent), judge.bytes_sent(sent)
        if turn == 0:
            return content, judge.over_http(case)
        if turn % 20 == 1:
            return content, judge.while_aws_fails(case, drops=turn > 50)
        return content, judge.in_process(case, signed=turn % 4 == 2)

    def _keep(self, content: bytes, found: list[str]) -> None:
        self._violations.update(violation[:80] for violation in found)
        if self._violations.total() > VIOLATIONS_KEPT:
            return
        path = self._folder / f"{hashlib.sha256(content).hexdigest()[:16]}.json"
        path.write_bytes(content)
        print(json.dumps({"violation": found, "file": str(path)}), file=sys.__stdout__, flush=True)

    def _tell(self) -> None:
        told: dict[str, Any] = {
            "requests": self._requests,
            "fates": self._judge.fates,
            "statuses": self._judge.statuses,
            "violations": self._violations,
        }
        print(json.dumps(told), file=sys.__stdout__, flush=True)


def main() -> None:
    """`worker.py FOUND VIOLATIONS SECONDS SEED CORPUS`; libFuzzer adds to FOUND."""
    found, violations, seconds, seed, corpus = sys.argv[1:]
    with judging() as judge:
        worker = Worker(judge, Path(violations), float(seconds), int(seed))
        options = [
            sys.argv[0],
            f"-seed={int(seed) + 1}",
            f"-max_len={MAX_FILE_BYTES}",
            "-len_control=0",
            "-timeout=60",
            "-rss_limit_mb=0",
            "-print_final_stats=0",
            "-verbosity=0",
            found,
            corpus,
        ]
        atheris.Setup(options, worker.run, custom_mutator=worker.mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
