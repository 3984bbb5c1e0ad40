"""The PDF under the URL of a 202, which takes no keys."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from reportflow.contract.client import ReportFlow
from reportflow.errors import FileMissing, Retryable, Throttled
from tests.unit.clock import LATER
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.reportflow_answers import ACCEPTED
from tests.unit.samples import APP_KEY, MARK, PDF, SECRET_KEY, by_url, request

type Listen = Callable[[Respond], Peer]


def failure(service: ReportFlow, peer: Peer) -> Retryable:
    with (
        pytest.raises(Retryable) as failed,
        service.open("file_1", by_url(f"{peer.url}/files/x"), LATER),
    ):
        pass
    return failed.value


@pytest.fixture
def pauses(service: ReportFlow, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What the rate limiter was given."""
    told: list[float | None] = []
    monkeypatch.setattr(service._rate_limiter, "pause", told.append)
    return told


def shows_a_key(got: Received) -> bool:
    shown = str(got)
    return APP_KEY in shown or SECRET_KEY in shown


def test_a_file_is_fetched_without_keys(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)
    service.submit(request(), MARK, LATER)
    peer.respond = lambda _: answer(200, PDF)

    with service.open("file_1", by_url(f"{peer.url}/files/share/x.pdf?v=1"), LATER) as response:
        assert response.content == PDF

    submitted, got = peer.received
    assert (got.method, got.target) == ("GET", "/files/share/x.pdf?v=1")
    assert got.headers["accept-encoding"] == "identity"
    assert shows_a_key(submitted)
    assert not shows_a_key(got)
    assert not {"appkey", "secretkey", "authorization"} & got.headers.keys()


@pytest.mark.parametrize(
    "place",
    [
        "{elsewhere}/files/x",
        "{files}-of-others/x",
        "{files}",
        "{host}/other/x",
        "{files}@{elsewhere_host}/x",
        "{files_host}.{elsewhere_host}/files/x",
        "file:///etc/passwd",
        "//{elsewhere_host}/files/x",
        "/files/x",
        "",
    ],
)
def test_a_url_elsewhere_is_not_asked(
    service: ReportFlow, peer: Peer, listen: Listen, place: str
) -> None:
    elsewhere = listen(lambda _: answer(200, PDF))
    url = place.format(
        elsewhere=elsewhere.url,
        elsewhere_host=elsewhere.url.removeprefix("http://"),
        files=f"{peer.url}/files",
        files_host=peer.url,
        host=peer.url,
    )

    with (
        pytest.raises(FileMissing, match="URL_ELSEWHERE"),
        service.open("file_1", by_url(url), LATER),
    ):
        pass
    assert elsewhere.received == peer.received == []


@pytest.mark.parametrize("status", [201, 202, 204, 206, 400, 401, 403, 404, 410, 412, 425, 451])
def test_an_answer_that_is_no_file_says_that_there_is_none_yet(
    service: ReportFlow, peer: Peer, status: int
) -> None:
    peer.respond = lambda _: answer(status)

    assert type(failure(service, peer)) is FileMissing
    assert len(peer.received) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 599])
def test_a_failure_of_the_service_says_nothing_of_the_file(
    service: ReportFlow, peer: Peer, status: int
) -> None:
    peer.respond = lambda _: answer(status, Retry_After="7")

    error = failure(service, peer)

    assert type(error) is Retryable
    assert error.costs_retry
    assert error.code == f"HTTP_{status}"
    assert error.delay_seconds == 7


@pytest.mark.parametrize(("headers", "asked"), [({"Retry_After": "30"}, 30.0), ({}, None)])
def test_a_throttled_fetch_makes_everybody_pause(
    service: ReportFlow, peer: Peer, pauses: list[float | None], headers: Any, asked: float | None
) -> None:
    peer.respond = lambda _: answer(429, b'{"message": "slow down"}', **headers)

    error = failure(service, peer)

    assert type(error) is Throttled
    assert error.delay_seconds == asked
    assert "slow down" in error.message
    assert pauses == [asked]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    service: ReportFlow, peer: Peer, listen: Listen, status: int
) -> None:
    elsewhere = listen(lambda _: answer(200, PDF))
    peer.respond = lambda _: answer(status, Location=f"{elsewhere.url}/files/x")

    error = failure(service, peer)

    assert type(error) is FileMissing
    assert error.code == f"HTTP_{status}"
    assert elsewhere.received == []


@pytest.mark.parametrize("parts", [[], [b"HTTP/1.1 2"], [b"noise\r\n\r\n"]], ids=repr)
def test_without_an_answer_it_can_be_asked_for_again(
    service: ReportFlow, peer: Peer, parts: list[bytes]
) -> None:
    peer.respond = lambda _: parts

    error = failure(service, peer)

    assert type(error) is Retryable
    assert error.code == "ANSWER_LOST"


def test_without_a_connection_it_can_be_asked_for_again(service: ReportFlow, peer: Peer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        peer.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    service._files_url = f"{peer.url}/"

    error = failure(service, peer)

    assert type(error) is Retryable
    assert error.code == "SERVICE_UNREACHABLE"
