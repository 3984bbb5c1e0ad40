"""Over TLS: whether a request can have left decides whether it may be sent again unseen."""

import socket
import ssl
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import certifi
import pytest

from reportflow import http_session
from reportflow.contract.client import SHORTEST_SECONDS, ReportFlow
from reportflow.errors import OutcomeUnknown, PipelineError, Retryable
from reportflow.messages import GenerationRequest
from reportflow.secret import SecretStore
from tests.unit.clock import LATER, START
from tests.unit.peer import slowly
from tests.unit.reportflow_answers import ACCEPTED
from tests.unit.samples import MARK, body_of, request
from tests.unit.service_client import client_of
from tests.unit.tls_peer import Serve, ServeTls, make_certificate, over_tls, serving

SOON = START + timedelta(seconds=SHORTEST_SECONDS)
LARGE = request(content={"fileName": "large.pdf", "params": {"text": "x" * 9_000_000}})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def cut(client: socket.socket) -> None:
    """Close the connection without a word of TLS."""
    client.shutdown(socket.SHUT_RDWR)


def answer_in_clear(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def cut_the_handshake(client: socket.socket) -> None:
    client.recv(65_536)
    cut(client)


def read_request(client: socket.socket) -> bytes:
    got = b""
    while body_of(request()) not in got:
        got += client.recv(65_536)
    return got


def accepted() -> bytes:
    length = f"Content-Length: {len(ACCEPTED)}\r\nConnection: close\r\n\r\n"
    return f"HTTP/1.1 202 Accepted\r\n{length}".encode() + ACCEPTED


def connected(
    port: int,
    secret_store: SecretStore,
    trusted: Path | None,
    *,
    place: str = "https://127.0.0.1",
) -> ReportFlow:
    url = f"{place}:{port}/v1"
    client = client_of(url, secret_store, url)
    client._session.roots = str(trusted) if trusted else certifi.where()
    return client


def failure(
    port: int,
    secret_store: SecretStore,
    trusted: Path | None,
    *,
    place: str = "https://127.0.0.1",
    asked: GenerationRequest[Any] | None = None,
    deadline: datetime = LATER,
) -> PipelineError:
    client = connected(port, secret_store, trusted, place=place)
    with pytest.raises(PipelineError) as failed:
        client.submit(asked or request(), MARK, deadline)
    return failed.value


def test_a_submission_goes_over_tls(certificate: Path, secret_store: SecretStore) -> None:
    def serve(client: ssl.SSLSocket) -> None:
        read_request(client)
        client.sendall(accepted())

    with serving(over_tls(certificate, serve)) as port:
        client = connected(port, secret_store, certificate)
        assert client.submit(request(), MARK, LATER).file_id == "file_abc123"


def test_root_certificates_are_loaded_once_for_all_connections(
    certificate: Path, secret_store: SecretStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, cafile: str | None = None, *others: Any) -> None:
        loaded.append(str(cafile))
        load(context, cafile, *others)

    def serve(client: ssl.SSLSocket) -> None:
        read_request(client)
        client.sendall(accepted())

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(certificate.read_bytes())
    with serving(over_tls(certificate, serve)) as port:
        client = connected(port, secret_store, roots)
        for _ in range(3):
            assert client.submit(request(), MARK, LATER).file_id == "file_abc123"
    assert loaded == [str(roots)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_peer_without_a_trusted_certificate_gets_nothing(
    certificate: Path, secret_store: SecretStore, host: str
) -> None:
    """Nor does `localhost`, since the certificate that is trusted for it is not its own."""
    received: list[bytes] = []

    def serve(client: ssl.SSLSocket) -> None:
        received.append(client.recv(65_536))

    with serving(over_tls(certificate, serve)) as port:
        trust = certificate if host == "localhost" else None
        error = failure(port, secret_store, trust, place=f"https://{host}")

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"
    assert "SSLCertVerificationError" in error.message
    assert received == []


@pytest.mark.parametrize("serve", [answer_in_clear, cut_the_handshake])
def test_a_handshake_that_fails_has_sent_nothing(
    certificate: Path, secret_store: SecretStore, serve: Serve
) -> None:
    with serving(serve) as port:
        error = failure(port, secret_store, certificate)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


def cut_the_answer(client: ssl.SSLSocket) -> None:
    client.sendall(b"HTTP/1.1 202 Acc")
    cut(client)


def garble(client: ssl.SSLSocket) -> None:
    """Send what is no record of TLS: the client's library reports it like a failed handshake."""
    socket.socket.send(client, b"garbage" * 10)


@pytest.mark.parametrize("breaks", [cut, cut_the_answer, garble])
def test_a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown(
    certificate: Path, secret_store: SecretStore, breaks: ServeTls
) -> None:
    def serve(client: ssl.SSLSocket) -> None:
        read_request(client)
        breaks(client)

    with serving(over_tls(certificate, serve)) as port:
        error = failure(port, secret_store, certificate)

    assert isinstance(error, OutcomeUnknown)


def test_a_trickle_is_given_up_at_the_deadline(
    certificate: Path, secret_store: SecretStore
) -> None:
    def serve(client: ssl.SSLSocket) -> None:
        read_request(client)
        for byte in slowly(accepted()):
            client.sendall(byte)

    with serving(over_tls(certificate, serve)) as port:
        error = failure(port, secret_store, certificate, deadline=SOON)

    assert isinstance(error, OutcomeUnknown)


def test_a_handshake_that_is_not_over_in_time_has_sent_nothing(
    certificate: Path, secret_store: SecretStore
) -> None:
    def serve(client: socket.socket) -> None:
        time.sleep(SHORTEST_SECONDS * 0.7)
        over_tls(certificate, answer)(client)

    def answer(client: ssl.SSLSocket) -> None:
        read_request(client)
        client.sendall(accepted())

    with serving(serve) as port:
        error = failure(port, secret_store, certificate, deadline=SOON)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


def taking(pause: float) -> Callable[[socket.socket], None]:
    """Takes a large request in small parts, and answers it."""

    def serve(client: socket.socket) -> None:
        got = 0
        while got < len(body_of(LARGE)):
            got += len(client.recv(16_384))
            time.sleep(pause)
        client.sendall(accepted())

    return serve


def test_a_request_that_is_not_taken_in_time_leaves_the_outcome_unknown(
    certificate: Path, secret_store: SecretStore
) -> None:
    begun = time.monotonic()

    with serving(over_tls(certificate, taking(pause=0.02))) as port:
        error = failure(port, secret_store, certificate, asked=LARGE, deadline=SOON)

    assert isinstance(error, OutcomeUnknown)
    assert time.monotonic() - begun < 5 * SHORTEST_SECONDS


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_may_take_longer_to_send_than_to_connect(
    certificate: Path, secret_store: SecretStore, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(http_session, "CONNECT_SHARE", 0.01)
    serve = taking(pause=0.0005)

    with serving(serve if scheme == "http" else over_tls(certificate, serve)) as port:
        client = connected(port, secret_store, certificate, place=f"{scheme}://127.0.0.1")
        assert client.submit(LARGE, MARK, LATER).file_id == "file_abc123"
