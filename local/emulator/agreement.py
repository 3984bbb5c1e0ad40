"""The layout of a contract between parties, in English and in Japanese."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local.emulator.document import INK, LABEL, Align, Document, Style
from local.emulator.parameters import Parameters, Record, draw_parameters, label_of, shown

_TITLE: Final = Style(20, bold=True)
_CLAUSE: Final = Style(10.5, bold=True)
_TEXT: Final = Style(10)


@dataclass(frozen=True)
class Wording:
    """The contract's own words in one language; `clause` takes the clause's number.

    `labels` are those of the parties' parameters.
    """

    number: str
    date: str
    parties: str
    clause: str
    signatures: str
    signature: str
    other: str
    labels: Mapping[str, str]


ENGLISH: Final = Wording(
    number="Contract number",
    date="Date",
    parties="Parties",
    clause="Article {}",
    signatures="Signatures",
    signature="Signature",
    other="Annex",
    labels={},
)
JAPANESE: Final = Wording(
    number="契約番号",
    date="契約日",
    parties="契約当事者",
    clause="第{}条",
    signatures="署名欄",
    signature="署名・捺印",
    other="別紙",
    labels={"address": "住所", "representative": "代表者"},
)


def draw_contract(document: Document, values: Record, wording: Wording) -> None:
    """Draw a contract: title, parties, numbered clauses, places to sign, and an annex."""
    parameters = Parameters(values)
    document.space(4)
    document.paragraph(parameters.text("title", "Contract"), _TITLE, align=Align.CENTRE)
    number, date = parameters.text("contractNumber"), parameters.text("date")
    facts = [f"{wording.number} {number}"] * bool(number) + [f"{wording.date} {date}"] * bool(date)
    document.paragraph("     ".join(facts), LABEL, align=Align.CENTRE)
    document.space(5)

    parties = parameters.records("parties")
    if parties:
        document.heading(wording.parties)
        for party in parties:
            _draw_party(document, party, wording)
    document.paragraph(parameters.text("preamble"), _TEXT)
    for position, clause in enumerate(parameters.records("clauses"), start=1):
        reader = Parameters(clause)
        document.space(3)
        document.reserve(18)
        heading = f"{wording.clause.format(position)}  {reader.text('heading')}"
        document.paragraph(heading, _CLAUSE)
        document.paragraph(reader.text("text"), _TEXT)
        draw_parameters(document, reader.rest())
    if parties:
        _draw_signatures(document, parties, wording)
    if parameters.rest():
        document.heading(wording.other)
        draw_parameters(document, parameters.rest())


def _draw_party(document: Document, party: Record, wording: Wording) -> None:
    reader = Parameters(party)
    role_and_name = "  ".join(filter(None, (reader.text("role"), reader.text("name"))))
    document.reserve(14)
    document.paragraph(role_and_name, _CLAUSE)
    document.facts(
        (wording.labels.get(name, label_of(name)), shown(value))
        for name, value in reader.rest().items()
    )
    document.space(2)


def _draw_signatures(document: Document, parties: list[Record], wording: Wording) -> None:
    document.heading(wording.signatures)
    gap = 10.0
    width = (document.epw - gap) / 2
    for start in range(0, len(parties), 2):
        document.reserve(34)
        top = document.y
        for index, party in enumerate(parties[start : start + 2]):
            x = document.l_margin + index * (width + gap)
            name = Parameters(party).text("name")
            first_line = document.lines(name, _CLAUSE, width)[0]
            document.write_at(x, top, first_line, _CLAUSE)
            document.set_draw_color(*INK)
            document.set_line_width(0.2)
            document.line(x, top + 22, x + width, top + 22)
            document.write_at(x, top + 23, wording.signature, LABEL)
        document.set_y(top + 32)
