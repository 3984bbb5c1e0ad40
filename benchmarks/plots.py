"""Draw docs/plots from results.json: the first event, what a million PDFs cost, and the limits.

It runs in a process of its own, with matplotlib from the lock of the benchmarks.
"""

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from benchmarks.bench import Row
from benchmarks.candidates import packages
from benchmarks.cost import Load, Part, columns
from benchmarks.prices import PRICES
from benchmarks.results import Results
from benchmarks.scale import limits
from local.paths import REPOSITORY

FOLDER: Final = REPOSITORY / "docs" / "plots"
WIDTH_INCHES: Final = 8.0
REGION: Final = "us-east-1"
COLOURS: Final[Mapping[str, str]] = {"ours": "#2563a8", "peer": "#c46a1b", "floor": "#8a8a8a"}

TICKS: Final = (1, 10, 100, 1000, 10_000)

BARS: Final = {
    "first batch of 10, TLS": "first batch of 10",
    "first webhook, TLS": "first webhook",
    "both together, submitter": "cold start and first batch",
    "both together, webhook": "cold start and first webhook",
}
"""Rows of the table, and what the plot calls them."""


def draw() -> None:
    """Draw all plots in a process that has matplotlib."""
    layer = REPOSITORY / "layers" / "reportflow"
    path = ":".join(map(str, (REPOSITORY, layer, packages())))
    subprocess.run([sys.executable, "-m", "benchmarks.plots"], env={"PYTHONPATH": path}, check=True)


def _main() -> None:
    results = Results.read()
    FOLDER.mkdir(exist_ok=True)
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with _pyplot().rc_context(style):
        _first_event(results.rows["first_event"])
        _cost(results)
        _scale(results)


def _pyplot() -> Any:  # noqa: ANN401  (only the process of `draw` has the module)
    return import_module("matplotlib.pyplot")


def _axes(inches: float) -> Any:  # noqa: ANN401  (a figure, and its axes)
    return _pyplot().subplots(figsize=(WIDTH_INCHES, inches), layout="constrained")


def _save(figure: Any, name: str) -> None:  # noqa: ANN401  (a figure)
    # Without the version of matplotlib, so that the same data make the same file.
    figure.savefig(FOLDER / f"{name}.png", dpi=100, metadata={"Software": None})


def _first_event(rows: Sequence[Row]) -> None:
    figure, axes = _axes(3.6)
    shown = {row.what: row for row in rows}
    for place, what in enumerate(reversed(BARS)):
        row = shown[what]
        for number, (name, values) in enumerate(
            (("floor", row.floor), ("peer", row.peer), ("ours", row.ours))
        ):
            value = statistics.median(values)
            axes.barh(place + 0.27 * (number - 1), value, 0.25, color=COLOURS[name])
            axes.text(value, place + 0.27 * (number - 1), f" {value:,.0f}", va="center")
    axes.set_yticks(range(len(BARS)), list(reversed(BARS.values())))
    axes.set_xlabel("milliseconds of a whole processor, over TLS")
    axes.set_title("A cold start and the first event", loc="left")
    _legend(axes, COLOURS)
    _save(figure, "first-event")


def _cost(results: Results) -> None:
    figure, axes = _axes(3.2)
    steady = columns(results, Load(), PRICES[REGION])
    waiting = columns(results, Load(backlog=1), PRICES[REGION])
    bars = {
        "ours, all in a backlog": waiting["ours"],
        "ours, nothing waits": steady["ours"],
        "peer, keeps no rate limit": steady["peer"],
        "floor": steady["floor"],
    }
    palette = ["#1f4e79", "#2f6fa7", "#5b9bd0", "#a9cbe8", "#b4501e", "#e08a4b", "#6b8e23"]
    colours = dict(zip(Part, [*palette, "#a8c26a", "#8a8a8a", "#c9c9c9"], strict=True))
    for place, parts in enumerate(reversed(bars.values())):
        left = 0.0
        for part in Part:
            dollars = 1e6 * parts[part]
            axes.barh(place, dollars, 0.6, left=left, color=colours[part])
            left += dollars
        axes.text(left, place, f" ${left:,.0f}", va="center")
    axes.set_yticks(range(len(bars)), list(reversed(bars)))
    axes.set_xlabel(f"US dollars for a million PDFs of 100 KB, {REGION}; ReportFlow is extra")
    axes.set_title("What AWS bills for a million PDFs", loc="left")
    _legend(axes, {str(part): colour for part, colour in colours.items()})
    _save(figure, "cost")


def _scale(results: Results) -> None:
    figure, axes = _axes(3.6)
    found = limits(results.units["ours"])
    for place, limit in enumerate(reversed(found)):
        axes.barh(place, limit.jobs_per_second, 0.6, color=COLOURS["ours"])
        digits = 2 if limit.jobs_per_second < 10 else 0
        text = f" {limit.jobs_per_second:,.{digits}f}"
        axes.text(limit.jobs_per_second, place, text, va="center")
    axes.set_yticks(range(len(found)), [limit.short.replace("`", "") for limit in reversed(found)])
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_xlabel("jobs a second up to which each limit holds")
    axes.set_title("Which limit breaks first", loc="left")
    _save(figure, "scale")


def _legend(axes: Any, colours: Mapping[str, str]) -> None:  # noqa: ANN401  (axes)
    patches = [_pyplot().Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    axes.legend(patches, list(colours), frameon=False, fontsize=8, **place)


if __name__ == "__main__":
    _main()
