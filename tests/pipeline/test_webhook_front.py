"""The webhook over real HTTP, as ReportFlow and unauthenticated callers use it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests

from local.emulator import Contract
from tests.pipeline.driver import INVOICE, Driver, body, new_id

TIMEOUT_SECONDS = 30

OF_EVENT: Mapping[Contract, dict[str, Any]] = {
    Contract.WORKSPACE: {},
    Contract.CENTRAL: {"requestId": "r1"},
}
OF_ENTRY: Mapping[Contract, dict[str, Any]] = {
    Contract.WORKSPACE: {"uuid": "u1", "params": {"a": "b"}},
    Contract.CENTRAL: {"passthrough": {"a": "b"}, "share": {"shareType": "workspace"}},
}


type MakeEvent = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def event(contract: Contract) -> MakeEvent:
    """Makes a webhook of the contract; its arguments replace fields."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "event": "file.completed",
            "timestamp": "2026-02-15T10:30:45.123Z",
            "workspaceId": "local-workspace",
            "designId": INVOICE,
            "version": 1,
            "files": [{"fileId": new_id("file"), "fileName": "a.pdf", **OF_ENTRY[contract]}],
            **OF_EVENT[contract],
            **changes,
        }

    return make


def _post(url: str, event: object) -> requests.Response:
    return requests.post(url, json=event, timeout=TIMEOUT_SECONDS)


def test_believed_webhook_is_answered_as_the_service_expects(
    driver: Driver, event: MakeEvent
) -> None:
    answer = _post(driver.state["webhook_url"], event())

    assert (answer.status_code, answer.json()) == (200, {"received": True})


def test_event_that_is_not_about_files_is_accepted_and_forgotten(
    driver: Driver, event: MakeEvent
) -> None:
    assert _post(driver.state["webhook_url"], event(event="file.viewed")).status_code == 200


def _seen(answer: requests.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that a caller can compare: status, body and headers, but for the time."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    headers.pop("date")
    return answer.status_code, answer.content, headers


def _wrong_token(url: str) -> str:
    return url[:-1] + ("a" if url[-1] != "a" else "b")


@pytest.mark.parametrize(
    "forge",
    [_wrong_token, lambda url: url.rsplit("/", 1)[0] + "/x", lambda url: url + "x"],
    ids=["one-character", "short", "longer"],
)
def test_wrong_secret_looks_like_a_missing_route(
    driver: Driver, event: MakeEvent, forge: Callable[[str], str]
) -> None:
    url = driver.state["webhook_url"]
    missing = _post(url.replace("/webhooks/", "/nothing/"), event())

    refused = _post(forge(url), event())

    assert _seen(refused) == _seen(missing)
    assert refused.status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_form_may_try_the_url_before_it_saves_it(driver: Driver, method: str) -> None:
    url = driver.state["webhook_url"]
    tried = requests.request(method, url, timeout=TIMEOUT_SECONDS)
    assert tried.status_code == 200

    missing, refused = (
        requests.request(method, each, timeout=TIMEOUT_SECONDS)
        for each in (url.replace("/webhooks/", "/nothing/"), _wrong_token(url))
    )
    assert _seen(refused) == _seen(missing)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"event":"ping"}'], ids=["empty", "{}", "ping"])
def test_form_may_try_the_url_with_a_post(driver: Driver, content: bytes) -> None:
    url = driver.state["webhook_url"]

    assert requests.post(url, data=content, timeout=TIMEOUT_SECONDS).status_code == 200


def test_slash_at_the_urls_end_does_not_matter(driver: Driver, event: MakeEvent) -> None:
    url = driver.state["webhook_url"]

    assert _post(f"{url}/", event()).json() == {"received": True}
    assert _seen(_post(f"{_wrong_token(url)}/", event())) == _seen(_post(_wrong_token(url), {}))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_looks_like_a_missing_route_with_the_secret_too(
    driver: Driver, event: MakeEvent, method: str
) -> None:
    url = driver.state["webhook_url"]
    missing, refused = (
        requests.request(method, each, json=event(), timeout=TIMEOUT_SECONDS)
        for each in (url.replace("/webhooks/", "/nothing/"), url)
    )

    assert _seen(refused) == _seen(missing)
    assert refused.status_code == 404


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"event":"a","event":"b"}'],
    ids=["empty", "cut", "binary", "nested", "doubled"],
)
def test_unauthenticated_caller_learns_nothing_from_what_they_send(
    driver: Driver, content: bytes
) -> None:
    url = driver.state["webhook_url"]
    missing, refused = (
        requests.post(each, data=content, timeout=TIMEOUT_SECONDS)
        for each in (url.replace("/webhooks/", "/nothing/"), _wrong_token(url))
    )

    assert _seen(refused) == _seen(missing)


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", None])
def test_body_is_read_whatever_its_type_is_said_to_be(
    driver: Driver, event: MakeEvent, content_type: str | None
) -> None:
    answer = requests.post(
        driver.state["webhook_url"],
        data=json.dumps(event(), ensure_ascii=False).encode(),
        headers={"Content-Type": content_type},
        timeout=TIMEOUT_SECONDS,
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"workspaceId": "somebody-else"},
        {"files": [{"fileId": "../../etc", "uuid": "u1"}]},
        {"files": [{"fileId": "../../etc"}]},
        {"files": [{"fileId": "f1", "uuid": "u1/../u2"}]},
        {"requestId": "../../etc", "files": [{"fileId": "f1"}]},
        {"files": "all of them"},
        {"designId": "../x"},
        {"version": "x"},
        {"files": [{"fileId": f"f{n}", "uuid": "u"} for n in range(100_000)]},
    ],
    ids=[
        "workspace",
        "file-id",
        "file-id-alone",
        "uuid",
        "request-id",
        "files",
        "design",
        "version",
        "many",
    ],
)
def test_what_can_never_become_right_is_4xx(
    driver: Driver, event: MakeEvent, changes: dict[str, Any]
) -> None:
    assert _post(driver.state["webhook_url"], event(**changes)).status_code == 400


def test_body_that_is_no_json_is_4xx(driver: Driver) -> None:
    for content in (b"{", b"\xff\xfe", b"[" * 10_000):
        answer = requests.post(driver.state["webhook_url"], data=content, timeout=TIMEOUT_SECONDS)
        assert answer.status_code == 400, content[:10]


def test_repeated_webhook_changes_nothing(
    driver: Driver, event: MakeEvent, contract: Contract
) -> None:
    job_id = new_id("repeated")
    driver.send(body(job_id))
    job = driver.ended(job_id)
    request_id, _, file_id = job["fileId"].rpartition("/")
    file = {"fileId": file_id, "fileName": "a.pdf"}
    again: Mapping[Contract, dict[str, Any]] = {
        Contract.WORKSPACE: {"files": [{**file, "uuid": "u1"}]},
        Contract.CENTRAL: {"files": [file], "requestId": request_id},
    }

    assert _post(driver.state["webhook_url"], event(**again[contract])).status_code == 200

    follower = new_id("repeated")
    driver.send(body(follower))
    driver.ended(follower)
    assert driver.job(job_id) == job


def test_secret_is_in_no_log(driver: Driver, event: MakeEvent, log_text: Callable[[], str]) -> None:
    token = driver.state["webhook_url"].rsplit("/", 1)[1]
    assert _post(driver.state["webhook_url"], event()).ok
    assert _post(_wrong_token(driver.state["webhook_url"]), event()).status_code == 404

    text = log_text()

    assert json.dumps("webhook refused") in text
    assert token not in text
