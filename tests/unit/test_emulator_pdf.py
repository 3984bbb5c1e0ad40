import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from time import sleep, time

import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.emulator.designs import CATALOG, CONTRACT, INVOICE, REPORT, Design
from local.emulator.document import SUBSTITUTE
from local.emulator.layout import money
from local.emulator.layout import render as make
from tests.unit.emulator_client import information

EVERY_VERSION = [
    pytest.param(design, version, id=f"{design.label.split()[0]} {version}")
    for design in CATALOG
    for version in design.versions
]
JAPANESE = "株式会社山田製作所 髙橋様 ｶﾅ グラントウキョウ"
ROWS = [
    {"date": f"2026-01-{number % 28 + 1:02}", "store": "東京丸の内", "amount": number * 37}
    for number in range(300)
]


def render(
    design: Design, values: dict[str, object], version: int = 1, file_id: str = "file_1"
) -> bytes:
    return make(design.versions[version].words, file_id, "Title", values, {})


def pages(pdf: bytes) -> list[str]:
    with pypdfium2.PdfDocument(pdf) as document:
        texts = []
        for page in document:
            text_page = page.get_textpage()
            texts.append(text_page.get_text_bounded())
            text_page.close()
            page.close()
    return texts


def words(pdf: bytes) -> str:
    """The text without the spaces and line breaks that the layout decides."""
    return "".join("".join(pages(pdf)).split())


@pytest.mark.parametrize(("design", "version"), EVERY_VERSION)
def test_metadata_of_any_name_goes_into_the_document(design: Design, version: int) -> None:
    metadata = {"jobId": "job_1", "顧客 #1": "(山田) \\ \ud800", "Title": "Mine"}

    pdf = make(design.versions[version].words, "file_1", "Title", {}, metadata)

    written = {name: information(pdf, name) for name in [*metadata, "Creator", "other"]}
    assert written == {
        "jobId": "job_1",
        "顧客 #1": "(山田) \\ ?",
        "Title": "Mine",
        "Creator": "ReportFlow emulator",
        "other": "",
    }


@pytest.mark.parametrize(("design", "version"), EVERY_VERSION)
def test_every_design_shows_latin_and_japanese_parameters(design: Design, version: int) -> None:
    values: dict[str, object] = {"customerName": "John Doe, Ltd.", "title": JAPANESE, "n": 12345}

    text = words(render(design, values, version))

    assert "JohnDoe,Ltd." in text
    assert "".join(JAPANESE.split()) in unicodedata.normalize("NFC", text)
    assert "12,345" in text


@pytest.mark.parametrize(("design", "version"), EVERY_VERSION)
def test_nested_objects_and_lists_are_shown_where_the_design_does_not_know_them(
    design: Design, version: int
) -> None:
    values: dict[str, object] = {
        "delivery": {"address": {"city": "Kurobe", "zip": "938-0031"}, "express": True},
        "positions": [{"sku": "A-77", "weight": 1.25}, {"sku": "B-12", "colour": "red"}],
        "tags": ["urgent", "paper"],
        "nothing": None,
        "title": {"subtitle": "s-1"},
        "notes": {"street": "s-2"},
        "mixed": [{"a": "x1"}, "x2"],
    }

    text = words(render(design, values, version))

    for shown in ("Kurobe", "938-0031", "Express", "Yes", "A-77", "1.25", "B-12", "Colour", "red"):
        assert shown in text
    for shown in ("urgent,paper", "Nothing", "x1", "x2", "Subtitle", "Street"):
        assert shown in text


def test_invoice_computes_what_the_parameters_do_not_contain() -> None:
    items = [
        {"description": "Freight", "quantity": 2, "unitPrice": 150.5},
        {"description": "Customs", "unitPrice": 99, "code": "C-77"},
    ]
    text = words(render(INVOICE, {"items": items, "taxRate": 0.1, "currency": "USD"}))

    for amount in ("$301.00", "$99.00", "$400.00", "$40.00", "$440.00"):
        assert amount in text
    assert "C-77" in text


def test_invoice_shows_the_amount_it_is_given() -> None:
    text = words(render(INVOICE, {"amount": "10000", "customerName": "John Doe"}))
    assert "¥10,000" in text


def test_japanese_invoice_is_japanese() -> None:
    values: dict[str, object] = {"customerName": "株式会社山田", "dueDate": "五月末日"}
    text = words(render(INVOICE, values, version=2))
    for shown in ("請求書", "ご請求先株式会社山田", "お支払期限五月末日"):
        assert shown in text


def test_contract_numbers_its_clauses() -> None:
    long = "甲は乙に委託する。" * 20
    clauses = [{"heading": "目的", "text": long}, {"heading": "期間"}]
    text = words(render(CONTRACT, {"clauses": clauses, "parties": [{"name": "甲社"}]}, version=2))
    for shown in ("第1条目的", long, "第2条期間", "契約当事者", "甲社"):
        assert shown in text


def test_long_table_flows_over_pages_with_headings_and_page_numbers() -> None:
    texts = pages(render(REPORT, {"title": "Sales", "rows": ROWS}))

    assert len(texts) > 3
    for number, text in enumerate(texts, start=1):
        assert "Store" in text
        assert f"{number} / {len(texts)}" in text
    shown = [line for text in texts for line in text.split() if line.startswith("2026-01-")]
    assert shown == [row["date"] for row in ROWS]


def test_a_row_higher_than_a_page_is_continued() -> None:
    long = " ".join(f"word{number}" for number in range(3000))
    pdf = render(REPORT, {"rows": [{"a": "short", "b": long}, {"a": "last", "b": "row"}]})

    assert len(pages(pdf)) > 1
    text = words(pdf)
    assert all(f"word{number}" in text for number in range(3000))
    assert "last" in text


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"rows": [{f"name{n}": f"value-{n}" for n in range(60)}]}, id="60 columns"),
        pytest.param({"n" * 9000: "value-0", "\n" * 3000: "value-59"}, id="endless names"),
        pytest.param(
            {"a": "value-0", "items": [{"amount": 10**400, "quantity": 10**300}], "b": "value-59"},
            id="endless numbers",
        ),
        pytest.param(
            {"items": [{"quantity": 1e308, "unitPrice": 10}], "a": "value-0", "b": "value-59"},
            id="an endless sum",
        ),
    ],
)
def test_extreme_shapes_are_shown_too(values: dict[str, object]) -> None:
    text = words(render(INVOICE, values))
    assert "value-0" in text
    assert "value-59" in text


@pytest.mark.parametrize("word", ["W" * 300, "山" * 300, "山W" * 150])
def test_nothing_leaves_the_margins(word: str) -> None:
    notes = f"{word} {JAPANESE} and some more words " * 3
    pdf = render(INVOICE, {"notes": notes, "customerName": word, "items": [{"description": word}]})

    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            text = page.get_textpage()
            boxes = [text.get_charbox(index) for index in range(text.count_chars())]
            margin = min(left for left, *_ in boxes)
            assert max(right for _, _, right, _ in boxes) < page.get_width() - margin + 1
            text.close()
            page.close()


def test_a_sign_no_typeface_has_is_replaced() -> None:
    text = words(render(INVOICE, {"notes": "絵文字😀です", "x": "\ud800", "y": "tab\there"}))
    assert f"絵文字{SUBSTITUTE}です" in text
    assert "tabhere" in text


def test_bytes_are_decided_by_file_id_and_parameters() -> None:
    values: dict[str, object] = {"title": "報告", "rows": ROWS[:20]}

    first = render(REPORT, values)
    second = int(time())
    while int(time()) == second:
        sleep(0.01)
    assert render(REPORT, values) == first
    assert render(REPORT, values) != render(REPORT, values, file_id="file_2")
    assert render(REPORT, values) != render(REPORT, values | {"title": "報告書"})


def test_another_process_makes_the_same_bytes() -> None:
    program = (
        "import sys; from local.emulator.designs import INVOICE;"
        "from local.emulator.layout import render; words = INVOICE.versions[2].words;"
        "values = {'customerName': '山田', 'amount': 5};"
        "sys.stdout.buffer.write(render(words, 'file_1', 'Title', values, {}))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert other.stdout == render(INVOICE, {"customerName": "山田", "amount": 5}, version=2)


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (12300, "JPY", "¥12,300"),
        (9.5, "USD", "$9.50"),
        (-20, "CHF", "-CHF 20.00"),
        (7, "", "7.00"),
    ],
)
def test_money(value: float, currency: str, text: str) -> None:
    assert money(value, currency) == text


def leaves(value: object) -> Iterator[str]:
    match value:
        case dict():
            for entry in value.values():
                yield from leaves(entry)
        case list():
            for entry in value:
                yield from leaves(entry)
        case str():
            yield value


KNOWN_NAMES = sorted({*INVOICE.versions[2].words.labels, "title", "currency", "rows", "total"})
NAMES = st.sampled_from(KNOWN_NAMES) | st.text("abcXYZ_1", min_size=1, max_size=8)
TEXTS = st.from_regex("[a-z]{6}[0-9]{2}", fullmatch=True)
NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    TEXTS | NUMBERS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=20, deadline=None)
@given(design=st.sampled_from(CATALOG), values=st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_parameters_make_a_pdf_that_shows_every_text(
    design: Design, values: dict[str, object]
) -> None:
    values.pop("currency", None)  # is shown by its sign
    pdf = render(design, values)

    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    text = words(pdf)
    missing = [leaf for leaf in leaves(values) if leaf not in text]
    assert missing == []


@settings(max_examples=15, deadline=None)
@given(design=st.sampled_from(CATALOG), text=st.text(max_size=300), name=NAMES)
def test_any_text_makes_a_pdf(design: Design, text: str, name: str) -> None:
    version = max(design.versions)
    assert pages(render(design, {name: text, "rows": [{text: text, "b": 1}]}, version))
