"""Ask all questions, keep the answers in results.json, and write the tables and plots of docs/."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import (
    aws_calls,
    backlog,
    cold_start,
    fetching,
    first_event,
    local_run,
    memory,
    pages,
    plots,
    warm_batch,
    webhook_event,
)
from benchmarks.bench import Echo, Row, echo
from benchmarks.results import Results

type Step = Callable[[str], None]


def _with_echo(measure: Callable[[Echo, Step], Iterable[Row]]) -> Callable[[Step], Iterable[Row]]:
    def measured(step: Step) -> Iterable[Row]:
        with tempfile.TemporaryDirectory() as folder, echo(Path(folder)) as place:
            yield from measure(place, step)

    return measured


@dataclass(frozen=True)
class Question:
    """How many steps it takes to answer, and how."""

    steps: int
    measure: Callable[[Step], Iterable[Row]]


QUESTIONS: Final[Mapping[str, Question]] = {
    "cold_start": Question(cold_start.STEPS, cold_start.measure),
    "memory": Question(memory.STEPS, _with_echo(memory.measure)),
    "first_event": Question(first_event.STEPS, _with_echo(first_event.measure)),
    "warm_batch": Question(warm_batch.STEPS, warm_batch.measure),
    "webhook_event": Question(webhook_event.STEPS, webhook_event.measure),
    "fetching": Question(fetching.STEPS, fetching.measure),
    "local_run": Question(local_run.STEPS, local_run.measure),
}
UNITS: Final = "aws_calls"


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A question: {', '.join([*QUESTIONS, UNITS])}. Others stay as they are."
        ),
    ] = None,
) -> None:
    """Measure our functions beside the peer and the floor."""
    asked = only or [*QUESTIONS, UNITS]
    if unknown := set(asked) - {*QUESTIONS, UNITS}:
        raise typer.BadParameter(f"--only: there is no question {', '.join(sorted(unknown))}")
    steps = sum(QUESTIONS[name].steps for name in asked if name in QUESTIONS)
    steps += (aws_calls.STEPS + backlog.STEPS) * (UNITS in asked)
    results = None
    with suppress(FileNotFoundError):
        results = Results.read()
    columns = (TextColumn("{task.description:45}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=steps)

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        if UNITS in asked:
            units, waiting = aws_calls.measured(step), backlog.measured(step)
            rows = results.rows if results else {}
            results = Results(units, waiting, {**rows, UNITS: list(aws_calls.rows(units))})
            results.write()
        if results is None:
            raise typer.BadParameter("--only: nothing has been measured yet. Leave it out.")
        for name in asked:
            if name in QUESTIONS:
                answered = list(QUESTIONS[name].measure(step))
                results = replace(results, rows={**results.rows, name: answered})
                results.write()
    pages.write()
    plots.draw()
    print("\n".join(pages.performance(Results.read())))


if __name__ == "__main__":
    typer.run(main)
