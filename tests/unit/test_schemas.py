"""The published JSON Schemas say what the code takes and sends."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from cli.schemas import TYPES, schema
from reportflow.contract import CENTRAL, WORKSPACE, Contract
from reportflow.errors import Permanent
from reportflow.events import PdfFailed
from reportflow.messages import parse_request
from tests.unit.samples import content, message

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", TYPES)
def test_what_is_published_is_made_of_the_code(name: str) -> None:
    """Renew it with `make schemas`."""
    assert published(name) == schema(name)
    Draft202012Validator.check_schema(published(name))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"jobId": "x" * 128, "metadata": {"a": [1, None]}},
        {"content": {"fileName": "請求書.pdf", "params": {}}},
        {"jobId": "../x"},
        {"jobId": None},
        {"jobId": "x" * 129},
        {"designId": "x"},
        {"designId": ".."},
        {"version": 0},
        {"version": 1.5},
        {"version": "1"},
        {"metadata": []},
        {"content": {"fileName": "a/b.pdf", "params": {}}},
        {"content": {"fileName": "a.pdf", "params": []}},
        {"content": {"fileName": "a.pdf"}},
        {"content": {"fileName": "a.pdf", "params": {}, "shareType": "03"}},
        {"unknown": 1},
    ],
    ids=json.dumps,
)
def test_the_schema_takes_what_the_submitter_takes(changes: dict[str, Any]) -> None:
    assert is_valid("request", message(**changes)) is is_taken(message(**changes), WORKSPACE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shareType": "01", "passcodeEnabled": True, "passthrough": {"order": [1, {"a": None}]}},
        {"shareType": "04"},
        {"shareType": 1},
        {"passcodeEnabled": "true"},
        {"passthrough": []},
        {"passthrough": None},
        {"fileName": "請求書 (1) #2"},
        {"fileName": " "},
        {"fileName": ".pdf"},
        {"fileName": " .pdf"},
        {"fileName": "a/b"},
        {"fileName": "a\n"},
        {"fileName": "n" * 201},
        {"unknown": 1},
    ],
    ids=json.dumps,
)
def test_the_central_schema_takes_what_the_submitter_takes(changes: dict[str, Any]) -> None:
    body = message(content=content(**changes))

    assert is_valid("request-central", body) is is_taken(body, CENTRAL)


def is_valid(name: str, body: dict[str, Any]) -> bool:
    return bool(Draft202012Validator(published(name)).is_valid(body))


def is_taken(body: dict[str, Any], contract: Contract) -> bool:
    try:
        parse_request(json.dumps(body).encode(), contract)
    except Permanent:
        return False
    return True


def test_an_event_says_nothing_that_is_not_described() -> None:
    described = published("pdf-failed")["$defs"]["PdfFailed"]["properties"]

    assert described.keys() == {field.encode_name for field in msgspec.structs.fields(PdfFailed)}
    assert described["failedAt"]["format"] == "date-time"


@pytest.mark.parametrize(
    ("name", "contract"), [("request", WORKSPACE), ("request-central", CENTRAL)]
)
def test_the_schema_and_the_submitter_agree_about_each_character_of_a_file_name(
    name: str, contract: Contract
) -> None:
    pattern = re.compile(
        published(name)["$defs"][contract.content.__name__]["properties"]["fileName"]["pattern"]
    )
    names = [f"a{chr(code)}a" for code in range(0x34000)]
    names += ["", " ", ".pdf", " .pdf", ".", "a" * 200, "a" * 201, *map(chr, range(128))]
    unlike = [
        each
        for each in names
        if (pattern.search(each) is None)
        is not contract.content(each, msgspec.Raw(b"{}")).mistake().startswith("fileName: ")
    ]
    assert unlike == []
