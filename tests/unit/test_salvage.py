"""What a refused message still says, whatever else is wrong with it."""

import json
from typing import Any

import pytest

from cli.documents import mistakes
from reportflow.contract import CENTRAL, WORKSPACE
from reportflow.salvage import Salvaged, salvage

CONTENT: dict[str, Any] = {"fileName": "invoice.pdf", "params": {"a": 1}}
MESSAGE: dict[str, Any] = {
    "designId": "design_1",
    "version": 3,
    "content": CONTENT,
    "metadata": {"tenant": "acme"},
}
WHOLE = Salvaged("design_1", 3, "invoice.pdf", '{"tenant":"acme"}')


def changed(**fields: Any) -> bytes:
    return json.dumps(MESSAGE | fields).encode()


def with_content(**fields: Any) -> bytes:
    return changed(content=CONTENT | fields)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(unknown=1), WHOLE),
        (b"\xef\xbb\xbf" + changed(unknown=1), WHOLE),
        (changed(version="3"), Salvaged("design_1", 0, "invoice.pdf", '{"tenant":"acme"}')),
        (changed(version=10**400), Salvaged("design_1", 0, "invoice.pdf", '{"tenant":"acme"}')),
        (changed(designId="../x"), Salvaged("", 3, "invoice.pdf", '{"tenant":"acme"}')),
        (with_content(fileName="../x"), Salvaged("design_1", 3, "", '{"tenant":"acme"}')),
        (with_content(params=[]), WHOLE),
        (with_content(params="x" * 200_000), WHOLE),
        (changed(metadata=["x"]), Salvaged("design_1", 3, "invoice.pdf")),
        (changed(metadata={"x": "x" * 20_000}), Salvaged("design_1", 3, "invoice.pdf")),
        (changed(metadata={"x": 10**30}), Salvaged("design_1", 3, "invoice.pdf")),
        (changed(content=[]), Salvaged("design_1", 3, "", '{"tenant":"acme"}')),
        (b'{"designId":"design_1","version":3}', Salvaged("design_1", 3)),
        (b"no json", Salvaged()),
        (b"[]", Salvaged()),
        (b"", Salvaged()),
        (b"\xff", Salvaged()),
        (b'{"designId":"design_1","x":' + b"[" * 200_000, Salvaged()),
        (changed(x=1).replace(b'"x": 1', b'"x": ' + b"[" * 900 + b"]" * 900), WHOLE),
    ],
    ids=lambda value: str(value)[:60],
)
def test_each_valid_field_is_read_and_no_other(body: bytes, expected: Salvaged) -> None:
    assert salvage(body, WORKSPACE) == expected


def test_a_name_that_is_repeated_in_params_is_none_of_ours() -> None:
    body = with_content(params=1).replace(b'"params": 1', b'"params":{"a":1,"a":2}')

    assert salvage(body, WORKSPACE) == WHOLE


def test_the_callers_own_object_is_read_by_the_contract_that_has_it() -> None:
    body = with_content(passthrough={"order": 1}, shareType="04")

    assert salvage(body, CENTRAL).passthrough == '{"order": 1}'
    assert salvage(body, CENTRAL).file_name == "invoice.pdf"
    assert salvage(body, WORKSPACE).passthrough == ""


def test_a_message_in_an_envelope_is_read() -> None:
    envelope = {"Type": "Notification", "Message": changed(version="3").decode()}

    assert salvage(json.dumps(envelope).encode(), WORKSPACE).design_id == "design_1"


def test_all_mistakes_are_named_at_once() -> None:
    body = json.dumps({"jobId": "a b", "version": "1", "content": {"fileName": "a/b"}, "foo": 1})

    found = mistakes(body.encode(), WORKSPACE)

    fields = ("jobId", "version", "unknown field 'foo'", "designId", "content.fileName")
    assert [field for field in fields if not any(text.startswith(field) for text in found)] == []
    assert "content.params: the field is missing" in found
    assert mistakes(b"[]", WORKSPACE) == []
