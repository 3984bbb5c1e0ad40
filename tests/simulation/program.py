"""The simulation's command line: runs seeds, shows progress, prints one summary."""

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import batched
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.faults import Fault
from tests.simulation.run import simulate
from tests.simulation.scheduler import DAY

SEEDS_A_CHUNK = 25
SEEDS_SHOWN = 20


@dataclass
class Summary:
    """What many runs come to; `broken` holds the violations of the seeds that have any."""

    seeds: int = 0
    jobs: int = 0
    virtual_days: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: dict[int, Sequence[str]] = field(default_factory=dict)

    def add(self, other: "Summary") -> None:
        """Take in another one."""
        self.seeds += other.seeds
        self.jobs += other.jobs
        self.virtual_days += other.virtual_days
        self.faults += other.faults
        self.outcomes += other.outcomes
        self.broken |= other.broken

    @property
    def violations(self) -> int:
        """Of all seeds."""
        return sum(len(violations) for violations in self.broken.values())


def replay_command(seed: int, jobs: int) -> str:
    """What prints the story of a seed."""
    return f"python -m tests.simulation --replay {seed} --jobs {jobs}"


def run_seeds(seeds: Sequence[int], jobs: int) -> Summary:
    """Run the seeds one after another."""
    summary = Summary()
    # What a run leaves behind goes with it; looking for garbage in between costs a tenth.
    gc.disable()
    try:
        for seed in seeds:
            run = simulate(seed, jobs)
            summary.seeds += 1
            summary.jobs += jobs
            summary.virtual_days += run.virtual_seconds / DAY
            summary.faults.update(run.faults)
            summary.outcomes.update(run.outcomes)
            if run.violations:
                summary.broken[seed] = run.violations
            gc.collect(1)
    finally:
        gc.enable()
    return summary


def run_on_all_cores(first: int, seeds: int, jobs: int, processes: int) -> Iterator[Summary]:
    """Summaries of chunks of the seeds, as they are done."""
    chunks = batched(range(first, first + seeds), SEEDS_A_CHUNK, strict=False)
    if processes == 1:
        for chunk in chunks:
            yield run_seeds(chunk, jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(run_seeds, chunk, jobs) for chunk in chunks]
        for future in as_completed(futures):
            yield future.result()


def main() -> None:
    """Run the command line."""
    typer.run(_simulate)


def _simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run.")] = 200,
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs a seed sends.")] = 50,
    first_seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Default: one a core.")] = (
        os.cpu_count() or 1
    ),
    replay: Annotated[int | None, typer.Option(help="Print the story of this seed.")] = None,
) -> None:
    """Run the pipeline's real code against simulated surroundings in which everything fails."""
    console = Console()
    if replay is not None:
        _replay(replay, jobs)
        return
    summary = Summary()
    started = time.monotonic()
    with Progress(
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[violations]} violations"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task("", total=seeds, violations=0)
        for part in run_on_all_cores(first_seed, seeds, jobs, processes):
            summary.add(part)
            progress.update(bar, advance=part.seeds, violations=summary.violations)
    _show(console, summary, time.monotonic() - started, jobs)
    if summary.broken:
        raise typer.Exit(1)


def _replay(seed: int, jobs: int) -> None:
    run = simulate(seed, jobs, listening=True)
    sys.stdout.write("\n".join(run.story) + "\n")
    if run.violations:
        raise typer.Exit(1)


def _show(console: Console, summary: Summary, seconds: float, jobs: int) -> None:
    table = Table(box=None, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    for fault in Fault:
        table.add_row(f"{summary.faults[fault]:,}", fault)
    console.print(table)
    console.print("Jobs ended: " + ", ".join(_counts(summary.outcomes)))
    for seed, violations in sorted(summary.broken.items())[:SEEDS_SHOWN]:
        console.print(f"[red]seed {seed}[/]: {violations[0]}", highlight=False)
        console.print(f"  {replay_command(seed, jobs)}", highlight=False)
    faults = summary.faults.total() - summary.faults[Fault.CRASH]
    console.print(
        f"{summary.seeds:,} seeds, {summary.jobs:,} jobs, {summary.virtual_days:,.0f} simulated "
        f"days in {seconds:,.0f} s: {faults:,} faults, {summary.faults[Fault.CRASH]:,} crashes, "
        f"[bold]{summary.violations} violations[/]"
    )


def _counts(outcomes: Counter[str]) -> Iterator[str]:
    for name, count in outcomes.most_common():
        yield f"{count:,} {name}"
