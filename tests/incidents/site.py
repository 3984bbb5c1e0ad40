"""A running system as an operator has it before them: jobs come in, and there are commands."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread

from botocore.exceptions import ClientError

from cli.checks import CHECKS
from cli.dead_letters import dead_letters, read
from cli.findings import Plan, findings
from cli.target import Choice, Target
from local.backend import BackendKind
from local.emulator.fault_plan import Fault
from local.paths import REPOSITORY
from tests.pipeline.aws_proxy import Call
from tests.pipeline.driver import body
from tests.pipeline.faulty import FaultySystem, run_faulty

OPERATIONS = REPOSITORY / "docs" / "operations.md"
COMMAND_SECONDS = 120
HURRY_SECONDS = 2

SETTINGS = {
    # Short, because a message whose function was killed comes back after six time-outs.
    "submitter_timeout_seconds": "8",
    "downloader_timeout_seconds": "8",
    "outcome_grace_seconds": "5",
    "orphan_grace_seconds": "20",
    "check_delay_seconds": "4",
    "completion_deadline_seconds": "60",
    # So that a file is soon too large.
    "max_file_mb": "1",
}


@dataclass(frozen=True)
class Scale:
    """How large an incident is, and whether its waits are lived through.

    `hurries` brings messages back at once that would come back within minutes by themselves, and
    restarts a function where it would forget what it knows. moto takes a few hundred dead
    letters: it reads the whole queue for each message that is received.
    """

    jobs: int = 20
    outage_seconds: float = 60
    letters: int = 300
    hurries: bool = False
    backend: BackendKind = BackendKind.MOTO

    @property
    def shown_seconds(self) -> float:
        """By then an operator who runs `doctor` every few seconds has to see it."""
        return 120 + self.letters / 5

    @property
    def end_seconds(self) -> float:
        """The longest that jobs may take to end after the incident: backoff, and moto's speed."""
        return 300 + min(self.outage_seconds, 1000) + self.letters


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    stdout: str
    stderr: str


class PutBack:
    """The messages that functions have put back, and the way to have them come at once."""

    def __init__(self) -> None:
        self._handles: set[tuple[str, str]] = set()
        self._lock = Lock()
        self._last = time.monotonic()

    def observe(self, call: Call) -> None:
        """Note the message, where the call puts one back."""
        if call.operation.name == "ChangeMessageVisibility":
            asked = json.loads(call.body)
            with self._lock:
                self._handles.add((asked["QueueUrl"], asked["ReceiptHandle"]))

    def hurry(self, faulty: FaultySystem) -> None:
        """Have them come back, every `HURRY_SECONDS` at most."""
        with self._lock:
            if time.monotonic() - self._last < HURRY_SECONDS:
                return
            self._last = time.monotonic()
            handles, self._handles = self._handles, set()
        for url, handle in handles:
            # One that has come by itself has another receipt by now.
            with suppress(ClientError):
                faulty.driver.sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
                )


@dataclass(frozen=True)
class Site:
    """The system, its state file, and how large incidents are here."""

    faulty: FaultySystem
    state: Path
    scale: Scale
    rng: Random
    put_back: PutBack = field(default_factory=PutBack)
    faults: list[Fault] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @cached_property
    def target(self) -> Target:
        """The system as the command line knows it."""
        return Choice(local=True, state=self.state).find()

    @cached_property
    def operations(self) -> str:
        """What the operations page says."""
        return OPERATIONS.read_text()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command of the command line, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "--state", str(self.state), *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
        )

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command to its end."""
        seconds = COMMAND_SECONDS + self.scale.letters
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(stdin, timeout=seconds)
        finally:
            process.kill()
        return Done(process.returncode, stdout, stderr)

    def doctor(self, unfinished: timedelta = timedelta(hours=1)) -> list[dict[str, str]]:
        """What `doctor --json` prints: in a process of its own, except where the site hurries."""
        if not self.scale.hurries:
            return self._json("doctor", "--unfinished", f"{unfinished.seconds}s")
        plan = Plan(window=timedelta(hours=1), unfinished=unfinished)
        found = [one for check in CHECKS for one in findings(check, self.target, plan)]
        return [one.as_json() for one in found]

    def letters(self) -> list[str]:
        """The job of each dead letter."""
        if not self.scale.hurries:
            return [one["jobId"] for one in self._json("dlq", "list")]
        return [one.job_id for batch in read(dead_letters(self.target)) for one in batch]

    def _json(self, *arguments: str) -> list[dict[str, str]]:
        done = self.run(*arguments, "--json")
        assert "Traceback" not in done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def faulty_reportflow(self, faults: Sequence[Fault]) -> Iterator[None]:
        """Let ReportFlow do that as well, until the context is left."""
        with self.lock:
            self.faults.extend(faults)
            self.faulty.emulator.faults.replace(self.faults)
        try:
            yield
        finally:
            with self.lock:
                for fault in faults:
                    self.faults.remove(fault)
                self.faulty.emulator.faults.replace(self.faults)

    def archived(self) -> Counter[str]:
        """How many objects the archive holds of each job; one written twice counts twice."""
        pages = self.faulty.driver.s3.get_paginator("list_object_versions").paginate(
            Bucket=self.faulty.driver.state["archive_bucket"]
        )
        keys = [version["Key"] for page in pages for version in page.get("Versions", [])]
        return Counter(key.split("/")[4] for key in keys)

    def hurry(self) -> None:
        """Where this site hurries, let nothing wait for its backoff."""
        if self.scale.hurries:
            self.put_back.hurry(self.faulty)

    def interrupt(self, arguments: Sequence[str], lines: int, number: signal.Signals) -> Done:
        """Let a command print so many lines, then send it a signal."""
        process = self.start(*arguments)
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=COMMAND_SECONDS)
        return Done(process.returncode, "".join(told) + stdout, stderr)


def message(job_id: str) -> dict[str, object]:
    """A good message whose PDF has the job's name."""
    content = {"fileName": f"{job_id}.pdf", "params": {"customerName": job_id, "amount": 1}}
    return body(job_id, content=content)


class Stream(Thread):
    """Upstream, as it goes on: a job every `seconds`, until it is stopped."""

    def __init__(self, site: Site, label: str, seconds: float) -> None:
        super().__init__(name=f"stream-{label}")
        self.job_ids: list[str] = []
        self._site = site
        self._label = label
        self._seconds = seconds
        self._stopping = Event()

    def run(self) -> None:
        """Send."""
        while not self._stopping.is_set():
            job_id = f"{self._label}-{len(self.job_ids)}"
            self._site.faulty.driver.send(message(job_id))
            self.job_ids.append(job_id)
            self._stopping.wait(self._seconds)

    def stop(self) -> Sequence[str]:
        """Send no more; the ids of all jobs."""
        self._stopping.set()
        self.join()
        return self.job_ids


@contextmanager
def run_site(
    folder: Path, scale: Scale, seed: int, settings: Mapping[str, str] = SETTINGS
) -> Iterator[Site]:
    """Start a system of its own, and stop it on leaving."""
    with run_faulty(settings, seed, scale.backend) as faulty:
        state = folder / "state.json"
        faulty.system.state.write(state)
        site = Site(faulty, state, scale, Random(seed))
        faulty.aws.observe = site.put_back.observe
        yield site
