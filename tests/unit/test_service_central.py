"""The client by the contract `central`, with one key; and after a move between the contracts."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from local.emulator import Emulator
from reportflow.contract import CENTRAL, WORKSPACE, Contract
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.contract.files import Accepted
from reportflow.errors import (
    CredentialsRefused,
    FileMissing,
    OutcomeUnknown,
    PipelineError,
    Retryable,
    Throttled,
)
from reportflow.secret import REREAD_SECONDS, SecretStore
from tests.unit.clock import LATER, START, Clock, Ticker
from tests.unit.emulator_client import CENTRAL as EMULATED
from tests.unit.emulator_client import body as emulator_body
from tests.unit.emulator_client import made
from tests.unit.peer import Peer, Respond, answer
from tests.unit.reportflow_answers import central_accepted, keys_of, said
from tests.unit.samples import (
    APP_KEY,
    CENTRAL_KEY,
    MARK,
    PDF,
    REQUEST_ID,
    SECRET_KEY,
    by_url,
    by_uuid,
    request,
)
from tests.unit.service_client import client_of

type Rotate = Callable[..., None]
type Listen = Callable[[Respond], Peer]
type Connect = Callable[..., ReportFlow]

FILE_ID = f"{REQUEST_ID}/file_abc123"
REFERENCE = "central"


@pytest.fixture
def connect(secret_store: SecretStore, rotate: Rotate, clock: Clock) -> Connect:
    """Makes clients with the keys of both contracts in the secret."""
    rotate(centralAppKey=CENTRAL_KEY)

    def client(url: str, contract: Contract = CENTRAL, **parts: object) -> ReportFlow:
        return client_of(url, secret_store, contract=contract, clock=clock, **parts)  # type: ignore[arg-type]  # a test's own

    return client


@pytest.fixture
def central(connect: Connect, peer: Peer) -> ReportFlow:
    return connect(f"{peer.url}/v1")


def submit(service: ReportFlow) -> Accepted:
    return service.submit(request(CENTRAL), MARK, LATER)


def failure(service: ReportFlow) -> PipelineError:
    with pytest.raises(PipelineError) as failed:
        submit(service)
    return failed.value


def opening(
    service: ReportFlow, file_id: str = FILE_ID, reference: str = REFERENCE
) -> PipelineError:
    with pytest.raises(PipelineError) as failed, service.open(file_id, reference, LATER):
        pass
    return failed.value


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_submission_is_the_documented_request_with_one_key(
    central: ReportFlow, peer: Peer, status: int
) -> None:
    peer.respond = lambda _: answer(status, central_accepted())

    assert submit(central) == Accepted(FILE_ID, REFERENCE)

    (got,) = peer.received
    assert (got.method, got.target) == ("POST", "/v1/file/async/single")
    assert got.headers["appkey"] == CENTRAL_KEY
    assert not {"secretkey", "authorization"} & got.headers.keys()
    assert got.body == CENTRAL.body(request(CENTRAL), MARK)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize(
    "body",
    [b"<html>CDN</html>", b"", b'{"requestId": "r"}', b'{"fileId": "f", "url": "u"}'],
    ids=repr,
)
def test_a_success_that_names_no_file_leaves_the_outcome_unknown(
    central: ReportFlow, peer: Peer, status: int, body: bytes
) -> None:
    """The webhook brings it with the mark."""
    peer.respond = lambda _: answer(status, body, Content_Type="text/html")

    assert isinstance(failure(central), OutcomeUnknown)


def test_a_download_goes_by_the_ids_and_not_by_the_url(central: ReportFlow, peer: Peer) -> None:
    peer.respond = lambda _: answer(200, PDF)

    with central.open(FILE_ID, REFERENCE, LATER) as response:
        assert response.content == PDF

    (got,) = peer.received
    assert (got.method, got.target) == ("GET", f"/v1/file/download/{FILE_ID}")
    assert got.headers["appkey"] == CENTRAL_KEY


def test_a_refused_key_is_read_again_and_tried_once_more(
    central: ReportFlow, peer: Peer, rotate: Rotate, ticker: Ticker
) -> None:
    peer.respond = lambda _: answer(202, central_accepted())
    submit(central)
    rotate(centralAppKey="ak_new")
    ticker.now = REREAD_SECONDS
    peer.respond = lambda got: answer(
        202 if got.headers["appkey"] == "ak_new" else 401, central_accepted()
    )

    submit(central)

    assert [got.headers["appkey"] for got in peer.received] == [CENTRAL_KEY, CENTRAL_KEY, "ak_new"]


@pytest.mark.parametrize(
    "keys",
    [{}, {"centralAppKey": ""}, {"centralAppKey": "ak_\x00"}, {"clientId": "only"}],
    ids=repr,
)
def test_without_usable_keys_nothing_is_sent(
    central: ReportFlow, peer: Peer, rotate: Rotate, keys: dict[str, str]
) -> None:
    rotate(**keys)

    error = failure(central)

    assert (type(error), error.code) == (CredentialsRefused, "KEYS_MISSING")
    assert "centralAppKey" in error.message
    assert "clientSecret" in error.message
    assert peer.received == []


@pytest.mark.parametrize("message", ["設計がありません", ["version", "は整数です"]])
def test_a_refusals_words_may_be_a_list_and_show_no_key(
    central: ReportFlow, peer: Peer, message: str | list[str]
) -> None:
    quoted = [message] if isinstance(message, str) else message
    peer.respond = lambda _: said(400, [*quoted, f"key {CENTRAL_KEY}"])

    error = failure(central)

    assert all(word in error.message for word in quoted)
    assert CENTRAL_KEY not in error.message
    assert not [word for word in quoted if word in error.loggable]


@pytest.mark.parametrize(
    ("status", "message", "kind", "code"),
    [
        (404, "NOT_READY", FileMissing, "NOT_READY"),
        (409, ["status", "NOT_READY"], FileMissing, "NOT_READY"),
        (404, "ファイルが見つかりません", FileMissing, "HTTP_404"),
        (410, "NOT_FOUND", FileMissing, "HTTP_410"),
        (400, "DOWNLOAD_NOT_AVAILABLE", FileMissing, "HTTP_400"),
        (202, "", FileMissing, "HTTP_202"),
        (204, "", FileMissing, "HTTP_204"),
        (302, "", FileMissing, "HTTP_302"),
        (422, "", FileMissing, "HTTP_422"),
        (425, "", FileMissing, "HTTP_425"),
        (403, "file: NOT_FOUND; x", FileMissing, "HTTP_403"),
        (500, "NOT_READY", FileMissing, "NOT_READY"),
        (503, "DOWNLOAD_NOT_AVAILABLE", FileMissing, "HTTP_503"),
        (401, "", CredentialsRefused, "HTTP_401"),
        (403, "", CredentialsRefused, "HTTP_403"),
        (408, "", Retryable, "HTTP_408"),
        (412, "", CredentialsRefused, "HTTP_412"),
        (429, "", Throttled, "HTTP_429"),
        (500, "not found", Retryable, "HTTP_500"),
        (504, "", Retryable, "HTTP_504"),
    ],
)
def test_a_download_that_is_refused_says_whether_to_wait_for_the_file(
    *,
    central: ReportFlow,
    peer: Peer,
    status: int,
    message: object,
    kind: type[PipelineError],
    code: str,
) -> None:
    peer.respond = lambda _: said(status, message)

    error = opening(central)

    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize("reference", ["", "central ", "workspace uuid ../x", "v3 x", "https://x"])
def test_a_reference_that_no_contract_knows_leads_to_no_request(
    central: ReportFlow, peer: Peer, reference: str
) -> None:
    error = opening(central, "file_1", reference)

    assert (type(error), error.code) == (FileMissing, "CONTRACT_UNKNOWN")
    assert peer.received == []


class TestAfterAMove:
    """A deployment speaks one contract, and its older jobs were submitted by the other."""

    @pytest.fixture
    def former(self, listen: Listen) -> Peer:
        return listen(lambda _: answer(200, PDF))

    def test_to_central_finds_the_files_of_both(
        self, connect: Connect, peer: Peer, former: Peer
    ) -> None:
        service = connect(
            f"{peer.url}/v1",
            former=[Endpoint(WORKSPACE, f"{former.url}/v1/")],
            files_url=f"{former.url}/files",
        )
        peer.respond = lambda _: answer(200, PDF)
        for file_id, reference in (
            (FILE_ID, REFERENCE),
            ("file_1", by_uuid("u1")),
            ("file_1", by_url(f"{former.url}/files/x")),
        ):
            with service.open(file_id, reference, LATER) as response:
                assert response.content == PDF

        assert [got.target for got in peer.received] == [f"/v1/file/download/{FILE_ID}"]
        by_path, elsewhere = former.received
        assert by_path.target == "/v1/file/download/u1/file_1"
        assert keys_of(by_path) == (APP_KEY, SECRET_KEY)
        assert elsewhere.target == "/files/x"
        assert CENTRAL_KEY not in str(former.received)
        assert APP_KEY not in str(peer.received)

    def test_to_workspace_finds_the_files_of_both(
        self, connect: Connect, peer: Peer, former: Peer
    ) -> None:
        service = connect(
            f"{peer.url}/v1", WORKSPACE, former=[Endpoint(CENTRAL, f"{former.url}/v1")]
        )
        peer.respond = lambda _: answer(200, PDF)
        for file_id, reference in ((FILE_ID, REFERENCE), ("file_1", by_uuid("u1"))):
            with service.open(file_id, reference, LATER) as response:
                assert response.content == PDF

        assert [got.target for got in peer.received] == ["/v1/file/download/u1/file_1"]
        [got] = former.received
        assert got.target == f"/v1/file/download/{FILE_ID}"
        assert got.headers["appkey"] == CENTRAL_KEY

    def test_new_submissions_go_to_the_new_place(
        self, connect: Connect, peer: Peer, former: Peer
    ) -> None:
        service = connect(peer.url, former=[Endpoint(WORKSPACE, former.url)])
        peer.respond = lambda _: answer(202, central_accepted())

        submit(service)

        assert len(peer.received) == 1
        assert former.received == []

    def test_without_the_former_place_the_files_of_older_jobs_are_missing(
        self, central: ReportFlow, peer: Peer
    ) -> None:
        for reference in (by_uuid("u1"), by_url(f"{peer.url}/files/x")):
            error = opening(central, "file_1", reference)
            assert (type(error), error.code) == (FileMissing, "CONTRACT_UNKNOWN")
            assert "former_reportflow_url" in error.message
        assert peer.received == []


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(replace(EMULATED, app_key=CENTRAL_KEY)) as running:
        yield running


def test_the_emulated_service_takes_and_gives_back_a_file(
    connect: Connect, emulator: Emulator
) -> None:
    service = connect(emulator.url)
    asked = emulator_body("請求書 (1)")
    asked["content"]["passthrough"] = {"order": "A-1"}

    accepted = service.submit(request(CENTRAL, **asked), MARK, LATER)

    file = made(emulator)
    assert accepted.file_id == f"{file.request_id}/{file.file_id}"
    assert file.file_name == "請求書 (1).pdf"
    assert file.passthrough == {
        "reportflowJob": {"jobId": MARK.job_id, "tag": MARK.tag},
        "order": "A-1",
    }
    with service.open(accepted.file_id, accepted.reference, LATER) as response:
        content = response.content
    assert content.startswith(b"%PDF-")
    assert MARK.tag.encode() not in content


def test_the_emulated_service_says_when_the_file_is_not_ready(connect: Connect) -> None:
    slow = replace(EMULATED, app_key=CENTRAL_KEY, render_seconds=(60, 60))
    with Emulator(slow) as emulator:
        service = connect(emulator.url)
        accepted = service.submit(request(CENTRAL, **emulator_body()), MARK, LATER)

        assert opening(service, accepted.file_id, accepted.reference).code == "NOT_READY"
        gone = opening(service, f"{REQUEST_ID}/gone", accepted.reference)
        assert (type(gone), gone.code) == (FileMissing, "HTTP_404")


def test_the_emulated_service_refuses_another_key(
    connect: Connect, emulator: Emulator, rotate: Rotate
) -> None:
    rotate(centralAppKey="ak_other")
    with pytest.raises(CredentialsRefused, match="HTTP_401"):
        connect(emulator.url).submit(request(CENTRAL, **emulator_body()), MARK, LATER)
    assert emulator.files() == ()


def test_a_success_may_repeat_a_request_of_more_than_20_mb(central: ReportFlow, peer: Peer) -> None:
    file = {"fileId": "f", "echo": "x" * (25 * 1024 * 1024)}
    body = json.dumps({"requestId": "r", "files": [file]}).encode()
    peer.respond = lambda _: answer(202, body)

    assert central.submit(request(CENTRAL), MARK, START + timedelta(minutes=1)).file_id == "r/f"
