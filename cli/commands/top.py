"""`top`: a deployment at a glance."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.commands.deployment import target_of
from cli.commands.options import Json, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from cli.overview import Overview

_BARS: Final = "▁▂▃▄▅▆▇█"


def top(
    context: typer.Context,
    interval: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="Time between two looks."),
    ] = "10s",  # type: ignore[assignment]  # typer parses the default
    once: Annotated[bool, typer.Option("--once", help="Print one snapshot and end.")] = False,
    as_json: Json = False,
) -> None:
    """Show a deployment at a glance: queues, jobs, rate, dead letters and alarms.

    On a terminal the view is live until Ctrl-C. Without a terminal, with --once or --json it is one
    snapshot. Queues are counted at once; rates and alarms are as late as CloudWatch. When the
    number of dead letters has changed, up to 100 of each queue are read for their reasons and given
    back.

    Example: `reportflow top --prefix ReportFlow-prod`
    """
    from time import sleep

    from rich.live import Live

    from cli import output
    from cli.overview import Observer

    observer = Observer(target_of(context))
    console = output.out()
    if as_json:
        output.json_line(observer.look().as_json())
        return
    if once or not console.is_terminal:
        console.print(_rendered(observer.look()))
        return
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_rendered(observer.look()), refresh=True)
            sleep(max(1.0, interval.total_seconds()))


def _rendered(overview: "Overview") -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from cli import output

    queues = output.table(
        ("queue", "waiting", "in flight", "delayed", "oldest", "a minute", "empty in"),
        [
            (
                queue.name,
                queue.waiting,
                queue.in_flight,
                queue.delayed,
                _span(queue.oldest_seconds),
                f"{queue.per_minute:.3g}",
                _drain(queue.drain),
            )
            for queue in overview.queues
        ],
    )
    allowed = f" of {overview.calls_allowed}" if overview.calls_allowed else ""
    slot = output.precise(overview.next_slot)
    reasons = ", ".join(f"{code}: {n}" for code, n in overview.dead_letters.items())
    dead = f"{overview.dead_letters_in_all}" + (f" ({reasons})" if reasons else "")
    facts = [
        ("in flight", _counts(overview, "SUBMITTING", "SUBMITTED")),
        ("last hour", _counts(overview, "ARCHIVED", "FAILED")),
        ("archived", f"{_sparkline(overview.archived)} a minute, {max(overview.archived)} at most"),
        ("failed", f"{_sparkline(overview.failed)} a minute, {max(overview.failed)} at most"),
        (
            "rate limit",
            f"{overview.calls_last_minute}{allowed} calls in the last minute; next in {slot}",
        ),
        ("dead letters", dead),
        ("alarms", ", ".join(overview.alarms) or "none is red"),
    ]
    heading = Text(f"{overview.deployment}  {output.stamp(overview.at)}", "bold")
    return Group(heading, "", queues, "", output.paragraph(facts))


def _counts(overview: "Overview", *statuses: str) -> str:
    from cli.overview import MAX_JOBS

    return ", ".join(
        f"{overview.jobs[status]:,}{'+' if overview.jobs[status] == MAX_JOBS else ''} {status}"
        for status in statuses
    )


def _drain(left: timedelta | None) -> str:
    from cli.output import duration as in_words

    if left is None:
        return "never, at this rate"
    return in_words(left) if left else "is empty"


def _span(seconds: float | None) -> str:
    from cli.output import duration as in_words

    return "unknown" if seconds is None else in_words(timedelta(seconds=seconds))


def _sparkline(values: "Sequence[int]") -> str:
    """A bar for each minute, as high as its share of the highest."""
    highest = max(values, default=0) or 1
    return "".join(_BARS[round(value / highest * (len(_BARS) - 1))] for value in values)
