"""What ReportFlow says about files, as each contract reads it."""

import json
from typing import Any

import msgspec
import pytest

from cli.commands.keys import key_mistake
from reportflow.contract import CENTRAL, CONTRACTS, WORKSPACE, Contract
from reportflow.contract.files import Accepted, CompletedFile, Location, Mark
from reportflow.contract.webhook_body import read_webhook
from reportflow.messages import parse_download
from tests.unit.samples import (
    DESIGN_ID,
    MARK,
    REQUEST_ID,
    by_url,
    by_uuid,
    central_webhook_body,
    marked,
    webhook_body,
)

SAFE_IDS = [
    "file_abc123",
    "aB3dE5fG7hI9jK1l",
    "5b9c0f36-6a6c-4b7e-8d55-6a0a6d1f1c11",
    "-x",
    "_x",
    "a.b~c",
    "7",
    "i" * 128,
]
UNSAFE_IDS: list[object] = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "a\\b",
    "a%2fb",
    "a?b",
    "a#b",
    "a b",
    "a\n",
    "a\x00",
    "株",
    "i" * 129,
    None,
    7,
    {},
    [],
    True,
]

both = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


def answer(contract: Contract, file_id: object, request_id: object = REQUEST_ID) -> dict[str, Any]:
    """The body of a 202."""
    if contract is WORKSPACE:
        return {"url": "https://re-port-flow.com/x", "fileId": file_id}
    return {
        "requestId": request_id,
        "url": "https://api.re-port-flow.com/v1/file/download/x",
        "files": [{"fileId": file_id, "fileName": "a.pdf", "share": {"shareType": "01"}}],
    }


def accepted(contract: Contract, body: object) -> Accepted:
    return contract.accepted(json.dumps(body).encode(), MARK)


def told(body: dict[str, Any]) -> list[CompletedFile]:
    """The files of a webhook, as the downloader gets them."""
    files = read_webhook(json.dumps(body).encode(), "acme").files
    assert [parse_download(msgspec.json.encode(file)) for file in files] == files
    return files


@both
@pytest.mark.parametrize("file_id", SAFE_IDS)
def test_a_202_names_its_file_by_any_safe_id(contract: Contract, file_id: str) -> None:
    named = accepted(contract, answer(contract, file_id)).file_id

    assert named == (file_id if contract is WORKSPACE else f"{REQUEST_ID}/{file_id}")


@both
@pytest.mark.parametrize("file_id", UNSAFE_IDS, ids=repr)
def test_a_202_with_another_id_names_no_file(contract: Contract, file_id: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        accepted(contract, answer(contract, file_id))


@pytest.mark.parametrize("request_id", UNSAFE_IDS, ids=repr)
def test_a_central_202_needs_a_safe_request_id(request_id: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        accepted(CENTRAL, answer(CENTRAL, "file_1", request_id))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": []},
        {"files": [{"fileId": "a"}, {"fileId": "b"}]},
        {"files": [{"fileName": "a.pdf"}]},
        {"files": None},
        {"files": {"fileId": "a"}},
    ],
    ids=repr,
)
def test_a_central_202_names_one_file(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        accepted(CENTRAL, answer(CENTRAL, "file_1") | changes)


@both
@pytest.mark.parametrize("url", ["https://elsewhere.example/x", "", None, 7, ["x"], "x" * 100_000])
def test_the_url_of_a_202_may_be_anything(contract: Contract, url: object) -> None:
    body = answer(contract, "file_1") | {"url": url, "fileId": "file_1", "new": {"a": [1]}}

    assert accepted(contract, body).file_id.endswith("file_1")


@pytest.mark.parametrize("url", ["https://elsewhere.example/x", "https://api.re-port-flow.com/p"])
def test_a_central_file_is_never_where_the_url_says(url: str) -> None:
    took = accepted(CENTRAL, answer(CENTRAL, "file_1") | {"url": url})

    where = CENTRAL.location(took.file_id, took.reference)
    assert where == Location(path=f"/file/download/{REQUEST_ID}/file_1")


def test_a_central_file_is_at_one_place_before_the_webhook_and_after_it() -> None:
    took = accepted(CENTRAL, answer(CENTRAL, "file_1"))
    [file] = told(central_webhook_body())

    assert (took.file_id, took.reference) == (file.file_id, file.reference)


@pytest.mark.parametrize(
    ("contract", "reference"),
    [
        (WORKSPACE, "central"),
        (WORKSPACE, ""),
        (WORKSPACE, "workspace uuid ../x"),
        (WORKSPACE, "https://x"),
        (CENTRAL, by_uuid("u")),
        (CENTRAL, by_url("https://x")),
        (CENTRAL, ""),
        (CENTRAL, "central url https://x"),
    ],
)
def test_a_reference_of_another_contract_leads_nowhere(contract: Contract, reference: str) -> None:
    assert contract.location("file_1", reference) is None


def test_files_with_the_same_id_in_different_requests_are_different_files() -> None:
    files = {
        file.file_id
        for request_id in ("req-1", "req-2")
        for file in told(central_webhook_body({"fileId": "same"}, requestId=request_id))
    }
    files |= {accepted(CENTRAL, answer(CENTRAL, "same", "req-3")).file_id}
    files |= {accepted(WORKSPACE, answer(WORKSPACE, "same")).file_id}

    assert len(files) == 4


@pytest.mark.parametrize("file_id", SAFE_IDS)
def test_a_central_webhook_names_its_files_by_any_safe_ids(file_id: str) -> None:
    [file] = told(central_webhook_body({"fileId": file_id}, requestId=file_id))

    assert file == CompletedFile(f"{file_id}/{file_id}", "central", DESIGN_ID, 1)


@pytest.mark.parametrize("wrong", UNSAFE_IDS, ids=repr)
def test_an_entry_of_a_central_webhook_with_another_id_is_none(wrong: object) -> None:
    body = central_webhook_body({"fileId": wrong}, {"fileId": "good"})

    [file] = told(body)
    assert file.file_id == f"{REQUEST_ID}/good"
    assert read_webhook(json.dumps(body).encode(), "acme").wrong_entries == 1


@pytest.mark.parametrize(
    "tag", ["t", "-begins-with-a-hyphen", "_begins_with_a_line", "Zk3vQ8xT1mWb", "t" * 128]
)
@pytest.mark.parametrize("job_id", ["job-1", "j" * 128, "5b9c0f36-6a6c-4b7e-8d55-6a0a6d1f1c11"])
def test_the_mark_comes_back_with_the_file(job_id: str, tag: str) -> None:
    mark = Mark(job_id, tag)
    [file] = told(central_webhook_body({"passthrough": marked(mark, order=1, line={"a": None})}))

    assert file.mark == mark


@pytest.mark.parametrize("other", [Mark(MARK.job_id, "tag-2"), Mark("job-2", MARK.tag)])
def test_an_answer_that_returns_another_mark_is_not_the_requests(other: Mark) -> None:
    body = answer(CENTRAL, "file_1")
    [file] = body["files"]

    file["passthrough"] = marked(MARK)
    assert accepted(CENTRAL, body).file_id == f"{REQUEST_ID}/file_1"

    file["passthrough"] = marked(other)
    with pytest.raises(msgspec.DecodeError):
        accepted(CENTRAL, body)


@pytest.mark.parametrize(
    "passthrough",
    [
        None,
        {},
        [],
        "reportflowJob",
        7,
        {"order": 1},
        {"reportflowJob": None},
        {"reportflowJob": "job-1"},
        {"reportflowJob": ["job-1", "tag"]},
        {"reportflowJob": {}},
        {"reportflowJob": {"jobId": "job-1"}},
        {"reportflowJob": {"tag": "t"}},
        {"reportflowJob": {"jobId": 1, "tag": "t"}},
        {"reportflowJob": {"jobId": "job-1", "tag": None}},
        {"reportflowJob": {"jobId": "", "tag": "t"}},
        {"reportflowJob": {"jobId": "job-1", "tag": ""}},
        {"reportflowJob": {"jobId": "#reportflow-pace", "tag": "t"}},
        {"reportflowJob": {"jobId": "../x", "tag": "t"}},
        {"reportflowJob": {"jobId": "job-1", "tag": "t\n"}},
        {"reportflowJob": {"jobId": "株", "tag": "t"}},
        {"reportflowJob": {"jobId": "job-1", "tag": "t" * 129}},
        {"reportflowjob": {"jobId": "job-1", "tag": "t"}},
        {"reportflow_job": {"job_id": "job-1", "tag": "t"}},
        {"a": {"reportflowJob": {"jobId": "job-1", "tag": "t"}}},
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_is_no_mark_of_ours_leaves_a_file_without_one(passthrough: object) -> None:
    [file] = told(central_webhook_body({"passthrough": passthrough}))

    assert file.mark is None


def test_nothing_of_the_callers_passthrough_travels_on() -> None:
    passthrough = marked(MARK, customer="秘密") | {"reportflowJob": {**vars_of(MARK), "x": "秘密"}}
    [file] = told(central_webhook_body({"passthrough": passthrough, "fileName": "秘密.pdf"}))

    assert file.mark == MARK
    assert "秘密" not in msgspec.json.encode(file).decode()


def vars_of(mark: Mark) -> dict[str, Any]:
    return {"jobId": mark.job_id, "tag": mark.tag}


def test_a_workspace_webhook_has_no_mark_whatever_it_returns() -> None:
    files = [file | {"passthrough": marked()} for file in webhook_body()["files"]]

    assert {file.mark for file in told(webhook_body(files=files))} == {None}


def test_one_deployment_reads_webhooks_of_both_contracts() -> None:
    """It has moved from one to the other, and older jobs are in flight."""
    [older, _] = told(webhook_body())
    [newer] = told(central_webhook_body())

    assert WORKSPACE.location(older.file_id, older.reference) == Location(
        path="/file/download/u1/file_1"
    )
    assert CENTRAL.location(newer.file_id, newer.reference) == Location(
        path=f"/file/download/{REQUEST_ID}/file_1"
    )


@pytest.mark.parametrize(
    ("contract", "keys", "may_be"),
    [
        (CENTRAL, ("ak_3f9c1e",), True),
        (CENTRAL, ("app-3f9c1e",), False),
        (CENTRAL, ("client", "secret"), True),
        (WORKSPACE, ("app-3f9c1e", "sec-77d0ab"), True),
        (WORKSPACE, ("ak_3f9c1e", "sec-77d0ab"), False),
        (WORKSPACE, ("app-3f9c1e", "ak_3f9c1e"), False),
    ],
)
def test_the_keys_of_one_contract_are_distinguished_from_the_others(
    *, contract: Contract, keys: tuple[str, ...], may_be: bool
) -> None:
    assert (key_mistake(contract, *keys) == "") is may_be
