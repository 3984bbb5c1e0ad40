from collections.abc import Callable
from traceback import format_exception

import pytest

from reportflow.contract.client import ReportFlow
from reportflow.errors import (
    CredentialsRefused,
    PipelineError,
)
from reportflow.secret import REREAD_SECONDS, SecretStore
from tests.unit.clock import LATER, Ticker
from tests.unit.peer import Peer, Respond, answer
from tests.unit.reportflow_answers import ACCEPTED, accept_only, keys_of, said
from tests.unit.samples import APP_KEY, MARK, SECRET_KEY, body_of, request

type Rotate = Callable[..., None]


def failure(service: ReportFlow) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        service.submit(request(), MARK, LATER)
    return failed.value


def assert_shows_no_key(error: BaseException) -> None:
    shown = "".join(format_exception(error)) + repr(error) + repr(error.__cause__)
    assert APP_KEY not in shown
    assert SECRET_KEY not in shown


def test_refused_keys_are_read_again_and_tried_once_more(
    service: ReportFlow, peer: Peer, rotate: Rotate, ticker: Ticker
) -> None:
    peer.respond = accept_only(APP_KEY)
    service.submit(request(), MARK, LATER)
    rotate(appKey="new")
    peer.respond = accept_only("new")
    ticker.now = REREAD_SECONDS

    service.submit(request(), MARK, LATER)

    assert [keys_of(got)[0] for got in peer.received] == [APP_KEY, APP_KEY, "new"]
    assert peer.received[-1].body == body_of(request())


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

    service.submit(request(), MARK, LATER)

    assert keys_of(peer.received[-1]) == (APP_KEY, SECRET_KEY)


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
    service.submit(request(), MARK, LATER)

    assert APP_KEY not in repr(vars(service))
