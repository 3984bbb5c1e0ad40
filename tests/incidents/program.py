"""The fire drill's command line: one system an incident, and a table of how each ended."""

import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local.backend import BackendKind
from tests.incidents.catalogue import INCIDENTS, live_through
from tests.incidents.drill import Report
from tests.incidents.site import Scale, run_site

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def main() -> None:
    """Run the command line."""
    # A background job of a shell ignores Ctrl-C, and so would the commands that the drill starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The drill talks to this machine only, whatever the terminal is set up for.
    os.environ["NO_PROXY"] = "127.0.0.1"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    typer.run(_drill)


def _drill(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help=f"Of {', '.join(INCIDENTS)}. Default: all."),
    ] = None,
    outage_seconds: Annotated[float, typer.Option(min=10, help="How long an outage is.")] = 60,
    letters: Annotated[int, typer.Option(min=20, help="Dead letters that are sent back.")] = 300,
    jobs: Annotated[int, typer.Option(min=2, help="Jobs of the other incidents.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Of all that is random.")] = None,
    backend: Annotated[
        BackendKind,
        typer.Option(help="What plays AWS; moto is slow above a few hundred dead letters."),
    ] = BackendKind.MOTO,
) -> None:
    """Stage incidents, find each with doctor, end it as documented, and count what was lost."""
    for name in names or ():
        if name not in INCIDENTS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(INCIDENTS)}")
    seed = secrets.randbelow(10**6) if seed is None else seed
    scale = Scale(jobs, outage_seconds, letters, backend=backend)
    reports: list[Report] = []
    failed = 0
    for name in names or INCIDENTS:
        console.print(f"[bold]{name}[/]  (--seed {seed})")
        try:
            with (
                TemporaryDirectory(prefix="incident-") as folder,
                run_site(Path(folder), scale, seed, INCIDENTS[name].settings) as site,
            ):
                reports.append(live_through(name, site))
                for line in reports[-1].afterwards:
                    console.print(f"  afterwards, {line}", markup=False)
        except (AssertionError, TimeoutExpired) as error:
            failed += 1
            console.print(f"[red]{name}: {escape(str(error))}[/]")
    _show(reports)
    if failed or any(report.lost for report in reports):
        raise typer.Exit(1)


def _show(reports: Sequence[Report]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("incident", "shown by"):
        table.add_column(name, no_wrap=True)
    for name in ("after s", "jobs", "archived", "given up", "made twice", "lost", "in all s"):
        table.add_column(name, justify="right")
    for report in reports:
        colour = "red" if report.lost else "green"
        table.add_row(
            report.incident,
            ", ".join(dict.fromkeys(shown.check for shown in report.shown)),
            f"{min((shown.seconds for shown in report.shown), default=0):.0f}",
            f"{report.jobs}",
            f"{report.archived}",
            f"{report.failed}",
            f"{report.twice}",
            f"[{colour}]{report.lost}[/]",
            f"{report.seconds:.0f}",
        )
    console.print(table)
