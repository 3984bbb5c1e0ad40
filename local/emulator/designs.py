"""The workspace's designs: the parameters and the words of each version."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from local.emulator.layout import Record, Words

type Structure = Mapping[str, str | Structure | list[Structure]]
"""Parameter name → `string`, `number`, the structure of an object, or a list of one structure."""


@dataclass(frozen=True)
class DesignVersion:
    """One version of a design."""

    parameters: Structure
    words: Words


@dataclass(frozen=True)
class Design:
    """A template: `id` is a UUID in lower case, `versions` are numbered from 1."""

    id: str
    label: str
    versions: Mapping[int, DesignVersion]


_INVOICE_PARAMETERS: Final[Structure] = {
    "customerName": "string",
    "customerAddress": "string",
    "invoiceNumber": "string",
    "issueDate": "string",
    "dueDate": "string",
    "currency": "string",
    "amount": "number",
    "taxRate": "number",
    "issuer": {
        "name": "string",
        "address": "string",
        "phone": "string",
        "registrationNumber": "string",
    },
    "items": [{"description": "string", "quantity": "number", "unitPrice": "number"}],
    "bank": {"name": "string", "branch": "string", "account": "string", "holder": "string"},
    "notes": "string",
}
_REPORT_PARAMETERS: Final[Structure] = {
    "title": "string",
    "period": "string",
    "author": "string",
    "summary": {"total": "number", "orders": "number"},
    "rows": [
        {
            "date": "string",
            "store": "string",
            "product": "string",
            "quantity": "number",
            "amount": "number",
        }
    ],
    "remarks": "string",
}
_CONTRACT_PARAMETERS: Final[Structure] = {
    "title": "string",
    "contractNumber": "string",
    "date": "string",
    "parties": [
        {"role": "string", "name": "string", "address": "string", "representative": "string"}
    ],
    "preamble": "string",
    "clauses": [{"heading": "string", "text": "string"}],
}

_LABELS: Final = {
    "customerName": "ご請求先",
    "customerAddress": "ご住所",
    "invoiceNumber": "請求書番号",
    "issueDate": "発行日",
    "dueDate": "お支払期限",
    "taxRate": "消費税率",
    "issuer": "発行者",
    "address": "住所",
    "phone": "電話番号",
    "registrationNumber": "登録番号",
    "items": "明細",
    "description": "品目",
    "quantity": "数量",
    "unitPrice": "単価",
    "amount": "金額",
    "subtotal": "小計",
    "bank": "お振込先",
    "name": "名称",
    "branch": "支店名",
    "account": "口座番号",
    "holder": "口座名義",
    "notes": "備考",
    "contractNumber": "契約番号",
    "date": "契約日",
    "parties": "契約当事者",
    "role": "区分",
    "representative": "代表者",
    "preamble": "前文",
    "clauses": "条項",
    "heading": "見出し",
    "text": "本文",
}

INVOICE: Final = Design(
    "550e8400-e29b-41d4-a716-446655440000",
    "Invoice (1 English, 2 Japanese)",
    {
        1: DesignVersion(_INVOICE_PARAMETERS, Words("Invoice", amount_due="Amount due")),
        2: DesignVersion(
            _INVOICE_PARAMETERS,
            Words("請求書", "{}.", "合計", "消費税", "ご請求金額(税込)", _LABELS),
        ),
    },
)
REPORT: Final = Design(
    "6f1c2a34-8d07-4b5e-9a61-2c7d5e0b9f18",
    "Report",
    {1: DesignVersion(_REPORT_PARAMETERS, Words("Report"))},
)
CONTRACT: Final = Design(
    "a3d9e5b0-47c2-4f86-8b1d-90e6f2c4a7d5",
    "Contract (1 English, 2 Japanese)",
    {
        1: DesignVersion(_CONTRACT_PARAMETERS, Words("Contract", "Article {}")),
        2: DesignVersion(
            _CONTRACT_PARAMETERS, Words("契約書", "第{}条", "合計", "消費税", labels=_LABELS)
        ),
    },
)
CATALOG: Final = (INVOICE, REPORT, CONTRACT)


def null_numbers(structure: Structure, values: Record, prefix: str = "") -> Iterator[str]:
    """The paths of number parameters that are null, such as `items.0.quantity`."""
    for name, kind in structure.items():
        if name not in values:
            continue
        value, path = values[name], f"{prefix}{name}"
        if kind == "number" and value is None:
            yield path
        elif isinstance(kind, Mapping) and isinstance(value, dict):
            yield from null_numbers(kind, value, f"{path}.")
        elif isinstance(kind, list) and isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield from null_numbers(kind[0], entry, f"{path}.{index}.")
