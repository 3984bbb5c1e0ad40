import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import format_datetime
from itertools import repeat

import pytest

from local.emulator import Emulator
from reportflow.contract.client import ReportFlow
from reportflow.contract.files import Accepted
from reportflow.errors import (
    CredentialsRefused,
    FileMissing,
    OutcomeUnknown,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
)
from reportflow.secret import SecretStore
from tests.unit.clock import LATER, START
from tests.unit.emulator_client import body as emulator_body
from tests.unit.emulator_client import made
from tests.unit.peer import Peer, answer
from tests.unit.reportflow_answers import ACCEPTED, keys_of, said
from tests.unit.samples import (
    APP_KEY,
    DESIGN_ID,
    MARK,
    PDF,
    SECRET_KEY,
    body_of,
    by_url,
    by_uuid,
    request,
)
from tests.unit.service_client import client_of


def failure(service: ReportFlow) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        service.submit(request(), MARK, LATER)
    return failed.value


def test_a_submission_is_the_documented_request(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(202, ACCEPTED)

    accepted = service.submit(request(metadata={"tenant": "acme"}), MARK, LATER)

    (got,) = peer.received
    assert accepted == Accepted("file_abc123", by_url("https://re-port-flow.com/x"))
    assert (got.method, got.target) == ("POST", "/v1/file/async/single")
    assert got.headers["content-type"] == "application/json"
    assert got.body == body_of(request())
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
        assert word not in error.loggable + str(error) + repr(error)
    assert error.loggable == f"ReportFlow answered {status}"


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
    date = format_datetime(START + timedelta(seconds=1000), usegmt=True)
    peer.respond = lambda _: answer(503, Retry_After=date)

    error = failure(service)

    assert isinstance(error, Retryable)
    assert error.delay_seconds == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"[]",
        b'{"url": "u"}',
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
        assert service.submit(request(), MARK, LATER).file_id == "file_abc123"


@pytest.mark.parametrize("length", [0, 1, len(ACCEPTED) - 1])
def test_a_202_that_is_cut_off_leaves_the_outcome_unknown(
    service: ReportFlow, peer: Peer, length: int
) -> None:
    head, body = answer(202, ACCEPTED)

    peer.respond = lambda _: [head, body[:length]]

    assert isinstance(failure(service), OutcomeUnknown)


def test_what_a_202_adds_later_does_no_harm(service: ReportFlow, peer: Peer) -> None:
    body = gzip.compress(json.dumps({**json.loads(ACCEPTED), "share": None}).encode())
    peer.respond = lambda _: answer(202, body, Content_Encoding="gzip")

    assert service.submit(request(), MARK, LATER).file_id == "file_abc123"


def test_a_download_asks_for_the_file_as_it_is(service: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(200, PDF)

    with service.open("file_abc123", by_uuid("uuid-1"), LATER) as response:
        content = response.content

    (got,) = peer.received
    assert content == PDF
    assert (got.method, got.target) == ("GET", "/v1/file/download/uuid-1/file_abc123")
    assert got.headers["accept-encoding"] == "identity"
    assert keys_of(got) == (APP_KEY, SECRET_KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, FileMissing),
        (401, CredentialsRefused),
        (429, Throttled),
        (500, Retryable),
        (202, FileMissing),
        (204, FileMissing),
        (409, FileMissing),
        (425, FileMissing),
        (400, FileMissing),
        (422, FileMissing),
    ],
)
def test_a_download_that_is_refused_is_translated(
    service: ReportFlow, peer: Peer, status: int, kind: type[PipelineError]
) -> None:
    peer.respond = lambda _: answer(status)

    with pytest.raises(PipelineError) as failed, service.open("f", by_uuid("u"), LATER):
        pass
    assert type(failed.value) is kind


def test_a_download_whose_answer_is_lost_can_be_asked_for_again(
    service: ReportFlow, peer: Peer
) -> None:
    peer.respond = lambda _: []

    with pytest.raises(Retryable, match="ANSWER_LOST"), service.open("f", by_uuid("u"), LATER):
        pass


def test_ten_threads_share_a_client(service: ReportFlow, peer: Peer) -> None:
    """That they really work side by side is `test_consumer`'s matter."""
    peer.respond = lambda got: answer(202, ACCEPTED.replace(b"abc123", str(len(got.body)).encode()))
    requests = [request(content={"fileName": "n" * n, "params": {}}) for n in range(1, 11)]
    with ThreadPoolExecutor(10) as pool:
        accepted = list(pool.map(service.submit, requests, repeat(MARK), repeat(LATER)))

    expected = [f"file_{len(body_of(one))}" for one in requests]
    assert [one.file_id for one in accepted] == expected


@pytest.fixture
def emulated(emulator: Emulator, secret_store: SecretStore) -> ReportFlow:
    return client_of(emulator.url, secret_store, emulator.url)


def test_the_emulated_service_takes_and_gives_back_a_file(
    emulated: ReportFlow, emulator: Emulator
) -> None:
    accepted = emulated.submit(request(**emulator_body("請求書.pdf")), MARK, LATER)

    file = made(emulator)
    assert accepted.file_id == file.file_id
    with emulated.open(file.file_id, by_uuid(file.uuid), LATER) as response:
        assert response.content.startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"designId": DESIGN_ID.replace("5", "6")}, "HTTP_404"),
        ({"version": 999}, "HTTP_404"),
        ({"content": {"fileName": "a.pdf", "params": {"amount": None}}}, "HTTP_400"),
        ({"content": {"fileName": "a.pdf", "params": {"customerName": "x" * 200_000}}}, "HTTP_413"),
    ],
    ids=["design", "version", "params", "size"],
)
def test_what_the_emulated_service_refuses_is_permanent(
    emulated: ReportFlow, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(Permanent, match=code):
        emulated.submit(request(**emulator_body() | changes), MARK, LATER)


def test_the_emulated_service_refuses_other_keys(
    emulated: ReportFlow, emulator: Emulator, rotate: Callable[..., None]
) -> None:
    rotate(appKey="other")

    with pytest.raises(CredentialsRefused, match="HTTP_401"):
        emulated.submit(request(**emulator_body()), MARK, LATER)
    assert emulator.files() == ()
