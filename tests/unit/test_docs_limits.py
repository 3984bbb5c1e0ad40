"""docs/limits.md adds up: each formula comes to what the page says it does."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cost, pages
from benchmarks.results import Results
from stacks.settings import DeploymentSettings

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text()
REGIONS = ("us-east-1", "ap-northeast-1")
NUMBERS: dict[str, Any] = {
    name: setting.default
    for name, setting in DeploymentSettings.model_fields.items()
    if type(setting.default) is int
}


def _rows() -> Iterator[Mapping[str, str]]:
    """The rows of all tables, by the names of their columns."""
    for table in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE):
        names, _, *rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
        )
        yield from (dict(zip(names, row, strict=True)) for row in rows)


PRICES = {
    region: {row["Price"].strip("`"): float(row[region]) for row in _rows() if "Price" in row}
    for region in REGIONS
}


def _sums() -> Iterator[Any]:
    for row in _rows():
        for column in ("Comes to", *REGIONS):
            if "Formula" in row and column in row:
                formula, told = row["Formula"].strip("`"), row[column]
                yield pytest.param(formula, PRICES.get(column, {}), told, id=f"{row['What']}")


@pytest.mark.parametrize(("formula", "prices", "told"), list(_sums()))
def test_a_formula_comes_to_the_number_in_the_text(
    formula: str, prices: Mapping[str, float], told: str
) -> None:
    number = told.removeprefix("$").replace(",", "")
    decimals = len(number.partition(".")[2])

    result = eval(formula, {**NUMBERS, **prices})  # noqa: S307  (written in this repository)

    assert f"{result:.{decimals}f}" == number


def test_every_price_is_used() -> None:
    formulas = " ".join(row["Formula"] for row in _rows() if "Formula" in row)
    used = set(re.findall(r"[a-z_]+", formulas + inspect.getsource(cost)))
    assert PRICES[REGIONS[0]].keys() <= used


@pytest.mark.parametrize("page", pages.TABLES, ids=lambda page: page.name)
def test_the_tables_are_those_of_the_last_measurement(page: Path) -> None:
    """`python -m benchmarks.pages` writes them."""
    assert page.read_text() == pages.written(page, Results.read())
