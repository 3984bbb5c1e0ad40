"""The workspace's designs: what parameters each version takes, and how it draws them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from local.emulator import agreement, invoice
from local.emulator.agreement import draw_contract
from local.emulator.document import Document
from local.emulator.invoice import draw_invoice
from local.emulator.parameters import Record
from local.emulator.report import draw_report

_NO_METADATA: Final[Mapping[str, str]] = {}

type Structure = Mapping[str, str | Structure | list[Structure]]
"""Parameter name → `string`, `number`, a nested object's structure, or a list of one."""


@dataclass(frozen=True)
class DesignVersion:
    """One version of a design."""

    parameters: Structure
    layout: Callable[[Document, Record], None]

    def render(
        self, file_id: str, title: str, values: Record, metadata: Mapping[str, str] = _NO_METADATA
    ) -> bytes:
        """The PDF's bytes; the same for the same arguments, and different for each `file_id`.

        `metadata` goes into the document's information dictionary.
        """
        document = Document(title, file_id, metadata)
        self.layout(document, values)
        return document.finish()

    def null_numbers(self, values: Record) -> list[str]:
        """The paths of number parameters that are null, such as `items.0.quantity`."""
        return list(_null_numbers(self.parameters, values))


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

INVOICE: Final = Design(
    "550e8400-e29b-41d4-a716-446655440000",
    "Invoice (1 English, 2 Japanese)",
    {
        1: DesignVersion(_INVOICE_PARAMETERS, partial(draw_invoice, wording=invoice.ENGLISH)),
        2: DesignVersion(_INVOICE_PARAMETERS, partial(draw_invoice, wording=invoice.JAPANESE)),
    },
)
REPORT: Final = Design(
    "6f1c2a34-8d07-4b5e-9a61-2c7d5e0b9f18",
    "Report",
    {1: DesignVersion(_REPORT_PARAMETERS, draw_report)},
)
CONTRACT: Final = Design(
    "a3d9e5b0-47c2-4f86-8b1d-90e6f2c4a7d5",
    "Contract (1 English, 2 Japanese)",
    {
        1: DesignVersion(_CONTRACT_PARAMETERS, partial(draw_contract, wording=agreement.ENGLISH)),
        2: DesignVersion(_CONTRACT_PARAMETERS, partial(draw_contract, wording=agreement.JAPANESE)),
    },
)
CATALOG: Final = (INVOICE, REPORT, CONTRACT)


def _null_numbers(structure: Structure, values: Record, prefix: str = "") -> Iterator[str]:
    for name, kind in structure.items():
        if name not in values:
            continue
        value, path = values[name], f"{prefix}{name}"
        if kind == "number" and value is None:
            yield path
        elif isinstance(kind, Mapping) and isinstance(value, dict):
            yield from _null_numbers(kind, value, f"{path}.")
        elif isinstance(kind, list) and isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict):
                    yield from _null_numbers(kind[0], entry, f"{path}.{index}.")
