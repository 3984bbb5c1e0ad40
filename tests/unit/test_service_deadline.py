"""A request ends by its deadline, whatever the peer does meanwhile.

Each peer here would finish well, only later: a client that waits for it gets no failure at all.
"""

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from urllib3.exceptions import ReadTimeoutError

from reportflow import http_session
from reportflow.contract import client as client_module
from reportflow.contract.client import ReportFlow
from reportflow.errors import OutcomeUnknown, Permanent, PipelineError, Retryable
from reportflow.secret import SecretStore
from tests.unit.clock import LATER, START, Clock
from tests.unit.peer import Peer, Received, answer, slowly
from tests.unit.reportflow_answers import ACCEPTED, OPEN_ENDED, said
from tests.unit.samples import MARK, PDF, by_uuid, request
from tests.unit.service_client import client_of

HOST = "reportflow.example"
SECONDS = 0.6
SOON = START + timedelta(seconds=SECONDS)
MUCH_LATER = 4.0
"""A slow machine gives up before, and who heeds no deadline after."""

type Addresses = list[tuple[Any, ...]]
type LookUp = Callable[[], Addresses]


def failure(service: ReportFlow) -> PipelineError:
    begun = time.monotonic()
    with pytest.raises(PipelineError) as failed:
        service.submit(request(), MARK, SOON)
    assert time.monotonic() - begun < MUCH_LATER
    return failed.value


def port_of(peer: Peer) -> int:
    return int(peer.url.rpartition(":")[2])


@pytest.fixture(autouse=True)
def _short_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SHORTEST_SECONDS", SECONDS)


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[LookUp], None]:
    """Gives ReportFlow a host name, and sets what that stands for."""
    real = socket.getaddrinfo

    def resolve(look_up: LookUp) -> None:
        def chosen(host: str, *arguments: Any, **options: Any) -> Addresses:
            return look_up() if host == HOST else real(host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", chosen)

    return resolve


@pytest.fixture
def service(
    peer: Peer, secret_store: SecretStore, clock: Clock, resolving: Callable[[LookUp], None]
) -> ReportFlow:
    """A client of a host that has a name."""
    resolving(lambda: address(port_of(peer)))
    return client_of(f"http://{HOST}/v1", secret_store, clock=clock)


@pytest.fixture
def black_hole() -> Iterator[Addresses]:
    """An address where no connection is ever made: the queue of its port is full."""
    sockets = [socket.socket() for _ in range(5)]
    server, *waiting = sockets
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    for client in waiting:
        client.setblocking(False)  # noqa: FBT003  (the standard library's own signature)
        client.connect_ex(server.getsockname())
    yield address(server.getsockname()[1])
    for each in sockets:
        each.close()


def address(port: int) -> Addresses:
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


@pytest.mark.parametrize("trickles", ["head", "body"])
def test_a_submission_that_is_answered_in_a_trickle_is_given_up(
    service: ReportFlow, peer: Peer, trickles: str
) -> None:
    def respond(_: Received) -> Iterator[bytes]:
        head, body = answer(202, ACCEPTED)
        yield from slowly(head) if trickles == "head" else [head]
        yield from slowly(body)

    peer.respond = respond

    assert isinstance(failure(service), OutcomeUnknown)


def test_a_refusals_words_are_waited_for_until_the_deadline(
    service: ReportFlow, peer: Peer
) -> None:
    def respond(_: Received) -> Iterator[bytes]:
        head, body = said(400, "no such design")
        yield head
        yield from slowly(body)

    peer.respond = respond

    error = failure(service)

    assert isinstance(error, Permanent)
    assert error.message == "ReportFlow answered 400"


def test_a_file_that_comes_in_a_trickle_is_given_up(service: ReportFlow, peer: Peer) -> None:
    def respond(_: Received) -> Iterator[bytes]:
        yield OPEN_ENDED
        yield from slowly(PDF[:100])

    peer.respond = respond

    with service.open("f", by_uuid("u"), SOON) as response, pytest.raises(ReadTimeoutError):
        b"".join(iter(lambda: response.raw.read1(65_536, decode_content=True), b""))


def test_the_addresses_of_a_host_share_the_time(
    service: ReportFlow, peer: Peer, resolving: Callable[[LookUp], None], black_hole: Addresses
) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)
    resolving(lambda: [*black_hole * 4, *address(port_of(peer))])

    error = failure(service)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"
    assert peer.received == []


def test_the_next_address_is_tried_while_there_is_time(
    service: ReportFlow,
    peer: Peer,
    resolving: Callable[[LookUp], None],
    black_hole: Addresses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_session, "CONNECT_SECONDS", 0.1)
    peer.respond = lambda _: answer(202, ACCEPTED)
    resolving(lambda: [*black_hole * 2, *address(port_of(peer))])

    assert service.submit(request(), MARK, LATER).file_id == "file_abc123"


def test_a_name_that_is_not_looked_up_in_time_can_be_tried_again(
    service: ReportFlow, peer: Peer, resolving: Callable[[LookUp], None]
) -> None:
    def late() -> Addresses:
        # The fault itself: a name server that takes longer than the request may.
        time.sleep(SECONDS * 1.1)
        return address(port_of(peer))

    resolving(late)
    peer.respond = lambda _: answer(202, ACCEPTED)

    error = failure(service)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"
    assert peer.received == []


def test_what_was_used_up_to_connect_is_not_left_for_the_answer(
    service: ReportFlow,
    peer: Peer,
    resolving: Callable[[LookUp], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_session, "CONNECT_SHARE", 0.9)

    def late() -> Addresses:
        time.sleep(SECONDS * 0.4)
        return address(port_of(peer))

    def respond(_: Received) -> Iterator[bytes]:
        time.sleep(SECONDS * 0.8)
        yield from answer(202, ACCEPTED)

    resolving(late)
    peer.respond = respond

    assert isinstance(failure(service), OutcomeUnknown)


def test_a_name_that_does_not_exist_can_be_tried_again(
    service: ReportFlow, resolving: Callable[[LookUp], None]
) -> None:
    def unknown() -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolving(unknown)

    error = failure(service)

    assert isinstance(error, Retryable)
    assert error.message == "no connection to ReportFlow (NameResolutionError)"
