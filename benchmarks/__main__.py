"""Ask all questions about the functions' speed, and print the answers as a Markdown table."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import cold_start, first_event, memory, webhook_event
from benchmarks.bench import Row, echo
from local.paths import REPOSITORY


def main(
    repository: Annotated[
        Path, typer.Option(help="The checkout whose functions are measured.")
    ] = REPOSITORY,
) -> None:
    """Measure our functions beside the peer and the floor."""
    steps = cold_start.STEPS + memory.STEPS + first_event.STEPS + webhook_event.STEPS
    columns = (TextColumn("{task.description:45}"), BarColumn(), MofNCompleteColumn())
    with (
        tempfile.TemporaryDirectory() as folder,
        echo(Path(folder)) as place,
        Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("", total=steps)

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        rows = [
            *first_event.measure(repository, place, step),
            *memory.measure(repository, place, step),
            *webhook_event.measure(repository, step),
            *cold_start.measure(repository, step),
        ]
    print("\n".join(table(rows)))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows in Markdown; a spread is from the least to the greatest."""
    yield "| what | ours | peer | floor | ours / peer | bar |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        unit = f", {row.unit}" if row.unit else ""
        values = " | ".join(map(_value, (row.ours, row.peer, row.floor)))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        yield f"| {row.what}{unit} | {values} | {ratio} | {row.verdict} |"


def _value(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle, least, most = statistics.median(values), min(values), max(values)
    digits = 0 if middle >= 100 or middle == int(middle) else 1
    spread = "" if least == most else f" ({least:,.{digits}f} to {most:,.{digits}f})"
    return f"{middle:,.{digits}f}{spread}"


if __name__ == "__main__":
    typer.run(main)
