"""The long search's command line: workers on all cores, one progress line, one summary."""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from local.paths import BUILD_CACHE, REPOSITORY
from tests.properties.case import CORPUS, dump, known, load, raw_of
from tests.properties.judged import judging

FOLDER: Final = BUILD_CACHE / "fuzz"
FOUND: Final = FOLDER / "found"
VIOLATIONS: Final = FOLDER / "violations"
CORPUS_READ: Final = FOLDER / "corpus"
MAX_FILE_BYTES: Final = 100_000
"""Of what the workers change; a bomb is found soon enough, and sending it takes long."""


@dataclass
class Worker:
    """A process and its last report."""

    process: subprocess.Popen[str]
    told: dict[str, Any] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)

    def listen(self) -> None:
        """Read its reports until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "violation" in said:
                self.violations.append(said)
            else:
                self.told = said


def main() -> None:
    """Run the command line."""
    typer.run(_fuzz)


def _fuzz(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to search.")] = 10,
    processes: Annotated[int, typer.Option(min=1, help="Default: one a core.")] = (
        os.cpu_count() or 1
    ),
    seed: Annotated[int | None, typer.Option(help="Of the first process; the next count on.")] = (
        None
    ),
    replay: Annotated[Path | None, typer.Option(help="Send this file's request once more.")] = None,
) -> None:
    """Send the webhook requests that nobody should, and see that it does what it must."""
    console = Console()
    if replay is not None:
        _replay(replay)
        return
    if find_spec("atheris") is None:
        console.print("The long search needs atheris, which there is for Linux on x86-64 only.")
        raise typer.Exit(2)
    first = secrets.randbelow(2**31) if seed is None else seed
    _prepare()
    before = len(list(FOUND.iterdir()))
    workers = [_start(minutes * 60, first + number) for number in range(processes)]
    started = time.monotonic()
    _watch(console, workers, started)
    entries = len(list(FOUND.iterdir())) - before
    _show(console, workers, time.monotonic() - started, entries, first)
    broken = [worker for worker in workers if worker.process.returncode]
    if broken:
        console.print(f"[red]{len(broken)} processes ended early[/]; see {FOLDER}/*.log")
    if broken or any(worker.violations for worker in workers):
        raise typer.Exit(1)


def _prepare() -> None:
    """Put the corpus where the workers find it, in the form in which they write theirs."""
    for folder in (FOUND, VIOLATIONS, CORPUS_READ):
        folder.mkdir(parents=True, exist_ok=True)
    for path in CORPUS.glob("*.json"):
        entry = known(path)
        if not entry.raw and len(entry.case.body) < MAX_FILE_BYTES:
            (CORPUS_READ / path.name).write_bytes(dump(entry.case))


def _watch(console: Console, workers: list[Worker], started: float) -> None:
    listeners = [threading.Thread(target=worker.listen) for worker in workers]
    try:
        for listener in listeners:
            listener.start()
        with console.status("starting") as status:
            while any(listener.is_alive() for listener in listeners):
                time.sleep(1)
                status.update(_progress(workers, time.monotonic() - started))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def _start(seconds: float, seed: int) -> Worker:
    folders = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "layers" / "reportflow")))
    with (FOLDER / f"{seed}.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.properties.worker",
                str(FOUND),
                str(VIOLATIONS),
                str(seconds),
                str(seed),
                str(CORPUS_READ),
            ],
            cwd=FOLDER,
            env={**os.environ, "PYTHONPATH": folders},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    return Worker(process)


def _sum(workers: list[Worker], name: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for worker in workers:
        counts.update(worker.told.get(name, {}))
    return counts


def _requests(workers: list[Worker]) -> int:
    return sum(worker.told.get("requests", 0) for worker in workers)


def _progress(workers: list[Worker], seconds: float) -> str:
    requests = _requests(workers)
    violations = _sum(workers, "violations").total()
    return (
        f"{seconds / 60:.1f} min: {requests:,} requests, {requests / seconds:,.0f} a second, "
        f"{violations} violations"
    )


def _show(console: Console, workers: list[Worker], seconds: float, entries: int, seed: int) -> None:
    fates, statuses = _sum(workers, "fates"), _sum(workers, "statuses")
    console.print("What they were: " + ", ".join(_counted(fates)))
    console.print("What they got: " + ", ".join(_counted(statuses)))
    files = [said for worker in workers for said in worker.violations]
    for said in files:
        console.print(f"[red]{'; '.join(said['violation'])}[/]", highlight=False)
        console.print(f"  python -m tests.properties --replay {said['file']}", highlight=False)
    failures = sum(
        count for status, count in statuses.items() if status.startswith("5") and len(status) == 3
    )
    requests = _requests(workers)
    console.print(
        f"{requests:,} requests in {seconds:,.0f} s ({requests / seconds:,.0f} a second) from seed "
        f"{seed}: {failures} answered 5xx while AWS worked, {entries} new corpus entries, "
        f"[bold]{_sum(workers, 'violations').total()} violations[/]"
    )


def _counted(counts: Counter[str]) -> list[str]:
    return [f"{count:,} {name}" for name, count in counts.most_common()]


def _replay(path: Path) -> None:
    content = path.read_bytes()
    case, sent = load(content), raw_of(content)
    told: dict[str, list[str]] = {}
    with judging() as judge:
        if sent:
            told["broken HTTP"] = judge.bytes_sent(sent)
        told["unsigned"] = judge.in_process(case)
        told["signed"] = judge.in_process(case, signed=True)
        told["the queue refuses"] = judge.while_aws_fails(case, drops=False)
        told["the queue drops"] = judge.while_aws_fails(case, drops=True)
        told["over HTTP"] = judge.over_http(case)
    for way, violations in told.items():
        print(f"{way}: {'; '.join(violations) or 'as it must be'}")
    if any(told.values()):
        raise typer.Exit(1)
