import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from traceback import format_exception

import pytest

from reportflow import service as service_module
from reportflow.errors import (
    CredentialsRefused,
    OutcomeUnknown,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
)
from reportflow.secret import REREAD_SECONDS, SecretStore
from reportflow.service import Accepted, ReportFlow
from tests.unit.clock import Ticker
from tests.unit.peer import Peer, Received, Respond, answer
from tests.unit.samples import APP_KEY, PDF, SECRET_KEY, request

type Listen = Callable[[Respond], Peer]
type Rotate = Callable[..., None]

ACCEPTED = json.dumps({"url": "https://re-port-flow.com/x", "fileId": "file_abc123"}).encode()


def keys_of(received: Received) -> tuple[str, str]:
    return received.headers["appkey"], received.headers["secretkey"]


def accept_only(app_key: str) -> Respond:
    """ReportFlow after a rotation: it takes this key and answers 401 to all others."""
    return lambda got: answer(202 if got.headers["appkey"] == app_key else 401, ACCEPTED)


def said(status: int, message: object) -> Iterable[bytes]:
    body = {"statusCode": status, "message": message, "error": "Bad Request"}
    return answer(status, json.dumps(body, ensure_ascii=False).encode())


def failure(service: ReportFlow) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        service.submit(request())
    return failed.value


def assert_shows_no_key(error: BaseException) -> None:
    shown = "".join(format_exception(error)) + repr(error) + repr(error.__cause__)
    assert APP_KEY not in shown
    assert SECRET_KEY not in shown


def test_a_submission_is_the_documented_request(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)

    accepted = service.submit(request(metadata={"tenant": "acme"}))

    (got,) = peer.received
    assert accepted == Accepted("file_abc123", "https://re-port-flow.com/x")
    assert (got.method, got.target) == ("POST", "/v1/file/async/single")
    assert got.headers["content-type"] == "application/json"
    assert got.body == request().service_body()
    assert keys_of(got) == (APP_KEY, SECRET_KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Permanent),
        (401, CredentialsRefused),
        (403, CredentialsRefused),
        (404, Permanent),
        (412, CredentialsRefused),
        (413, Permanent),
        (429, Throttled),
        (500, Retryable),
        (503, Retryable),
        (504, Retryable),
    ],
)
@pytest.mark.parametrize("message", ["デザインがありません", ["version", "は整数です"]])
def test_a_refusal_is_translated_with_its_words(
    service: ReportFlow, peer: Peer, status: int, kind: type[PipelineError], message: object
) -> None:
    peer.respond = lambda _: said(status, message)

    error = failure(service)

    assert type(error) is kind
    assert error.code == f"HTTP_{status}"
    for word in [message] if isinstance(message, str) else list(message):  # type: ignore[call-overload]  # the parameters above
        assert word in error.message


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"\xff", b"[]", b'{"message": 7}', b"{" * 100_000],
    ids=lambda body: body[:10],
)
def test_a_refusal_without_words_is_translated_by_its_status(
    service: ReportFlow, peer: Peer, body: bytes
) -> None:
    peer.respond = lambda _: answer(400, body)

    assert failure(service).message == "ReportFlow answered 400"


def test_a_refusals_words_are_cut(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: said(400, "x" * 5000)

    assert len(failure(service).message) < 1000


def test_retry_after_in_seconds_is_honoured(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(429, Retry_After="120")

    error = failure(service)

    assert isinstance(error, Throttled)
    assert error.delay_seconds == 120


def test_retry_after_as_a_date_is_honoured(service: ReportFlow, peer: Peer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=1000), usegmt=True)
    peer.respond = lambda _: answer(503, Retry_After=date)

    error = failure(service)

    assert isinstance(error, Retryable)
    assert error.delay_seconds == pytest.approx(1000, abs=60)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"[]",
        b'{"url": "u"}',
        b'{"fileId": "f"}',
        b'{"fileId": "", "url": "u"}',
        b'{"fileId": "../x", "url": "u"}',
        b'{"fileId": 7, "url": "u"}',
        b'{"fileId": "\xff", "url": "u"}',
        b'{"url": ' + b"[" * 200_000,
    ],
    ids=lambda body: body[:30],
)
def test_a_202_that_says_nothing_useful_leaves_the_outcome_unknown(
    service: ReportFlow, peer: Peer, body: bytes
) -> None:
    peer.respond = lambda _: answer(202, body)

    error = failure(service)

    assert isinstance(error, OutcomeUnknown)
    assert error.code == "UNREADABLE_ANSWER"


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_success_that_is_not_the_documented_one_is_not_submitted_again_unseen(
    service: ReportFlow, peer: Peer, status: int
) -> None:
    peer.respond = lambda _: answer(status, b"<html></html>")
    assert isinstance(failure(service), OutcomeUnknown)

    peer.respond = lambda _: answer(status, ACCEPTED)
    if status != 204:  # has no body
        assert service.submit(request()).file_id == "file_abc123"


def test_a_202_that_is_cut_off_leaves_the_outcome_unknown(service: ReportFlow, peer: Peer) -> None:
    head, body = answer(202, ACCEPTED)

    for length in (0, 1, len(body) - 1):
        peer.respond = lambda _, length=length: [head, body[:length]]
        assert isinstance(failure(service), OutcomeUnknown)


def test_what_a_202_adds_later_does_no_harm(service: ReportFlow, peer: Peer) -> None:
    body = gzip.compress(json.dumps({**json.loads(ACCEPTED), "share": None}).encode())
    peer.respond = lambda _: answer(202, body, Content_Encoding="gzip")

    assert service.submit(request()).file_id == "file_abc123"


# Keys


def test_refused_keys_are_read_again_and_tried_once_more(
    service: ReportFlow, peer: Peer, rotate: Rotate, ticker: Ticker
) -> None:
    peer.respond = accept_only(APP_KEY)
    service.submit(request())
    rotate(appKey="new")
    peer.respond = accept_only("new")
    ticker.now = REREAD_SECONDS

    service.submit(request())

    assert [keys_of(got)[0] for got in peer.received] == [APP_KEY, APP_KEY, "new"]
    assert peer.received[-1].body == request().service_body()


def test_new_keys_that_are_refused_too_are_an_outage(
    service: ReportFlow, peer: Peer, rotate: Rotate, ticker: Ticker, secret_store: SecretStore
) -> None:
    secret_store.get()
    rotate(appKey="new")
    ticker.now = REREAD_SECONDS
    peer.respond = accept_only("another")

    assert isinstance(failure(service), CredentialsRefused)
    assert [keys_of(got)[0] for got in peer.received] == [APP_KEY, "new"]


def test_the_same_keys_are_not_sent_again(
    service: ReportFlow, peer: Peer, ticker: Ticker, secret_store: SecretStore
) -> None:
    secret_store.get()
    ticker.now = REREAD_SECONDS
    peer.respond = accept_only("another")

    assert isinstance(failure(service), CredentialsRefused)
    assert len(peer.received) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"appKey": ""},
        {"secretKey": ""},
        {"appKey": " \n"},
        {"secretKey": f"{SECRET_KEY}\n{SECRET_KEY}"},
        {"appKey": f"{APP_KEY}キー"},
        {"secretKey": f"{SECRET_KEY}\x00"},
    ],
    ids=repr,
)
def test_without_usable_keys_nothing_is_sent(
    service: ReportFlow, peer: Peer, rotate: Rotate, keys: dict[str, str]
) -> None:
    rotate(**keys)

    error = failure(service)

    assert isinstance(error, CredentialsRefused)
    assert peer.received == []
    assert_shows_no_key(error)


def test_keys_that_were_filled_in_just_now_are_found(
    service: ReportFlow, peer: Peer, rotate: Rotate, secret_store: SecretStore, ticker: Ticker
) -> None:
    rotate(appKey="", secretKey="")
    secret_store.get()
    rotate()
    ticker.now = REREAD_SECONDS
    peer.respond = accept_only(APP_KEY)

    assert service.submit(request())


@pytest.mark.parametrize(
    "respond",
    [
        lambda got: said(401, f"Invalid AppKey: {got.headers['appkey']}"),
        lambda got: said(400, [f"keys {keys_of(got)} are not of this design"]),
        lambda got: answer(302, Location=f"https://other/?k={keys_of(got)[0]}"),
        lambda got: answer(202, str(keys_of(got)).encode()),
        lambda _: [],
        lambda _: [b"not HTTP\r\n"],
    ],
    ids=["401", "400", "302", "202", "no answer", "not HTTP"],
)
def test_no_failure_shows_a_key(service: ReportFlow, peer: Peer, respond: Respond) -> None:
    peer.respond = respond

    assert_shows_no_key(failure(service))


def test_the_client_itself_shows_no_key(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)
    service.submit(request())

    assert APP_KEY not in repr(vars(service))


# The host is the configured one


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    service: ReportFlow, peer: Peer, listen: Listen, status: int
) -> None:
    elsewhere = listen(lambda _: answer(202, ACCEPTED))
    peer.respond = lambda _: answer(status, Location=f"{elsewhere.url}/v1/file/async/single")

    assert isinstance(failure(service), Retryable)
    with pytest.raises(Retryable), service.download("u", "f"):
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

    service.submit(request())

    assert proxy.received == []
    assert "authorization" not in peer.received[0].headers


def test_cookies_are_not_kept(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED, Set_Cookie="session=1; Path=/")

    service.submit(request())
    service.submit(request())

    assert "cookie" not in peer.received[-1].headers


# No answer


def test_a_refused_connection_can_be_tried_again(peer: Peer, secret_store: SecretStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    client = ReportFlow(f"http://127.0.0.1:{port}/v1", secret_store)

    error = failure(client)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"
    assert_shows_no_key(error)
    assert peer.received == []


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


def test_a_connection_that_is_not_made_in_time_can_be_tried_again(
    busy_port: int, secret_store: SecretStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "CONNECT_SECONDS", 0.1)
    client = ReportFlow(f"http://127.0.0.1:{busy_port}/v1", secret_store)

    error = failure(client)

    assert isinstance(error, Retryable)
    assert error.code == "SERVICE_UNREACHABLE"


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
    monkeypatch.setattr(service_module, "READ_SECONDS", 0.1)
    given_up = threading.Event()

    def silent(_: Received) -> Iterator[bytes]:
        given_up.wait(10)
        yield b""

    peer.respond = silent
    error = failure(service)
    given_up.set()

    assert isinstance(error, OutcomeUnknown)
    assert error.code == "ANSWER_LOST"


# Downloads


def test_a_download_asks_for_the_file_as_it_is(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(200, PDF)

    with service.download("uuid-1", "file_abc123") as response:
        content = response.content

    (got,) = peer.received
    assert content == PDF
    assert (got.method, got.target) == ("GET", "/v1/file/download/uuid-1/file_abc123")
    assert got.headers["accept-encoding"] == "identity"
    assert keys_of(got) == (APP_KEY, SECRET_KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, Permanent), (401, CredentialsRefused), (429, Throttled), (500, Retryable)]
    + [(202, Retryable), (204, Retryable)],
)
def test_a_download_that_is_refused_is_translated(
    service: ReportFlow, peer: Peer, status: int, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(status)

    with pytest.raises(PipelineError) as failed, service.download("u", "f"):
        pass
    assert type(failed.value) is kind


def test_a_download_whose_answer_is_lost_can_be_asked_for_again(
    service: ReportFlow, peer: Peer
) -> None:
    peer.respond = lambda _: []

    with pytest.raises(Retryable, match="ANSWER_LOST"), service.download("u", "f"):
        pass


def test_ten_threads_share_a_client(service: ReportFlow, peer: Peer) -> None:
    """That they really work side by side is `test_consumer`'s matter."""
    peer.respond = lambda got: answer(202, ACCEPTED.replace(b"abc123", str(len(got.body)).encode()))
    requests = [request(content={"fileName": "n" * n, "params": {}}) for n in range(1, 11)]
    with ThreadPoolExecutor(10) as pool:
        accepted = list(pool.map(service.submit, requests))

    expected = [f"file_{len(one.service_body())}" for one in requests]
    assert [one.file_id for one in accepted] == expected
