"""The reasons for which a message is refused: the field, what is expected, and what it holds."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.driver import body

GOOD = body("a")


def content(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "content": {**GOOD["content"], **changes}}


def missing(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({**GOOD, "version": "1"}, "version: expected an integer, got a string"),
        ({**GOOD, "version": 1.5}, "version: expected an integer, got a number"),
        ({**GOOD, "version": 0}, "version: expected an integer >= 1"),
        ({**GOOD, "metadata": "x"}, "metadata: expected an object, got a string"),
        ({**GOOD, "content": []}, "content: expected an object, got an array"),
        (missing("designId"), "designId: the field is missing"),
        ({**GOOD, "content": {"params": {}}}, "content.fileName: the field is missing"),
        (content(fileName="a/b.pdf"), "not starting with '.'; got '/'"),
        (content(fileName="a\u200bb.pdf"), "not starting with '.'; got U+200B"),
        (content(fileName="a" * 300), "not starting with '.'; got 300 characters"),
        (content(shareType="01"), "content: unknown field 'shareType'; put your own data under"),
        ({**GOOD, "version": None}, "version: expected an integer, got null"),
        ({**GOOD, "designId": "a b"}, "not starting with '.' or '~'; got 'a b'"),
        ({**GOOD, "designId": ".a"}, "not starting with '.' or '~'; got '.a'"),
        ({**GOOD, "design_id": "x"}, "unknown field 'design_id'; expected designId"),
        (content(FileName="x"), "content: unknown field 'FileName'; expected fileName"),
        ({**GOOD, "tenant": "x"}, "unknown field 'tenant'; put your own data under metadata"),
        ({"Type": "Unsubscribe", "Message": "x"}, "this looks like an envelope inside an envelope"),
    ],
)
def test_a_reason_names_the_field_in_the_words_of_json(
    cli: Cli, message: dict[str, Any], reason: str
) -> None:
    result = cli("submit", "--dry-run", "-", stdin=json.dumps(message))

    assert result.exit_code == 1
    assert reason in result.stderr
    assert "`" not in result.stderr


def test_a_value_out_of_a_list_is_refused_with_the_list(cli: Cli) -> None:
    wrong = json.dumps(content(shareType="04"))

    result = cli("submit", "--dry-run", "--contract", "central", "-", stdin=wrong)

    assert result.exit_code == 1
    assert 'content.shareType: expected one of "01", "02", "03"; got "04"' in result.stderr


@pytest.mark.parametrize("levels", [600, 100_000])
def test_deep_nesting_is_reported_with_its_limit(cli: Cli, levels: int) -> None:
    deep = json.dumps(content(params={"a": 0})).replace(
        '"a": 0', f'"a": {"[" * levels}{"]" * levels}'
    )

    result = cli("submit", "--dry-run", "-", stdin=deep)

    assert result.exit_code == 1
    assert "nested too deeply" in result.stderr
    assert "500 levels" in result.stderr


def test_an_envelope_is_taken_off(cli: Cli) -> None:
    wrapped = {"Type": "Notification", "TopicArn": "x", "Message": json.dumps(GOOD)}

    assert cli("submit", "--dry-run", "-", stdin=json.dumps(wrapped)).exit_code == 0
