import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reportflow import http_session
from reportflow.contract.client import ReportFlow
from reportflow.errors import (
    OutcomeUnknown,
    PipelineError,
    Retryable,
)
from reportflow.secret import SecretStore
from tests.unit.clock import LATER
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.reportflow_answers import ACCEPTED
from tests.unit.samples import MARK, by_url, by_uuid, request
from tests.unit.service_client import client_of

type Listen = Callable[[Respond], Peer]


def failure(service: ReportFlow) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        service.submit(request(), MARK, LATER)
    return failed.value


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that no further one is made."""
    with socket.socket() as server, ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
            client.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    service: ReportFlow, peer: Peer, listen: Listen, status: int
) -> None:
    elsewhere = listen(lambda _: answer(202, ACCEPTED))
    peer.respond = lambda _: answer(status, Location=f"{elsewhere.url}/v1/file/async/single")

    assert isinstance(failure(service), Retryable)
    with pytest.raises(Retryable), service.open("f", by_uuid("u"), LATER):
        pass
    assert elsewhere.received == []


@pytest.mark.parametrize("location", ["http://[", "//", "\xff", "http://x:y/"], ids=ascii)
def test_a_redirect_to_nowhere_is_an_ordinary_failure(
    service: ReportFlow, peer: Peer, location: str
) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    peer.respond = lambda _: [head.encode("latin-1")]

    error = failure(service)

    assert error.code == "HTTP_302"


def test_the_body_of_a_redirect_is_not_read_to_its_end(service: ReportFlow, peer: Peer) -> None:
    parts = iter([b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", *[b"x" * 65_536] * 500])
    peer.respond = lambda _: parts

    assert failure(service).code == "HTTP_302"
    assert next(parts, None) is not None


def test_proxies_and_netrc_of_the_environment_are_ignored(
    service: ReportFlow,
    peer: Peer,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    proxy = listen(lambda _: answer(202, ACCEPTED))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    peer.respond = lambda _: answer(202, ACCEPTED)

    service.submit(request(), MARK, LATER)

    assert proxy.received == []
    assert "authorization" not in peer.received[0].headers


def test_cookies_are_not_kept(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED, Set_Cookie="session=1; Path=/")

    service.submit(request(), MARK, LATER)
    service.submit(request(), MARK, LATER)

    assert "cookie" not in peer.received[-1].headers


def test_a_refused_connection_can_be_tried_again(secret_store: SecretStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = client_of(f"http://127.0.0.1:{port}/v1", secret_store)

    error = failure(client)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


def test_a_connection_that_is_not_made_in_time_can_be_tried_again(
    busy_port: int, secret_store: SecretStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_session, "CONNECT_SECONDS", 0.1)
    client = client_of(f"http://127.0.0.1:{busy_port}/v1", secret_store)

    error = failure(client)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


def test_a_host_that_no_name_service_takes_can_be_tried_again(secret_store: SecretStore) -> None:
    error = failure(client_of("http://a..b/v1", secret_store))

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


@pytest.mark.parametrize("place", ["ftp://127.0.0.1:{port}/v1", "127.0.0.1:{port}/v1", "/v1"])
def test_a_url_without_http_goes_nowhere(peer: Peer, secret_store: SecretStore, place: str) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)
    port = peer.url.rpartition(":")[2]

    error = failure(client_of(place.format(port=port), secret_store))

    assert "InvalidURL" in error.message
    assert peer.received == []


@pytest.mark.parametrize(
    "parts",
    [[], [b"HTTP/1.1 2"], [b"HTTP/1.1 202 Accepted\r\nContent-Le"], [b"\x00\x01\r\n\r\n"]],
    ids=["nothing", "part of a line", "part of the headers", "noise"],
)
def test_a_connection_cut_after_the_request_left_leaves_the_outcome_unknown(
    service: ReportFlow, peer: Peer, parts: list[bytes]
) -> None:
    peer.respond = lambda _: parts

    error = failure(service)

    assert isinstance(error, OutcomeUnknown)
    assert len(peer.received) == 1


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_unknown(
    service: ReportFlow, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_session, "READ_SECONDS", 0.1)
    given_up = threading.Event()

    def silent(_: Received) -> Iterator[bytes]:
        given_up.wait(10)
        yield b""

    peer.respond = silent
    error = failure(service)
    given_up.set()

    assert isinstance(error, OutcomeUnknown)
    assert error.code == "ANSWER_LOST"


def test_headers_that_nobody_can_read_are_not_logged(
    service: ReportFlow, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 would log them as a warning, and with them the URL, which opens the file."""
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nbroken header\r\nContent-Length: 0\r\n\r\n"
    peer.respond = lambda _: [head]

    with service.open("file_1", by_url(f"{peer.url}/files/of-the-202"), LATER):
        pass
    assert caplog.records == []
