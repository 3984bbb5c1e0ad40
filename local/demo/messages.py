"""The demo's messages: documents as upstream systems send them, and two mistakes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from local.emulator.designs import CONTRACT, INVOICE, REPORT, Design

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
    return [
        *_invoices(random),
        *_reports(random),
        *_contracts(),
        Message(
            "invalid: version is text",
            _body("demo-invalid", INVOICE, "invalid.pdf", {"amount": 1}, version="one"),
            failure="INVALID_MESSAGE",
        ),
        Message(
            "no such design",
            _body("demo-no-design", None, "missing.pdf", {"amount": 1}),
            failure="HTTP_404",
        ),
    ]


def _invoices(random: Random) -> Iterator[Message]:
    yield Message(
        "plain invoice",
        _body(
            "demo-invoice-plain",
            INVOICE,
            "invoice.pdf",
            {"customerName": "John Doe", "invoiceNumber": "INV-2024-001", "amount": 10000},
        ),
    )
    yield Message(
        "invoice, sent twice",
        _body("demo-invoice-twice", INVOICE, "invoice-twice.pdf", _invoice(random, "Jane Roe", 3)),
        times=2,
    )
    for number, customer in enumerate(_CUSTOMERS, start=1):
        yield Message(
            "Japanese invoice",
            _body(
                f"demo-seikyusho-{number}",
                INVOICE,
                f"請求書_{number:03}.pdf",
                _invoice(random, customer, 2 * number),
                version=2,
            ),
        )
    for number, tenant in enumerate(("acme", "初芝電産", "globex"), start=1):
        yield Message(
            "invoice with metadata",
            _body(
                f"demo-invoice-metadata-{number}",
                INVOICE,
                f"invoice-{number}.pdf",
                _invoice(random, f"Tenant {number}", 4),
                metadata={"tenant": tenant, "order": {"id": number, "tags": ["a", "b"]}},
            ),
        )
    for number in (1, 2, 3):
        yield Message(
            "invoice without jobId",
            _body(None, INVOICE, f"nameless-{number}.pdf", _invoice(random, "Guest", number)),
        )
    yield Message(
        "invoice of 120 lines",
        _body("demo-invoice-long", INVOICE, "invoice-long.pdf", _invoice(random, "Big Ltd", 120)),
    )


def _reports(random: Random) -> Iterator[Message]:
    for rows in (250, 400, 800):
        yield Message(
            f"table of {rows} rows",
            _body(f"demo-report-{rows}", REPORT, f"売上報告-{rows}.pdf", _report(random, rows)),
        )
    for rows in (1, 40, 90):
        yield Message(
            f"table of {rows} row{'s' * (rows > 1)}",
            _body(f"demo-report-{rows}", REPORT, f"sales-{rows}.pdf", _report(random, rows)),
        )


def _contracts() -> Iterator[Message]:
    english = {
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
    japanese = {
        "title": "業務委託契約書",
        "contractNumber": "契-2024-018",
        "date": "令和6年4月1日",
        "parties": [
            {
                "role": "甲",
                "name": "株式会社甲野",
                "address": "東京都",
                "representative": "甲野 太郎",
            },
            {"role": "乙", "name": "乙山 花子", "address": "大阪府"},
        ],
        "preamble": "甲と乙は、次のとおり契約を締結する。",
        "clauses": [
            {
                "heading": "（目的）",
                "text": "甲は乙に対し、本業務を委託し、乙はこれを受託する。" * 6,
            }
            for _ in range(8)
        ],
    }
    yield Message("contract", _body("demo-contract", CONTRACT, "contract.pdf", english))
    yield Message(
        "Japanese contract",
        _body("demo-keiyaku", CONTRACT, "業務委託契約書.pdf", japanese, version=2),
    )
    yield Message(
        "numbers as written",
        _body(
            "demo-numbers",
            CONTRACT,
            "numbers.pdf",
            {"title": "Annex", "rate": 0.1, "units": 10**24},
        ),
    )


def _invoice(random: Random, customer: str, lines: int) -> Json:
    items = [
        {
            "description": random.choice(_PRODUCTS),
            "quantity": random.randint(1, 20),
            "unitPrice": random.randrange(100, 2000, 10),
        }
        for _ in range(lines)
    ]
    return {
        "customerName": customer,
        "customerAddress": "大阪府大阪市北区梅田2-2-2",
        "invoiceNumber": f"INV-2024-{random.randint(100, 999)}",
        "issueDate": "2024-04-30",
        "dueDate": "2024-05-31",
        "currency": "JPY",
        "taxRate": 0.1,
        "issuer": _ISSUER,
        "items": items,
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
    total = sum(int(str(row["amount"])) for row in table)
    return {
        "title": "年間売上報告書",
        "period": "2024-01-01 – 2024-12-31",
        "author": "営業部",
        "summary": {"total": total, "orders": rows},
        "rows": table,
    }


def _body(
    job_id: str | None,
    design: Design | None,
    file_name: str,
    params: Json,
    *,
    version: int | str = 1,
    metadata: Json | None = None,
) -> str:
    body: dict[str, Any] = {
        "designId": design.id if design else "00000000-0000-4000-8000-000000000000",
        "version": version,
        "content": {"fileName": file_name, "params": params},
    }
    if job_id:
        body["jobId"] = job_id
    if metadata:
        body["metadata"] = metadata
    return json.dumps(body, ensure_ascii=False)
