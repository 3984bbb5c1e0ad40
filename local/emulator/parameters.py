"""The parameters of one document: read by its layout, and shown even where no layout asks."""

import json
import re
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TypeGuard

from local.emulator.document import Align, Document
from local.emulator.table import Column, Table

type Record = Mapping[str, object]

_CURRENCY_SIGNS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
_WHOLE_CURRENCIES = {"JPY", "KRW"}
_NOTHING = "–"


class Parameters:
    """What a layout takes from the parameters; `rest` is what it has not taken.

    A value of another type than the layout asks for is not taken, so nothing that was sent is
    missing from the page.
    """

    def __init__(self, values: Record) -> None:
        self._values = dict(values)

    def text(self, name: str, default: str = "") -> str:
        """Take a string, number or truth value as it is to be read."""
        value = self._values.get(name)
        if value is None or isinstance(value, dict | list):
            return default
        return shown(self._values.pop(name))

    def number(self, name: str) -> float | None:
        """Take a number, also one that was sent as a string."""
        value = number_of(self._values.get(name))
        if value is not None:
            del self._values[name]
        return value

    def group(self, name: str) -> "Parameters":
        """Take a nested object."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            return Parameters({})
        del self._values[name]
        return Parameters(value)

    def records(self, name: str) -> list[Record]:
        """Take a list of objects."""
        value = self._values.get(name)
        if not is_records(value):
            return []
        del self._values[name]
        return value

    def rest(self) -> Record:
        """What has not been taken."""
        return self._values


def is_records(value: object) -> TypeGuard[list[Record]]:
    """Whether `value` is a list of objects, and not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def number_of(value: object) -> float | None:
    """`value` as a number, if it is one or spells one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not isfinite(number):
        return None
    return value if isinstance(value, int) else number


def money(value: float, currency: str) -> str:
    """An amount with its currency, such as `¥12,300`, `$9.50` or `CHF 20.00`."""
    sign = _CURRENCY_SIGNS.get(currency, f"{currency} " if currency else "")
    decimals = 0 if currency in _WHOLE_CURRENCIES else 2
    return f"{'-' if value < 0 else ''}{sign}{abs(value):,.{decimals}f}"


def shown(value: object) -> str:
    """Any parameter as a person reads it."""
    match value:
        case None | "":
            return _NOTHING
        case bool():
            return "Yes" if value else "No"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        case float():
            return f"{value:,.2f}".rstrip("0").rstrip(".")
        case str():
            return value
        case list() if not any(isinstance(item, dict | list) for item in value):
            return ", ".join(shown(item) for item in value) or _NOTHING
        case _:
            return json.dumps(value, ensure_ascii=False)


def label_of(name: str) -> str:
    """`customerName` as `Customer name`; a Japanese name stays as it is."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).strip()
    return words[:1].upper() + words[1:].lower() if words.isascii() else words


def draw_parameters(document: Document, values: Record) -> None:
    """Show parameters of any shape: facts first, then a section for each object and list."""
    nested = {
        name: value
        for name, value in values.items()
        if value and (isinstance(value, dict) or is_records(value))
    }
    document.facts(
        (label_of(name), shown(value)) for name, value in values.items() if name not in nested
    )
    for name, value in nested.items():
        document.heading(label_of(name))
        if isinstance(value, dict):
            draw_parameters(document, value)
        elif is_records(value):
            draw_records(document, value)


def draw_records(document: Document, records: Sequence[Record]) -> None:
    """Show a list of objects as a table with a column for each name that occurs."""
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        return
    columns, texts = [], []
    for name in names:
        values = [record.get(name) for record in records]
        numeric = all(_is_numeral(value) or value is None for value in values)
        # Digits are grouped in all of a column or in none of it.
        grouped = numeric and any(_is_numeral(value) and abs(value) >= 10_000 for value in values)
        align = Align.RIGHT if numeric else Align.LEFT
        columns.append(Column(label_of(name), align, grows=not numeric))
        texts.append([f"{v:,}" if grouped and _is_numeral(v) else shown(v) for v in values])
    Table(document, columns, list(zip(*texts, strict=True))).draw()


def _is_numeral(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
