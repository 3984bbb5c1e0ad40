"""`list` by what only the records have, counted and in pages; and `fetch` by URL."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
import typer

from cli.target import Target
from tests.cli.conftest import Cli
from tests.cli.test_jobs import archived, put
from tests.pipeline.driver import new_id


@pytest.fixture
def jobs(target: Target) -> dict[str, str]:
    """Jobs of one test's own design, by what they are."""
    design = f"design-{uuid4().hex}"
    texts: dict[str, dict[str, str]] = {
        "acme": {"metadata": '{"tenant":"acme","year":2026}'},
        "other": {"metadata": '{"tenant":"other"}'},
        "broken": {"errorCode": "HTTP_404", "metadata": "{tenant"},
        "torn": {"errorCode": "TRUNCATED"},
    }
    names = {name: new_id(name) for name in texts}
    for number, (name, fields) in enumerate(texts.items()):
        status = "FAILED" if "errorCode" in fields else "SUBMITTED"
        put(target, names[name], status, timedelta(minutes=9 - number), designId=design, **fields)
    return {**names, "design": design}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["acme", "other", "broken", "torn"]),
        (["--error", "HTTP_404"], ["broken"]),
        (["--error", "HTTP_404", "--error", "TRUNCATED"], ["broken", "torn"]),
        (["--metadata", "tenant=acme"], ["acme"]),
        (["--metadata", "tenant=acme", "--metadata", "year=2026"], ["acme"]),
        (["--metadata", "tenant=acme", "--metadata", "year=2025"], []),
        (["--job-prefix", "other-"], ["other"]),
        (["--limit", "3"], ["acme", "other", "broken"]),
    ],
)
def test_jobs_are_selected_by_their_records(
    cli: Cli, jobs: dict[str, str], options: list[str], names: list[str]
) -> None:
    found = cli.json("list", "--design", jobs["design"], *options)

    assert [record["jobId"] for record in found] == [jobs[name] for name in names]


def test_a_page_goes_on_in_the_next_status(cli: Cli, jobs: dict[str, str]) -> None:
    design = ("--design", jobs["design"])

    first = cli("list", *design, "--limit", "1")
    rest = cli.json("list", *design, "--after", jobs["acme"])
    gone = cli("list", *design, "--after", new_id("never"))

    assert f"--after {jobs['acme']} lists the next page" in first.stderr
    assert [record["jobId"] for record in rest] == [
        jobs[name] for name in ("other", "broken", "torn")
    ]
    assert gone.exit_code == 2


def test_jobs_are_counted_by_status_and_error(cli: Cli, jobs: dict[str, str]) -> None:
    design = ("--design", jobs["design"], "--count")

    printed = {
        (line["status"], line["errorCode"]): line["jobs"] for line in cli.json("list", *design)
    }
    rows = [line.split() for line in cli("list", *design).stdout.splitlines()]

    assert printed == {
        ("SUBMITTED", None): 2,
        ("FAILED", "HTTP_404"): 1,
        ("FAILED", "TRUNCATED"): 1,
    }
    assert rows[-1] == ["all", "4"]


def test_metadata_without_a_value_is_a_mistake(cli: Cli) -> None:
    assert cli("list", "--metadata", "tenant").exit_code == 2


def test_a_url_gives_the_pdf(cli: Cli, target: Target) -> None:
    job_id, absent = new_id("url"), new_id("absent")
    archived(target, job_id, b"%PDF-right")

    result = cli("fetch", job_id, absent, "--url", "--json")

    assert result.exit_code == 1
    assert f"{absent}: there is no such job" in result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    assert printed["jobId"] == job_id
    assert requests.get(printed["url"], timeout=10).content == b"%PDF-right"


def test_no_url_is_signed_for_longer_than_aws_allows(cli: Cli) -> None:
    assert cli("fetch", "a", "--url", "--expires", "8d").exit_code == 2


def test_a_fetched_pdf_is_opened(
    cli: Cli, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = new_id("opened")
    archived(target, job_id, b"%PDF-right")
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)

    assert cli("fetch", job_id, "-o", str(tmp_path), "--open").exit_code == 0

    assert opened == [str(tmp_path / f"{job_id}.pdf")]
