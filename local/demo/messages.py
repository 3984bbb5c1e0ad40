"""The demo's messages: documents as upstream systems send them, and two mistakes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from local.emulator.designs import CONTRACT, INVOICE, REPORT

type Json = Mapping[str, Any]

_ISSUER = {
    "name": "株式会社サンプル商事",
    "address": "東京都千代田区丸の内1-1-1",
    "phone": "03-0000-0000",
    "registrationNumber": "T1234567890123",
}
_BANK = {
    "name": "みらい銀行",
    "branch": "本店",
    "account": "普通 1234567",
    "holder": "カ）サンプル",
}
_CUSTOMERS = ("田中 太郎", "鈴木 花子", "髙橋 一郎", "齋藤 さくら", "グェン・ヴァン・アン")
_PRODUCTS = ("Green tea", "抹茶ラテ", "ほうじ茶", "Espresso", "玄米茶", "Lemonade", "紅茶")
_STORES = ("東京", "大阪", "Sapporo", "福岡", "名古屋")

_AGREEMENT: Json = {
    "title": "Service Agreement",
    "contractNumber": "C-2024-17",
    "date": "2024-04-01",
    "parties": [
        {"role": "Customer", "name": "Acme Inc.", "address": "1 Main Street, Springfield"},
        {"role": "Supplier", "name": "Sample Trading Co., Ltd.", "address": "Tokyo"},
    ],
    "preamble": "The parties agree as follows.",
    "clauses": [
        {"heading": f"Clause {number}", "text": "The supplier performs the service. " * 8}
        for number in range(1, 13)
    ],
}
_JAPANESE_AGREEMENT: Json = {
    "title": "業務委託契約書",
    "contractNumber": "契-2024-018",
    "date": "令和6年4月1日",
    "parties": [
        {"role": "甲", "name": "株式会社甲野", "address": "東京都", "representative": "甲野 太郎"},
        {"role": "乙", "name": "乙山 花子", "address": "大阪府"},
    ],
    "preamble": "甲と乙は、次のとおり契約を締結する。",
    "clauses": [
        {"heading": "（目的）", "text": "甲は乙に対し、本業務を委託し、乙はこれを受託する。" * 6}
    ]
    * 8,
}


@dataclass(frozen=True)
class Message:
    """One message and how its job must end.

    `times` is how often it is sent. `failure` is the job's expected error code, or None if a PDF
    must be archived.
    """

    about: str
    body: str
    times: int = 1
    failure: str | None = None


def messages() -> list[Message]:
    """All 25; each call gives the same ones."""
    random = Random(2024)  # noqa: S311  (variety that is the same each time, not secrecy)
    return [*_invoices(random), *_reports(random), *_others()]


def _invoices(random: Random) -> Iterator[Message]:
    plain = {"customerName": "John Doe", "invoiceNumber": "INV-2024-001", "amount": 10000}
    twice = _invoice(random, "Jane Roe", 3)
    yield Message("plain invoice", _body("invoice-plain", "invoice.pdf", plain))
    yield Message(
        "invoice, sent twice", _body("invoice-twice", "invoice-twice.pdf", twice), times=2
    )
    for number, customer in enumerate(_CUSTOMERS, start=1):
        params = _invoice(random, customer, 2 * number)
        body = _body(f"seikyusho-{number}", f"請求書_{number:03}.pdf", params, version=2)
        yield Message("Japanese invoice", body)
    for number, tenant in enumerate(("acme", "初芝電産", "globex"), start=1):
        params = _invoice(random, f"Tenant {number}", 4)
        metadata = {"tenant": tenant, "order": {"id": number, "tags": ["a", "b"]}}
        job = f"invoice-metadata-{number}"
        body = _body(job, f"invoice-{number}.pdf", params, metadata=metadata)
        yield Message("invoice with metadata", body)
    for number in (1, 2, 3):
        params = _invoice(random, "Guest", number)
        yield Message("invoice without jobId", _body(None, f"nameless-{number}.pdf", params))
    long = _invoice(random, "Big Ltd", 120)
    yield Message("invoice of 120 lines", _body("invoice-long", "invoice-long.pdf", long))


def _reports(random: Random) -> Iterator[Message]:
    for rows in (250, 400, 800, 1, 40, 90):
        name = f"売上報告-{rows}.pdf" if rows > 100 else f"sales-{rows}.pdf"
        body = _body(f"report-{rows}", name, _report(random, rows), design=REPORT.id)
        yield Message(f"table of {rows} row{'s' * (rows > 1)}", body)


def _others() -> Iterator[Message]:
    yield Message("contract", _body("contract", "contract.pdf", _AGREEMENT, design=CONTRACT.id))
    body = _body(
        "keiyaku", "業務委託契約書.pdf", _JAPANESE_AGREEMENT, version=2, design=CONTRACT.id
    )
    yield Message("Japanese contract", body)
    numbers = {"title": "Annex", "rate": 0.1, "units": 10**24}
    yield Message(
        "numbers as written", _body("numbers", "numbers.pdf", numbers, design=CONTRACT.id)
    )
    params = {"amount": 1}
    body = _body("invalid", "invalid.pdf", params, version="one")
    yield Message("invalid: version is text", body, failure="INVALID_MESSAGE")
    body = _body("no-design", "missing.pdf", params, design="00000000-0000-4000-8000-000000000000")
    yield Message("no such design", body, failure="HTTP_404")


def _invoice(random: Random, customer: str, lines: int) -> Json:
    return {
        "customerName": customer,
        "customerAddress": "大阪府大阪市北区梅田2-2-2",
        "invoiceNumber": f"INV-2024-{random.randint(100, 999)}",
        "issueDate": "2024-04-30",
        "dueDate": "2024-05-31",
        "currency": "JPY",
        "taxRate": 0.1,
        "issuer": _ISSUER,
        "items": [
            {
                "description": random.choice(_PRODUCTS),
                "quantity": random.randint(1, 20),
                "unitPrice": random.randrange(100, 2000, 10),
            }
            for _ in range(lines)
        ],
        "bank": _BANK,
        "notes": "振込手数料はご負担ください。",
    }


def _report(random: Random, rows: int) -> Json:
    table = [
        {
            "date": f"2024-{1 + row * 12 // rows:02}-{random.randint(1, 28):02}",
            "store": random.choice(_STORES),
            "product": random.choice(_PRODUCTS),
            "quantity": random.randint(1, 50),
            "amount": random.randrange(500, 50000, 10),
        }
        for row in range(rows)
    ]
    return {
        "title": "年間売上報告書",
        "period": "2024-01-01 – 2024-12-31",
        "author": "営業部",
        "summary": {"total": sum(int(str(row["amount"])) for row in table), "orders": rows},
        "rows": table,
    }


def _body(
    job: str | None,
    file_name: str,
    params: Json,
    *,
    design: str = INVOICE.id,
    version: int | str = 1,
    metadata: Json | None = None,
) -> str:
    body: dict[str, Any] = {
        "designId": design,
        "version": version,
        "content": {"fileName": file_name, "params": params},
    }
    if job:
        body["jobId"] = f"demo-{job}"
    if metadata:
        body["metadata"] = metadata
    return json.dumps(body, ensure_ascii=False)
