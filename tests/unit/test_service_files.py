"""The PDF under the URL of a 202, which takes no keys."""

from collections.abc import Callable

import pytest

from reportflow.errors import Held, Retryable
from reportflow.service import ReportFlow
from tests.unit.clock import LATER
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.reportflow_answers import ACCEPTED
from tests.unit.samples import APP_KEY, PDF, SECRET_KEY, request

type Listen = Callable[[Respond], Peer]


def shows_a_key(got: Received) -> bool:
    shown = str(got)
    return APP_KEY in shown or SECRET_KEY in shown


def test_a_file_is_fetched_without_keys(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)
    service.submit(request(), LATER)
    peer.respond = lambda _: answer(200, PDF)

    with service.fetch(f"{peer.url}/files/share/x.pdf?v=1", LATER) as response:
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

    with pytest.raises(Held, match="URL_ELSEWHERE"), service.fetch(url, LATER):
        pass
    assert elsewhere.received == peer.received == []


@pytest.mark.parametrize("status", [201, 202, 204, 206, 401, 403, 404, 410, 429, 500, 503, 504])
def test_anything_but_a_200_is_no_file_yet(service: ReportFlow, peer: Peer, status: int) -> None:
    peer.respond = lambda _: answer(status)

    with pytest.raises(Held, match=f"HTTP_{status}"), service.fetch(f"{peer.url}/files/x", LATER):
        pass
    assert len(peer.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    service: ReportFlow, peer: Peer, listen: Listen, status: int
) -> None:
    elsewhere = listen(lambda _: answer(200, PDF))
    peer.respond = lambda _: answer(status, Location=f"{elsewhere.url}/files/x")

    with pytest.raises(Held, match=f"HTTP_{status}"), service.fetch(f"{peer.url}/files/x", LATER):
        pass
    assert elsewhere.received == []


@pytest.mark.parametrize("parts", [[], [b"HTTP/1.1 2"], [b"noise\r\n\r\n"]], ids=repr)
def test_without_an_answer_it_can_be_asked_for_again(
    service: ReportFlow, peer: Peer, parts: list[bytes]
) -> None:
    peer.respond = lambda _: parts

    with pytest.raises(Retryable, match="ANSWER_LOST"), service.fetch(f"{peer.url}/files/x", LATER):
        pass
