import json
from typing import Any

import pytest

from reportflow import observability


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def dimensions(line: dict[str, Any]) -> dict[str, str]:
    (described,) = line["_aws"]["CloudWatchMetrics"]
    (names,) = described["Dimensions"]
    return {name: line[name] for name in names}


def test_what_has_a_reason_is_counted_with_it_and_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    observability.count("HTTP_404", Failed=2)

    lines = printed(capsys)
    assert [line["Failed"] for line in lines] == [[2.0], [2.0]]
    assert [dimensions(line) for line in lines] == [
        {"service": "test"},
        {"service": "test", "reason": "HTTP_404"},
    ]


def test_nothing_is_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    observability.count(Failed=0)
    observability.measure(ArchiveSeconds=0.0)
    observability.count("REASON", Submitted=1, Failed=0)

    lines = printed(capsys)
    assert [line["Submitted"] for line in lines] == [[1.0], [1.0]]
    assert not any("Failed" in line or "ArchiveSeconds" in line for line in lines)


def test_a_webhook_that_is_due_is_counted_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    observability.expect_webhook()

    (line,) = printed(capsys)
    assert line["WebhooksReceived"] == [0.0]
    assert dimensions(line) == {"service": "webhook"}
