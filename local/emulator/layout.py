"""The one layout of all designs: it shows any parameters as a document for a customer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TypeGuard

from local.emulator.document import Document, needs_japanese

type Record = Mapping[str, object]

_CURRENCY_SIGNS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
_WHOLE_CURRENCIES = {"JPY", "KRW"}
_MONEY = re.compile("(?i)(amount|price|total)$")
_LONG = 70
_MAX_COLUMNS = 10
_NOTHING = "–"


@dataclass(frozen=True)
class Words:
    """A design's own words; `labels` are those of its parameters.

    With `amount_due` set, the document states the amount, computed if no parameter gives it.
    `entry` numbers the entries of a list with long texts.
    """

    title: str
    entry: str = "{}."
    total: str = "Total"
    tax: str = "Tax"
    amount_due: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def render(
    words: Words, file_id: str, title: str, values: Record, metadata: Mapping[str, str]
) -> bytes:
    """The PDF's bytes: the same for the same arguments, different for each `file_id`.

    `metadata` goes into the document's information dictionary.
    """
    own = [words.title, *words.labels.values()]
    japanese = needs_japanese([*own, title, *_texts(values)])
    document = Document(title, file_id, metadata, japanese=japanese)
    _Drawing(document, words, values).draw(values)
    return document.finish()


class _Drawing:
    def __init__(self, document: Document, words: Words, values: Record) -> None:
        self._document = document
        self._words = words
        currency = values.get("currency")
        self._currency = currency.upper() if isinstance(currency, str) else None
        if words.amount_due and currency is None:
            self._currency = "JPY"

    def draw(self, values: Record) -> None:
        """Draw the whole document."""
        document, words, rest = self._document, self._words, dict(values)
        title = rest.pop("title") if isinstance(rest.get("title"), str) else words.title
        if isinstance(rest.get("currency"), str):
            del rest["currency"]
        document.headline(str(title))
        rate = number_of(rest.get("taxRate"))
        sums = [_sum(rows) for rows in rest.values() if is_records(rows)]
        amount = number_of(rest.get("amount"))
        if amount is None and "amount" not in rest and any(sums):
            amount = sum(filter(None, sums)) * (1 + (rate or 0))
        if words.amount_due and amount is not None:
            document.band(words.amount_due, money(amount, self._currency or ""))
            rest.pop("amount", None)
        if rate is not None and any(sums):
            del rest["taxRate"]  # is shown below the table
        self._section(rest, rate or 0)

    def _section(self, values: Record, rate: float = 0) -> None:
        """Draw values of any shape: short ones first, then a part for each other one."""
        large = {name: value for name, value in values.items() if _is_large(value)}
        self._document.facts(
            [
                (self._label(name), self._shown(name, value))
                for name, value in values.items()
                if name not in large
            ]
        )
        for name, value in large.items():
            self._document.heading(self._label(name))
            if isinstance(value, dict):
                self._section(value)
            elif is_records(value):
                self._records(value, rate)
            else:
                self._document.paragraph(shown(value))

    def _records(self, records: Sequence[Record], rate: float) -> None:
        total = _sum(records)
        if total is not None:
            records = [{"amount": _amount(record), **record} for record in records]
        names = list(dict.fromkeys(name for record in records for name in record))
        names.sort(key=lambda name: name == "amount")  # the last column, above the sums
        rows = [[self._shown(name, record.get(name)) for name in names] for record in records]
        if len(names) > _MAX_COLUMNS or any(_is_large(text) for row in rows for text in row):
            self._entries(records)
        elif names:
            numeric = [all(_is_numeric(record.get(name)) for record in records) for name in names]
            sums = list(self._sums(names, total, rate))
            self._document.records([self._label(name) for name in names], rows, sums, numeric)

    def _sums(self, names: Sequence[str], total: float | None, rate: float) -> Iterator[list[str]]:
        """The rows below a table of amounts: with a tax rate the tax, and the total with it."""
        if total is None or len(names) < 2:
            return
        labels = [self._words.total]
        amounts = [total]
        if rate:
            tax = f"{self._words.tax} ({rate:.0%})"
            labels = [self._label("subtotal"), tax, self._words.total]
            amounts = [total, total * rate, total * (1 + rate)]
        column = names.index("amount")
        for label, amount in zip(labels, amounts, strict=True):
            row = [""] * len(names)
            row[column] = self._shown("amount", amount)
            row[column - 1] = label
            yield row

    def _entries(self, records: Sequence[Record]) -> None:
        """Write records with long texts below each other."""
        for number, record in enumerate(records, start=1):
            title, rest = self._words.entry.format(number), dict(record)
            name, first = next(iter(record.items()), ("", None))
            if isinstance(first, str) and not _is_large(first):
                title += f"  {first}"
                del rest[name]
            self._document.heading(title, 9.5)
            texts = [(self._label(name), self._shown(name, value)) for name, value in rest.items()]
            self._document.facts([pair for pair in texts if not _is_large(pair[1])])
            for _, text in texts:
                if _is_large(text):
                    self._document.paragraph(text)

    def _label(self, name: str) -> str:
        return self._words.labels.get(name) or label_of(name)

    def _shown(self, name: str, value: object) -> str:
        number = number_of(value)
        if number is None or not _MONEY.search(name):
            return shown(value)
        return money(number, self._currency) if self._currency else _grouped(number)


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
        case None | "" | []:
            return _NOTHING
        case bool():
            return "Yes" if value else "No"
        case int() | float():
            return _grouped(value) if abs(value) >= 10_000 else _grouped(value).replace(",", "")
        case str():
            return value
        case list() if not any(isinstance(item, dict | list) for item in value):
            return ", ".join(map(shown, value))
        case dict() if not any(isinstance(item, dict | list) for item in value.values()):
            pairs = [f"{label_of(name)}: {shown(item)}" for name, item in value.items()]
            return ", ".join(pairs) or _NOTHING
        case _:
            return json.dumps(value, ensure_ascii=False)


def label_of(name: str) -> str:
    """`customerName` as `Customer name`; a Japanese name stays as it is."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).strip()
    words = " ".join(words.split())[:_LONG]
    return words[:1].upper() + words[1:].lower() if words.isascii() else words


def _grouped(number: float) -> str:
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.2f}".rstrip("0").rstrip(".")


def _is_large(value: object) -> bool:
    """Whether a value needs a part of the document for itself."""
    if isinstance(value, str):
        return len(value) > _LONG or "\n" in value
    return is_records(value) or (isinstance(value, dict) and bool(value))


def _is_numeric(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _amount(record: Record) -> float | None:
    """The record's amount, or its quantity times its unit price."""
    price = number_of(record.get("unitPrice"))
    if "amount" in record or price is None:
        return number_of(record.get("amount"))
    quantity = number_of(record.get("quantity"))
    return price * (1 if quantity is None else quantity)


def _sum(records: Sequence[Record]) -> float | None:
    """The sum of the records' amounts, or None if none has one."""
    amounts = [amount for amount in map(_amount, records) if amount is not None]
    return sum(map(float, amounts)) if amounts else None


def _texts(value: object) -> Iterator[str]:
    """Every text that can be on the page, in names and in values."""
    level = [value]
    while level:
        item = level.pop()
        if isinstance(item, dict):
            yield from item
            level += item.values()
        elif isinstance(item, list):
            level += item
        elif isinstance(item, str):
            yield item
