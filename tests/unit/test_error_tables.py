"""docs/errors.md, row by row: the page cannot say what the code does not do."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from reportflow import aws, errors
from reportflow.errors import PipelineError
from reportflow.service import ReportFlow, translate_status
from tests.unit.clock import LATER
from tests.unit.peer import Peer, answer
from tests.unit.samples import request

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/errors.md").read_text()

KINDS: dict[str, type[PipelineError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PipelineError) and kind is not PipelineError
}
ABSTRACT = {"any `Retryable`'s", "`HTTP_4xx`"}
"""Rows of the last table that stand for many codes."""

type Row = dict[str, str]


def table(heading: str) -> list[Row]:
    """The rows of the first table under the heading, by the names of their columns."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    names, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return [dict(zip((name.strip("`") for name in names), row, strict=True)) for row in rows]


def by_kind(heading: str) -> list[Any]:
    """A table of outside failures as parameters: status or code, and our kind."""
    return [
        pytest.param(what := cells[0].strip("`"), KINDS[cells[1].strip("`")], id=what)
        for row in table(heading)
        for cells in [list(row.values())]
    ]


def refusals(call: Callable[[], object]) -> PipelineError:
    with pytest.raises(PipelineError) as refused:
        call()
    return refused.value


@pytest.mark.parametrize(("status", "kind"), by_kind("ReportFlow's answer to a submission"))
def test_an_answer_to_a_submission(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(lambda: service.submit(request(), LATER))

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("status", "kind"), by_kind("ReportFlow's answer to a download"))
def test_an_answer_to_a_download(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(service.download("u", "f", LATER).__enter__)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("status", "kind"), by_kind("ReportFlow's answer under the URL of a 202"))
def test_an_answer_under_the_url_of_a_202(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(service.fetch(f"{peer.url}/files/x", LATER).__enter__)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("code", "kind"), by_kind("AWS"))
def test_an_answer_of_aws(code: str, kind: type[PipelineError]) -> None:
    error = aws.translate("s3:PutObject", ClientError({"Error": {"Code": code}}, "PutObject"))

    assert type(error) is kind


def test_every_status_that_is_not_just_one_of_its_class_has_a_row() -> None:
    told = {int(row["Status"]) for row in table("ReportFlow's answer to a submission")}
    usual = {4: translate_status(499, ""), 5: translate_status(599, "")}
    special = {
        status
        for status in range(400, 600)
        if type(translate_status(status, "")) is not type(usual[status // 100])
    }
    assert special <= told


def test_every_kind_has_a_row_and_what_it_costs() -> None:
    section = PAGE.partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    told = {name: row[2] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert told.keys() == KINDS.keys()
    for name, job in told.items():
        kind = KINDS[name]
        if issubclass(kind, errors.Retryable):
            assert ("no retry is used up" in job) is not kind.costs_retry


def raised(*kinds: str) -> Iterator[str]:
    """The literal codes that the functions' code makes errors of these kinds with."""
    for source in sorted(REPOSITORY.glob("layers/reportflow/reportflow/*.py")):
        yield from re.findall(rf"\b(?:{'|'.join(kinds)})\(\s*\"([A-Z_]+)\"", source.read_text())


def test_every_reason_that_a_dead_letter_can_give_has_a_row() -> None:
    rows = [row["errorCode"] for row in table("What a dead letter says, and what to do")]
    told = {code for row in rows if row not in ABSTRACT for code in re.findall(r"`(\w+)`", row)}
    assert set(rows) >= ABSTRACT
    assert told == set(raised("Permanent", "PayloadMissing"))
