"""Writes the tables of docs/performance.md and docs/limits.md from results.json.

Each table stands between `<!-- name -->` and `<!-- /name -->`.
"""

import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.bench import Bar, Row
from benchmarks.cost import Load, Part, columns
from benchmarks.prices import PRICES
from benchmarks.results import Results
from benchmarks.scale import matrix, table
from local.paths import REPOSITORY

PERFORMANCE: Final = REPOSITORY / "docs" / "performance.md"
LIMITS: Final = REPOSITORY / "docs" / "limits.md"
MILLION: Final = 1_000_000
REGION: Final = "us-east-1"
MOST_DOLLARS: Final = 14.0
MOST_DOLLARS_IN_A_BACKLOG: Final = 20.0
"""What a million PDFs may cost."""

ORDER: Final = (
    "cold_start",
    "memory",
    "first_event",
    "warm_batch",
    "webhook_event",
    "fetching",
    "aws_calls",
    "cost",
    "local_run",
)


def performance(results: Results) -> Iterator[str]:
    """The table of all rows; a spread is from the least to the greatest."""
    rows = {**results.rows, "cost": list(_cost_rows(results))}
    yield "| what | ours | peer | floor | ours / peer | bar |"
    yield "|---|---|---|---|---|---|"
    for row in chain.from_iterable(rows.get(question, ()) for question in ORDER):
        unit = f", {row.unit}" if row.unit else ""
        values = " | ".join(map(_value, (row.ours, row.peer, row.floor)))
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        yield f"| {row.what}{unit} | {values} | {ratio} | {row.verdict} |"


def prices(_: Results) -> Iterator[str]:
    """The table of prices."""
    yield "| Price | Of | " + " | ".join(PRICES) + " |"
    yield "|---|---|" + "---|" * len(PRICES)
    for name, meaning in _meanings().items():
        values = (_price(getattr(region, name)) for region in PRICES.values())
        yield f"| `{name}` | {meaning} | " + " | ".join(values) + " |"


def cost(results: Results) -> Iterator[str]:
    """What a million PDFs cost in each region, and beside the peer and the floor."""
    mine = {region: columns(results, Load(), of)["ours"] for region, of in PRICES.items()}
    steady = columns(results, Load(), PRICES[REGION])
    shown = {
        **mine,
        f"all in a backlog, {REGION}": columns(results, Load(backlog=1), PRICES[REGION])["ours"],
        f"peer, {REGION}": steady["peer"],
        f"floor, {REGION}": steady["floor"],
    }
    yield "| A million PDFs | " + " | ".join(shown) + " |"
    yield "|---|" + "---|" * len(shown)
    for part in Part:
        yield f"| {part} | " + " | ".join(_dollars(of[part]) for of in shown.values()) + " |"
    sums = (_dollars(sum(of.values())) for of in shown.values())
    yield "| **Together** | " + " | ".join(sums) + " |"


def scale(results: Results) -> Iterator[str]:
    """The limits, and what each rate takes of them."""
    mine = results.units["ours"]
    yield from table(mine)
    yield ""
    yield from matrix(mine)


type Table = Callable[[Results], Iterable[str]]

TABLES: Final[Mapping[Path, Mapping[str, Table]]] = {
    PERFORMANCE: {"table": performance},
    LIMITS: {"prices": prices, "cost": cost, "scale": scale},
}


def written(page: Path, results: Results) -> str:
    """The page with its tables as the results are now."""
    text = page.read_text()
    for name, lines in TABLES[page].items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"{page.name}: expected a table between {begin} and {end}")
        text = before + "\n".join([begin, "", *lines(results), "", end]) + after
    return text


def write() -> None:
    """Write all tables."""
    results = Results.read()
    for page in TABLES:
        page.write_text(written(page, results))


def _cost_rows(results: Results) -> Iterator[Row]:
    steady = columns(results, Load(), PRICES[REGION])
    waiting = columns(results, Load(backlog=1), PRICES[REGION])["ours"]
    mine, other, least = ([MILLION * sum(of.values())] for of in steady.values())
    of = mine, other, least
    what = f"a million PDFs, nothing waits, {REGION}"
    yield Row(what, "US dollars", *of, bar=MOST_DOLLARS, kind=Bar.MOST)
    yield Row(
        f"a million PDFs, all in a backlog, {REGION}",
        "US dollars",
        [MILLION * sum(waiting.values())],
        bar=MOST_DOLLARS_IN_A_BACKLOG,
        kind=Bar.MOST,
    )


def _meanings() -> Mapping[str, str]:
    """What each price is for, from the docstrings of the fields."""
    source = Path(__file__).with_name("prices.py").read_text()
    found = re.findall(r'^    (\w+): float.*\n    """(.+)\.?"""', source, re.MULTILINE)
    return {name: meaning[:1].lower() + meaning[1:].rstrip(".") for name, meaning in found}


def _price(value: float) -> str:
    return f"{value:.10f}".rstrip("0") if value < 0.01 else f"{value:.4g}"


def _dollars(a_pdf: float) -> str:
    return f"${MILLION * a_pdf:,.2f}"


def _value(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle, least, most = statistics.median(values), min(values), max(values)
    digits = 0 if middle >= 100 or middle == int(middle) else 1 if middle >= 10 else 2
    spread = "" if least == most else f" ({least:,.{digits}f} to {most:,.{digits}f})"
    return f"{middle:,.{digits}f}{spread}"


if __name__ == "__main__":
    write()
