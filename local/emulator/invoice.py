"""The layout of the invoice, in English and in Japanese."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from local.emulator.document import ACCENT, BODY, LABEL, MUTED, PALE, TITLE, Align, Document, Style
from local.emulator.parameters import (
    Parameters,
    Record,
    draw_parameters,
    draw_records,
    label_of,
    money,
    number_of,
    shown,
)
from local.emulator.table import Column, Table

_CUSTOMER: Final = Style(14, bold=True)
_AMOUNT: Final = Style(17, bold=True, colour=ACCENT)
_STRONG: Final = Style(9.5, bold=True)
_SMALL: Final = Style(8.5, colour=MUTED)
_HALF = 84.0  # millimetres of a column where there are two


@dataclass(frozen=True)
class Wording:
    """The invoice's own words in one language; `labels` are those of the parameters."""

    title: str
    number: str
    issued: str
    due: str
    bill_to: str
    honorific: str
    amount_due: str
    item_columns: tuple[str, str, str, str, str]
    subtotal: str
    tax: str
    total: str
    single_item: str
    bank: str
    notes: str
    other: str
    registration: str
    labels: Mapping[str, str]


ENGLISH: Final = Wording(
    title="INVOICE",
    number="Invoice number",
    issued="Date of issue",
    due="Payment due",
    bill_to="Bill to",
    honorific="",
    amount_due="Amount due",
    item_columns=("No.", "Description", "Quantity", "Unit price", "Amount"),
    subtotal="Subtotal",
    tax="Tax",
    total="Total",
    single_item="As agreed",
    bank="Payment details",
    notes="Notes",
    other="Further details",
    registration="Registration",
    labels={},
)
JAPANESE: Final = Wording(
    title="請求書",
    number="請求書番号",
    issued="発行日",
    due="お支払期限",
    bill_to="ご請求先",
    honorific=" 御中",
    amount_due="ご請求金額(税込)",
    item_columns=("No.", "品目", "数量", "単価", "金額"),
    subtotal="小計",
    tax="消費税",
    total="合計",
    single_item="ご請求一式",
    bank="お振込先",
    notes="備考",
    other="その他",
    registration="登録番号",
    labels={"name": "銀行名", "branch": "支店名", "account": "口座番号", "holder": "口座名義"},
)


def draw_invoice(document: Document, values: Record, wording: Wording) -> None:
    """Draw an invoice; amounts missing from the parameters are computed from the items."""
    parameters = Parameters(values)
    currency = parameters.text("currency", "JPY").upper()
    items = parameters.records("items")
    tax_rate = parameters.number("taxRate") or 0
    subtotal = sum(_amount_of(item) for item in items)
    amount = parameters.number("amount")
    if amount is None:
        amount = subtotal * (1 + tax_rate)

    _draw_heading(document, parameters, wording)
    _draw_amount(document, money(amount, currency), wording)
    if items:
        _draw_items(document, items, currency, wording)
        tax_label = f"{wording.tax} ({tax_rate:.0%})"
        totals = [(wording.subtotal, money(subtotal, currency))]
        if tax_rate:
            totals.append((tax_label, money(subtotal * tax_rate, currency)))
    else:
        row = ["1", wording.single_item, "1", money(amount, currency), money(amount, currency)]
        Table(document, _item_columns(wording), [row]).draw()
        totals = []
    _draw_totals(document, totals, (wording.total, money(amount, currency)))
    _draw_ending(document, parameters, wording)


def _draw_heading(document: Document, parameters: Parameters, wording: Wording) -> None:
    left, right = document.l_margin, document.w - document.r_margin - _HALF
    top = document.y
    document.write_at(left, top, wording.title, TITLE)
    document.facts(
        [
            (wording.number, parameters.text("invoiceNumber", shown(None))),
            (wording.issued, parameters.text("issueDate", shown(None))),
            (wording.due, parameters.text("dueDate", shown(None))),
        ],
        x=right + 12,
        label_width=32,
    )
    document.set_y(max(document.y, top + 14))
    document.rule(document.y, ACCENT, 0.6)
    document.space(6)

    top = document.y
    document.paragraph(wording.bill_to, LABEL, width=_HALF)
    customer = parameters.text("customerName")
    document.paragraph(customer + (wording.honorific if customer else ""), _CUSTOMER, width=_HALF)
    document.paragraph(parameters.text("customerAddress"), BODY, width=_HALF)
    below_customer = document.y

    document.set_y(top)
    issuer = parameters.group("issuer")
    document.paragraph(issuer.text("name"), _STRONG, x=right, align=Align.RIGHT)
    registration = issuer.text("registrationNumber")
    lines = [issuer.text("address"), issuer.text("phone")]
    lines += [f"{wording.registration} {registration}"] if registration else []
    lines += [f"{label_of(name)}: {shown(value)}" for name, value in issuer.rest().items()]
    for line in filter(None, lines):
        document.paragraph(line, _SMALL, x=right, align=Align.RIGHT)
    document.set_y(max(document.y, below_customer) + 6)


def _draw_amount(document: Document, amount: str, wording: Wording) -> None:
    document.reserve(18)
    top = document.y
    document.set_fill_color(*PALE)
    document.rect(document.l_margin, top, document.epw, 14, style="F")
    document.set_fill_color(*ACCENT)
    document.rect(document.l_margin, top, 1.2, 14, style="F")
    document.write_at(document.l_margin + 6, top + 4.4, wording.amount_due, _STRONG)
    document.write_at(document.l_margin, top + 2.8, amount, _AMOUNT, document.epw - 6, Align.RIGHT)
    document.set_y(top + 20)


def _item_columns(wording: Wording) -> list[Column]:
    number, description, quantity, price, amount = wording.item_columns
    return [
        Column(number, Align.RIGHT),
        Column(description, grows=True),
        Column(quantity, Align.RIGHT),
        Column(price, Align.RIGHT),
        Column(amount, Align.RIGHT),
    ]


def _draw_items(
    document: Document, items: Sequence[Record], currency: str, wording: Wording
) -> None:
    rows: list[list[str]] = []
    leftovers: list[Record] = []
    for number, item in enumerate(items, start=1):
        reader = Parameters(item)
        amount = money(_amount_of(item), currency)
        reader.number("amount")
        price = reader.number("unitPrice")
        rows.append(
            [
                str(number),
                reader.text("description", shown(None)),
                reader.text("quantity", "1"),
                amount if price is None else money(price, currency),
                amount,
            ]
        )
        if reader.rest():
            leftovers.append({wording.item_columns[0]: number, **reader.rest()})
    Table(document, _item_columns(wording), rows).draw()
    if leftovers:
        draw_records(document, leftovers)


def _draw_totals(
    document: Document, totals: Sequence[tuple[str, str]], total: tuple[str, str]
) -> None:
    document.reserve((len(totals) + 1) * 7 + 6)
    x = document.w - document.r_margin - _HALF + 10
    width = _HALF - 10
    for label, value in [*totals, total]:
        style = _STRONG if (label, value) == total else BODY
        top = document.y
        document.write_at(x, top, label, style)
        document.write_at(x, top, value, style, width - 1.6, Align.RIGHT)
        document.set_y(top + 6.2)
        document.rule(document.y - 0.8, x=x)
    document.space(5)


def _draw_ending(document: Document, parameters: Parameters, wording: Wording) -> None:
    bank = parameters.group("bank").rest()
    if bank:
        document.heading(wording.bank)
        document.facts(
            (wording.labels.get(name, label_of(name)), shown(value)) for name, value in bank.items()
        )
    notes = parameters.text("notes")
    if notes:
        document.heading(wording.notes)
        document.paragraph(notes)
    if parameters.rest():
        document.heading(wording.other)
        draw_parameters(document, parameters.rest())


def _amount_of(item: Record) -> float:
    """The item's amount, or its quantity times its unit price."""
    amount = number_of(item.get("amount"))
    if amount is not None:
        return amount
    quantity = number_of(item.get("quantity"))
    return (1 if quantity is None else quantity) * (number_of(item.get("unitPrice")) or 0)
