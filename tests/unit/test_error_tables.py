"""docs/errors.md, row by row: the page cannot say what the code does not do."""

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cli import errors_page
from cli.error_codes import ERROR_CODES, ErrorCode, find
from reportflow import aws, errors
from reportflow.contract.client import ReportFlow
from reportflow.contract.failures import translate_status
from reportflow.errors import PipelineError
from tests.unit.clock import LATER
from tests.unit.peer import Peer, answer
from tests.unit.samples import MARK, by_url, by_uuid, request

PAGE = errors_page.PAGE.read_text()

KINDS: dict[str, type[PipelineError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PipelineError) and kind is not PipelineError
}
ANSWERS = (
    "ReportFlow's answer to a submission",
    "ReportFlow's answer to a download",
    "ReportFlow's answer under the URL of a 202",
)

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


def entry_of(code: str) -> ErrorCode:
    entry = find(code)
    assert entry is not None, code
    return entry


@pytest.mark.parametrize(("status", "kind"), by_kind(ANSWERS[0]))
def test_an_answer_to_a_submission(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(lambda: service.submit(request(), MARK, LATER))

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("status", "kind"), by_kind(ANSWERS[1]))
def test_an_answer_to_a_download(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(service.open("f", by_uuid("u"), LATER).__enter__)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("status", "kind"), by_kind(ANSWERS[2]))
def test_an_answer_under_the_url_of_a_202(
    service: ReportFlow, peer: Peer, status: str, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(int(status))

    error = refusals(service.open("file_1", by_url(f"{peer.url}/files/x"), LATER).__enter__)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


@pytest.mark.parametrize(("code", "kind"), by_kind("AWS"))
def test_an_answer_of_aws(code: str, kind: type[PipelineError]) -> None:
    error = aws.translate("s3:PutObject", ClientError({"Error": {"Code": code}}, "PutObject"))

    assert type(error) is kind


def test_every_status_that_is_not_just_one_of_its_class_has_a_row() -> None:
    told = {int(row["Status"]) for row in table(ANSWERS[0])}
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


def test_the_generated_tables_are_current() -> None:
    assert errors_page.PAGE.read_text() == errors_page.page(), "run `make docs`"


def test_every_error_code_has_one_row() -> None:
    rows = [
        row["errorCode"]
        for heading in (
            "What a dead letter says, and what to do",
            "Codes that are in no dead letter",
        )
        for row in table(heading)
    ]
    assert sorted(rows) == sorted(f"`{entry.code}`" for entry in ERROR_CODES)


def test_the_registry_has_the_kinds_of_each_status() -> None:
    told: defaultdict[str, set[type[PipelineError]]] = defaultdict(set)
    for heading in ANSWERS:
        for row in table(heading):
            told[entry_of(f"HTTP_{row['Status']}").code].add(KINDS[row["Kind"].strip("`")])

    assert told == {
        entry.code: set(entry.kinds) for entry in ERROR_CODES if entry.code.startswith("HTTP_")
    }
    # A success is accepted, or says that there is no file yet.
    for status in (*range(100, 200), *range(300, 600)):
        assert type(translate_status(status, "")) in entry_of(f"HTTP_{status}").kinds, status


def test_the_registry_has_the_kinds_of_aws() -> None:
    for row in table("AWS"):
        code, kind = (cell.strip("`") for cell in row.values())
        assert KINDS[kind] in entry_of(f"AWS_{code}").kinds
    unreachable = aws.translate("s3:PutObject", EndpointConnectionError(endpoint_url="x"))
    assert (type(unreachable),) == entry_of(unreachable.code).kinds
