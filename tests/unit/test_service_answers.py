"""One answer belongs to one request, in whatever way servers and proxies send answers."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import parse_headers
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from reportflow.contract import WORKSPACE
from reportflow.contract.client import ReportFlow
from reportflow.contract.workspace import MAX_URL_CHARACTERS
from reportflow.errors import CredentialsRefused, OutcomeUnknown, Permanent, PipelineError
from reportflow.http_session import MAX_INTERIM_ANSWERS
from reportflow.messages import GenerationRequest
from reportflow.secret import SecretStore
from tests.unit.clock import LATER
from tests.unit.peer import Peer, answer, chunked_body
from tests.unit.samples import MARK, PDF, by_url, by_uuid, request
from tests.unit.service_client import client_of
from tests.unit.tls_peer import make_certificate, over_tls, serving

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
BOM = b"\xef\xbb\xbf"


def accepted(file_id: str = "file_1", **more: object) -> bytes:
    return json.dumps({"fileId": file_id, **more}).encode()


def whole(status: int, body: bytes = b"", **headers: str) -> bytes:
    return b"".join(answer(status, body, **headers))


def failure(service: ReportFlow, asked: GenerationRequest[Any] | None = None) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        service.submit(asked or request(), MARK, LATER)
    return failed.value


def asking(job: str) -> GenerationRequest[Any]:
    return request(content={"fileName": "a.pdf", "params": {"job": job}})


type Answers = Callable[[str], bytes]


@contextmanager
def keeping_connections(answers: Answers) -> Iterator[tuple[str, list[list[str]]]]:
    """A server that never closes a connection, and the jobs that came on each.

    It answers a request for `/x/{file}` or a submission of the job with the given bytes.
    """
    connections: list[list[str]] = []
    clients: list[socket.socket] = []

    def serve(client: socket.socket, jobs: list[str]) -> None:
        with client, client.makefile("rb") as stream:
            while job := read_job(stream):
                jobs.append(job)
                client.sendall(answers(job))

    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:

        def accept() -> None:
            try:
                while True:
                    client, _ = server.accept()
                    clients.append(client)
                    connections.append([])
                    threading.Thread(target=serve, args=(client, connections[-1])).start()
            except OSError:
                pass

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", connections
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()


def read_job(stream: BinaryIO) -> str:
    line = stream.readline().decode()
    if not line:
        return ""
    headers = parse_headers(stream)
    body = stream.read(int(headers.get("Content-Length", 0)))
    if not body:
        return line.split()[1].rpartition("/")[2]
    return str(json.loads(body)["content"]["params"]["job"])


def connected(url: str, secret_store: SecretStore) -> ReportFlow:
    return client_of(f"{url}/v1", secret_store, f"{url}/")


def answer_of(job: str) -> bytes:
    return whole(200, accepted(f"file_of_{job}"), Connection="keep-alive")


@pytest.mark.parametrize("interim", [b"", INTERIM, INTERIM * 3], ids=["none", "one", "three"])
@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_answers_are_not_the_answer(
    secret_store: SecretStore, status: int, interim: bytes
) -> None:
    early = interim.replace(b"103", str(status).encode())
    with keeping_connections(lambda job: early + answer_of(job)) as (url, _):
        service = connected(url, secret_store)
        for job in ("a", "b", "c"):
            assert service.submit(asking(job), MARK, LATER).file_id == f"file_of_{job}"


def test_an_interim_answer_before_a_file_is_not_the_file(
    secret_store: SecretStore, peer: Peer, service: ReportFlow
) -> None:
    peer.respond = lambda _: [INTERIM, *answer(200, PDF)]

    with service.open("f", by_uuid("u"), LATER) as response:
        assert response.content == PDF


def test_as_many_interim_answers_as_are_allowed_are_skipped(
    service: ReportFlow, peer: Peer
) -> None:
    peer.respond = lambda _: [INTERIM * MAX_INTERIM_ANSWERS, *answer(200, PDF)]

    with service.open("f", by_uuid("u"), LATER) as response:
        assert response.content == PDF


def test_interim_answers_without_end_leave_the_outcome_unknown(
    service: ReportFlow, peer: Peer
) -> None:
    peer.respond = lambda _: repeat(INTERIM)

    error = failure(service)

    assert isinstance(error, OutcomeUnknown)
    assert "Timeout" not in error.message


def test_a_switch_of_protocols_leaves_the_outcome_unknown(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"]

    assert isinstance(failure(service), OutcomeUnknown)


def test_each_request_has_a_connection_of_its_own(secret_store: SecretStore) -> None:
    with keeping_connections(answer_of) as (url, connections):
        service = connected(url, secret_store)
        for job in ("a", "b"):
            service.submit(asking(job), MARK, LATER)
            with (
                service.open(f"file-{job}", by_uuid("u"), LATER),
                service.open("file_1", by_url(f"{url}/{job}"), LATER),
            ):
                pass

    assert sorted(connections) == [["a"], ["a"], ["b"], ["b"], ["file-a"], ["file-b"]]


@pytest.mark.parametrize("more", [whole(202, accepted("file_2")), b"\0", b"\r\n"], ids=ascii)
def test_bytes_behind_the_answer_are_nothing(service: ReportFlow, peer: Peer, more: bytes) -> None:
    peer.respond = lambda _: [whole(202, accepted()) + more]

    assert service.submit(request(), MARK, LATER).file_id == "file_1"


@pytest.mark.parametrize(
    "body",
    [
        accepted(),
        accepted(url=None),
        accepted(url={"href": "x"}),
        accepted(url="https://x/" + "u" * MAX_URL_CHARACTERS),
        accepted(requestId="r", files=[{"fileId": "file_1"}]),
        BOM + accepted(url="https://x/"),
        json.dumps({"request": "x" * WORKSPACE.max_request_bytes, "fileId": "file_1"}).encode(),
    ],
    ids=["no URL", "null", "an object", "long URL", "more fields", "BOM", "with the request"],
)
def test_a_success_in_an_unexpected_wrapping_is_one(
    service: ReportFlow, peer: Peer, body: bytes
) -> None:
    peer.respond = lambda _: answer(202, body)

    assert service.submit(request(), MARK, LATER).file_id == "file_1"


def test_a_long_url_is_kept(service: ReportFlow, peer: Peer) -> None:
    url = "https://x/?X-Amz-Security-Token=" + "A" * 2100
    peer.respond = lambda _: answer(202, accepted(url=url))

    assert service.submit(request(), MARK, LATER).reference == by_url(url)


@pytest.mark.parametrize(
    "parts",
    [
        lambda body: [whole(400, body)],
        lambda body: chunked_body(400, body[:30], body[30:]),
        lambda body: [whole(400, BOM + body)],
    ],
    ids=["at once", "in two chunks", "BOM"],
)
@pytest.mark.parametrize("words", [1, 400])
def test_the_words_of_a_refusal_are_read_whole(
    service: ReportFlow, peer: Peer, parts: Callable[[bytes], list[bytes]], words: int
) -> None:
    said = [f"lines.{number}.amount must be a number" for number in range(words)]
    peer.respond = lambda _: parts(json.dumps({"statusCode": 400, "message": said}).encode())

    assert failure(service).message.startswith("ReportFlow answered 400: lines.0.amount must be")


def refusing(status: int) -> Callable[[socket.socket], None]:
    """Answers before it has read the request, and resets the connection."""

    def serve(client: socket.socket) -> None:
        # Without it the kernel may keep the answer back, and drop it with the reset.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(1024)
        client.sendall(whole(status, b'{"message": "too much"}'))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return serve


@pytest.mark.parametrize(("status", "kind"), [(413, Permanent), (401, CredentialsRefused)])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("size", [100_000, 9_000_000])
def test_a_refusal_before_the_request_was_read_is_a_refusal(
    secret_store: SecretStore,
    tmp_path: Path,
    status: int,
    kind: type[PipelineError],
    scheme: str,
    size: int,
) -> None:
    large = request(content={"fileName": "large.pdf", "params": {"text": "x" * size}})
    certificate = make_certificate(tmp_path)
    serve = refusing(status)
    with serving(serve if scheme == "http" else over_tls(certificate, serve)) as port:
        service = connected(f"{scheme}://127.0.0.1:{port}", secret_store)
        service._session.roots = str(certificate)
        error = failure(service, large)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"


def test_a_reset_in_place_of_an_answer_leaves_the_outcome_unknown(
    secret_store: SecretStore,
) -> None:
    def serve(client: socket.socket) -> None:
        client.recv(1024)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    large = request(content={"fileName": "a", "params": {"x": "x" * 10**7}})
    with serving(serve) as port:
        service = connected(f"http://127.0.0.1:{port}", secret_store)
        assert isinstance(failure(service, large), OutcomeUnknown)
