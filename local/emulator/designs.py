"""The workspace's designs: the words of each version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local.emulator.layout import Words


@dataclass(frozen=True)
class Design:
    """A template: `id` is a UUID in lower case, `versions` are numbered from 1."""

    id: str
    label: str
    versions: Mapping[int, Words]


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
        1: Words("Invoice", amount_due="Amount due"),
        2: Words("請求書", "{}.", "合計", "消費税", "ご請求金額(税込)", _LABELS),
    },
)
REPORT: Final = Design(
    "6f1c2a34-8d07-4b5e-9a61-2c7d5e0b9f18",
    "Report",
    {1: Words("Report")},
)
CONTRACT: Final = Design(
    "a3d9e5b0-47c2-4f86-8b1d-90e6f2c4a7d5",
    "Contract (1 English, 2 Japanese)",
    {
        1: Words("Contract", "Article {}"),
        2: Words("契約書", "第{}条", "合計", "消費税", labels=_LABELS),
    },
)
CATALOG: Final = (INVOICE, REPORT, CONTRACT)
