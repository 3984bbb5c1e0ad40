"""The client by the contract `central`, with OAuth client credentials in place of a key."""

import gzip
import json
import logging
import socket
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import is_dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from threading import Event
from time import monotonic, sleep
from traceback import format_exception
from urllib.parse import parse_qs

import pytest
import requests

from local.emulator import Emulator
from reportflow.contract import CENTRAL
from reportflow.contract.client import ReportFlow
from reportflow.contract.credentials import RENEWAL_SHARE
from reportflow.errors import (
    CredentialsRefused,
    OutOfTime,
    PipelineError,
    Retryable,
    Throttled,
)
from reportflow.secret import REREAD_SECONDS, SecretStore
from tests.unit.clock import LATER, Clock, Ticker
from tests.unit.emulator_client import CENTRAL as EMULATED
from tests.unit.emulator_client import body as emulator_body
from tests.unit.emulator_client import made
from tests.unit.peer import Peer, Received, Respond, answer, chunked_body
from tests.unit.reportflow_answers import central_accepted, said
from tests.unit.samples import MARK, PDF, request
from tests.unit.service_client import client_of

type Rotate = Callable[..., None]

CLIENT_SECRET = "cs-3f9c1e77d0ab"
LIFE = 3600
RENEWAL = LIFE * RENEWAL_SHARE
TOKEN = "tok-77d0ab"


class Authorization:
    """ReportFlow with its token endpoint: `TOKEN-1`, `TOKEN-2`…, and which of them it takes."""

    def __init__(self) -> None:
        self.issue: Callable[[Received], Iterable[bytes]] = self.issue_next
        self.revoked: set[str] = set()
        self.secrets = {CLIENT_SECRET}
        self._numbers = count(1)

    def __call__(self, got: Received) -> Iterable[bytes]:
        if got.target == "/oauth/token":
            return self.issue(got)
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.revoked or not token.startswith(TOKEN):
            return said(401, f"unknown token {token}")
        return answer(202, central_accepted()) if got.method == "POST" else answer(200, PDF)

    def issue_next(self, _: Received) -> Iterable[bytes]:
        return token_of(f"{TOKEN}-{next(self._numbers)}")

    def issue_to_known(self, got: Received) -> Iterable[bytes]:
        known = basic_of(got)[1] in self.secrets
        return self.issue_next(got) if known else said(401, "invalid_client")


def token_of(token: object, **changes: object) -> list[bytes]:
    body = {"access_token": token, "token_type": "Bearer", "expires_in": LIFE, **changes}
    return answer(200, json.dumps(body).encode(), Content_Type="application/json")


def basic_of(got: Received) -> tuple[str, str]:
    """The client's id and secret, as RFC 6749 2.3.1 puts them into the header."""
    scheme, _, encoded = got.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    client_id, _, secret = b64decode(encoded, validate=True).decode().partition(":")
    [pair] = [parse_qs(f"id={client_id}&secret={secret}")]
    return pair["id"][0], pair["secret"][0]


def tokens_in(peer: Peer) -> list[str]:
    return [
        got.headers["authorization"].removeprefix("Bearer ")
        for got in peer.received
        if got.target != "/oauth/token"
    ]


def fetches(peer: Peer) -> int:
    return sum(got.target == "/oauth/token" for got in peer.received)


@pytest.fixture
def authorization(peer: Peer) -> Authorization:
    peer.respond = authorization = Authorization()
    return authorization


@pytest.fixture
def service(
    authorization: Authorization,
    peer: Peer,
    secret_store: SecretStore,
    rotate: Rotate,
    clock: Clock,
) -> ReportFlow:
    rotate(clientId="client-1", clientSecret=CLIENT_SECRET)
    return client_of(
        f"{peer.url}/v1",
        secret_store,
        contract=CENTRAL,
        clock=clock,
        token_url=f"{peer.url}/oauth/token",
    )


def submit(service: ReportFlow, by: datetime = LATER) -> str:
    return service.submit(request(CENTRAL), MARK, by).file_id


def failure(service: ReportFlow, by: datetime = LATER) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        submit(service, by)
    return failed.value


def test_a_token_is_asked_for_and_carried_by_every_call(service: ReportFlow, peer: Peer) -> None:
    accepted = service.submit(request(CENTRAL), MARK, LATER)
    with service.open(accepted.file_id, accepted.reference, LATER) as response:
        assert response.content == PDF

    asked = peer.received[0]
    assert (asked.method, asked.target) == ("POST", "/oauth/token")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["pdf:generate"],
    }
    assert basic_of(asked) == ("client-1", CLIENT_SECRET)
    assert fetches(peer) == 1
    for got in peer.received[1:]:
        assert got.headers["authorization"] == f"Bearer {TOKEN}-1"
        assert "appkey" not in got.headers


@pytest.mark.parametrize(
    ("client_id", "secret"), [("a:b", "c:d"), ("a%3Ab", "p+q &=%/"), ("~", "-")]
)
def test_any_id_and_secret_reach_the_endpoint(
    service: ReportFlow, peer: Peer, rotate: Rotate, client_id: str, secret: str
) -> None:
    rotate(clientId=client_id, clientSecret=secret)

    submit(service)

    assert basic_of(peer.received[0]) == (client_id, secret)


def test_a_key_goes_before_the_client(service: ReportFlow, peer: Peer, rotate: Rotate) -> None:
    rotate(clientId="client-1", clientSecret=CLIENT_SECRET, centralAppKey="ak_1")
    peer.respond = lambda _: answer(202, central_accepted())

    submit(service)

    assert [got.headers.get("appkey") for got in peer.received] == ["ak_1"]


def test_ten_threads_fetch_one_token(service: ReportFlow, peer: Peer) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: submit(service), range(10)))

    assert fetches(peer) == 1
    assert tokens_in(peer) == [f"{TOKEN}-1"] * 10


def test_a_token_is_renewed_before_its_end(service: ReportFlow, peer: Peer, clock: Clock) -> None:
    submit(service, clock() + timedelta(seconds=30))
    clock.advance(RENEWAL - 1)
    submit(service, clock() + timedelta(seconds=30))
    assert tokens_in(peer) == [f"{TOKEN}-1"] * 2

    clock.advance(1)
    submit(service, clock() + timedelta(seconds=30))

    assert RENEWAL < LIFE
    assert tokens_in(peer)[-1] == f"{TOKEN}-2"
    assert fetches(peer) == 2


@pytest.mark.parametrize(
    ("changes", "lasts"),
    [
        ({"expires_in": "3600"}, 3240),
        ({"expires_in": 600.5}, 540),
        ({"expires_in": 10**9}, 77_760),
        ({"expires_in": 0}, 0),
        ({"expires_in": -5}, 0),
        ({"scope": "pdf:generate", "refresh_token": None, "new": [{}]}, 3240),
    ],
    ids=repr,
)
def test_a_token_lasts_as_the_endpoint_says(
    *,
    service: ReportFlow,
    authorization: Authorization,
    peer: Peer,
    clock: Clock,
    changes: dict[str, object],
    lasts: float,
) -> None:
    authorization.issue = lambda _: token_of(f"{TOKEN}-x", **changes)
    for wait, fetched in ((0, 1), (max(lasts - 1, 0), 1 if lasts else 2), (2, 2 if lasts else 3)):
        clock.advance(wait)
        submit(service, clock() + timedelta(seconds=30))
        assert fetches(peer) == fetched


def test_a_token_without_a_time_lasts_a_while(
    service: ReportFlow, authorization: Authorization, peer: Peer
) -> None:
    authorization.issue = lambda _: answer(200, f'{{"access_token":"{TOKEN}-x"}}'.encode())

    submit(service)
    submit(service)

    assert fetches(peer) == 1


def test_a_revoked_token_is_replaced_once_for_all_threads(
    service: ReportFlow, authorization: Authorization, peer: Peer, clock: Clock
) -> None:
    submit(service)
    authorization.revoked = {f"{TOKEN}-1"}
    clock.advance(REREAD_SECONDS)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: submit(service), range(10)))

    assert fetches(peer) == 2
    assert tokens_in(peer).count(f"{TOKEN}-2") == 10
    assert set(tokens_in(peer)) == {f"{TOKEN}-1", f"{TOKEN}-2"}


@pytest.mark.parametrize("seconds", [LIFE, -LIFE, REREAD_SECONDS, -1])
def test_a_token_that_ran_out_is_replaced_although_the_clock_was_set(
    service: ReportFlow, authorization: Authorization, peer: Peer, clock: Clock, seconds: float
) -> None:
    submit(service)
    authorization.revoked = {f"{TOKEN}-1"}
    clock.advance(seconds)

    submit(service, clock() + timedelta(seconds=30))

    assert tokens_in(peer)[-1] == f"{TOKEN}-2"


def test_a_new_token_that_is_refused_is_an_outage_and_no_loop(
    service: ReportFlow, authorization: Authorization, peer: Peer, clock: Clock
) -> None:
    submit(service)
    authorization.revoked = {f"{TOKEN}-{number}" for number in range(1, 20)}
    clock.advance(REREAD_SECONDS)

    for _ in range(5):
        error = failure(service)
        assert (type(error), error.code) == (CredentialsRefused, "HTTP_401")

    assert fetches(peer) == 2
    assert tokens_in(peer) == [f"{TOKEN}-1"] * 2 + [f"{TOKEN}-2"] * 5


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_client_is_an_outage_and_sends_nothing(
    service: ReportFlow, authorization: Authorization, peer: Peer, status: int
) -> None:
    authorization.issue = lambda _: answer(status, b'{"error": "invalid_client"}')

    error = failure(service)

    assert (type(error), error.code) == (CredentialsRefused, f"HTTP_{status}")
    assert tokens_in(peer) == []
    assert fetches(peer) == 1


def test_another_client_does_not_use_the_token_of_the_first(
    *,
    service: ReportFlow,
    authorization: Authorization,
    peer: Peer,
    rotate: Rotate,
    clock: Clock,
    ticker: Ticker,
) -> None:
    submit(service)
    rotate(clientId="client-2", clientSecret="secret-2")
    authorization.revoked = {f"{TOKEN}-1"}
    clock.advance(1)
    ticker.now = REREAD_SECONDS

    submit(service)

    assert tokens_in(peer)[-1] == f"{TOKEN}-2"
    assert basic_of(peer.received[-2]) == ("client-2", "secret-2")


TRUNCATED, WHOLE = token_of(f"{TOKEN}-x")


@pytest.mark.parametrize(
    "respond",
    [
        lambda _: [],
        lambda _: [b"not HTTP\r\n\r\n"],
        lambda _: answer(200),
        lambda _: answer(200, b"<html>CDN</html>"),
        lambda _: answer(200, b"[]"),
        lambda _: answer(200, b'{"access_token": ' + b"[" * 60_000),
        lambda _: answer(200, b'{"other": ' + b"[" * 60_000),
        lambda _: answer(200, b'{"access_token": "\xff"}'),
        lambda _: token_of(None),
        lambda _: token_of(""),
        lambda _: token_of(7),
        lambda _: token_of("two words"),
        lambda _: token_of("line\r\nX: y"),
        lambda _: token_of("株"),
        lambda _: token_of(f"{TOKEN}\n"),
        lambda _: token_of(f"{TOKEN}-x", expires_in="soon"),
        lambda _: token_of(f"{TOKEN}-x", padding="x" * 200_000),
        lambda _: [TRUNCATED, WHOLE[:-5]],
        lambda _: chunked_body(200, WHOLE)[:-1],
        lambda _: answer(200, b"no gzip", Content_Encoding="gzip"),
        lambda _: answer(200, gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
        lambda _: answer(302, Location="https://elsewhere.example/"),
        lambda _: answer(404),
        lambda _: answer(500),
        lambda _: answer(503),
        lambda _: answer(200, b"HTTP/1.1"),
    ],
)
def test_an_endpoint_that_gives_no_token_is_tried_again_later(
    service: ReportFlow, authorization: Authorization, peer: Peer, respond: Respond
) -> None:
    authorization.issue = respond

    error = failure(service)

    assert type(error) is Retryable
    assert error.code == "TOKEN_MISSING" or error.code.startswith("HTTP_")
    assert tokens_in(peer) == []
    authorization.issue = authorization.issue_next
    assert submit(service)


def test_a_throttled_endpoint_costs_no_retry(
    service: ReportFlow, authorization: Authorization
) -> None:
    authorization.issue = lambda _: answer(429)

    assert type(failure(service)) is Throttled


def test_an_endpoint_that_is_not_there_is_tried_again_later(
    secret_store: SecretStore, peer: Peer, rotate: Rotate, clock: Clock
) -> None:
    rotate(clientId="client-1", clientSecret=CLIENT_SECRET)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/token"
    for token_url in (url, "", "no url"):
        service = client_of(
            peer.url, secret_store, contract=CENTRAL, clock=clock, token_url=token_url
        )
        error = failure(service)
        assert (type(error), error.code) == (Retryable, "TOKEN_MISSING")
    assert peer.received == []


def test_a_slow_endpoint_keeps_no_thread_past_its_deadline(
    service: ReportFlow, authorization: Authorization, clock: Clock
) -> None:
    """Ten threads wait for one token; the function must answer before its time-out."""
    released = Event()
    authorization.issue = lambda _: [b""] if released.wait(20) else []
    begun, seconds = monotonic(), 1.5
    by = clock() + timedelta(seconds=seconds)

    with ThreadPoolExecutor(10) as pool:
        errors = list(pool.map(lambda _: failure(service, by), range(10)))
    released.set()

    assert monotonic() - begun < 2 * seconds
    assert all(isinstance(error, Retryable) for error in errors)
    assert not [error for error in errors if isinstance(error, CredentialsRefused)]


def test_a_thread_with_little_time_does_not_wait_for_one_with_more(
    service: ReportFlow, authorization: Authorization, peer: Peer, clock: Clock
) -> None:
    released, begun = Event(), monotonic()
    authorization.issue = lambda _: token_of(TOKEN) if released.wait(20) else []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(submit, service)
        while not fetches(peer):
            sleep(0.01)

        error = failure(service, clock() + timedelta(seconds=1.2))

        assert type(error) is OutOfTime
        assert monotonic() - begun < 5
        released.set()
        assert waiting.result()


def test_after_a_failure_the_other_threads_can_still_get_a_token(
    service: ReportFlow, authorization: Authorization, peer: Peer
) -> None:
    authorization.issue = lambda _: answer(500)
    failure(service)
    authorization.issue = authorization.issue_next

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: submit(service), range(10)))

    assert fetches(peer) == 2


QUOTING: list[Respond] = [
    lambda _: token_of(f"{TOKEN}-x"),
    lambda _: token_of(f"{TOKEN} x"),
    lambda _: token_of(f"{TOKEN}-x", expires_in="soon"),
    lambda _: answer(200, f'{{"access_token": "{TOKEN}'.encode()),
    lambda got: said(401, f"{basic_of(got)} {got.headers['authorization']}"),
    lambda got: said(400, [str(basic_of(got)), got.body.decode()]),
    lambda got: said(500, str(basic_of(got))),
    lambda got: answer(302, Location=f"https://x/?{basic_of(got)[1]}"),
    lambda _: [],
]


@pytest.mark.parametrize("respond", QUOTING)
@pytest.mark.parametrize("status", [401, 400, 500, 0])
def test_nothing_shows_the_secret_or_a_token(
    *,
    service: ReportFlow,
    authorization: Authorization,
    peer: Peer,
    caplog: pytest.LogCaptureFixture,
    respond: Respond,
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    authorization.issue = respond

    def api(got: Received) -> Iterable[bytes]:
        if got.target == "/oauth/token":
            return authorization(got)
        header = got.headers["authorization"]
        quoted = [header, f"no {header.split()[-1]}", f"no-{header.split()[-1]}-here"]
        return said(status, quoted) if status else []

    peer.respond = api
    error = failure(service)

    shown = "".join(format_exception(error)) + repr(error) + error.message + error.loggable
    shown += repr(vars(error)) + shown_by(service)
    # botocore's own log at this level shows each answer; no function logs at this level.
    shown += "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("botocore")
    )
    assert TOKEN not in shown
    assert CLIENT_SECRET not in shown


def shown_by(part: object) -> str:
    """What a debugger or a log shows of a part and, if it is ours, of its own parts."""
    if isinstance(part, dict):
        return "".join(map(shown_by, [*part, *part.values()]))
    if not type(part).__module__.startswith("reportflow") or is_dataclass(part):
        return repr(part)
    return repr(part) + "".join(map(shown_by, getattr(part, "__dict__", {}).values()))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    settings = replace(
        EMULATED, client_id="client-1", client_secret=CLIENT_SECRET, token_seconds=60
    )
    with Emulator(settings) as running:
        yield running


@pytest.fixture
def emulated(
    emulator: Emulator, secret_store: SecretStore, rotate: Rotate, clock: Clock
) -> ReportFlow:
    rotate(clientId="client-1", clientSecret=CLIENT_SECRET)
    return client_of(
        emulator.url, secret_store, contract=CENTRAL, clock=clock, token_url=emulator.token_url
    )


def test_the_emulated_service_takes_a_token_and_a_new_one_after_it_was_revoked(
    emulated: ReportFlow, emulator: Emulator, clock: Clock
) -> None:
    asked = request(CENTRAL, **emulator_body())
    accepted = emulated.submit(asked, MARK, LATER)
    made(emulator)
    requests.delete(f"{emulator.origin}/_emulator/tokens", timeout=10)
    clock.advance(REREAD_SECONDS)

    with emulated.open(accepted.file_id, accepted.reference, LATER) as response:
        assert response.content.startswith(b"%PDF-")


def test_the_emulated_service_refuses_another_client(
    emulated: ReportFlow, emulator: Emulator, rotate: Rotate
) -> None:
    rotate(clientId="client-1", clientSecret="secret-2")

    with pytest.raises(CredentialsRefused, match="HTTP_401"):
        emulated.submit(request(CENTRAL, **emulator_body()), MARK, LATER)
    assert emulator.files() == ()
