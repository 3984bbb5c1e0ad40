from collections.abc import Iterator
from hashlib import sha256
from time import monotonic

import pytest
import requests

from local.emulator import Emulator, EmulatorSettings
from local.emulator.fault_plan import Call, Fault, FaultPlan
from local.emulator.faults import (
    AnyDispatchFault,
    AnyHttpFault,
    CutAfter,
    CutBefore,
    EarlyWebhook,
    Html,
    Lost,
    Oversize,
    PromisedLength,
    Repeated,
    Slow,
    Status,
    Truncated,
)
from local.emulator.files import Content
from tests.unit.emulator_client import (
    BOTH,
    FAST,
    KEYS,
    body,
    download,
    download_url,
    made,
    submit,
    wait_until,
)


@pytest.fixture(params=BOTH, ids=lambda settings: settings.contract)
def settings(request: pytest.FixtureRequest) -> EmulatorSettings:
    assert isinstance(request.param, EmulatorSettings)
    return request.param


@pytest.fixture
def emulator(settings: EmulatorSettings) -> Iterator[Emulator]:
    with Emulator(settings) as emulator:
        yield emulator


def raw(emulator: Emulator) -> requests.Response:
    """The download of the only file; its body is still to be read."""
    url = download_url(emulator, made(emulator))
    return requests.get(url, headers=KEYS, stream=True, timeout=10)


class TestSubmit:
    @pytest.mark.parametrize("taken", [False, True])
    def test_status(self, emulator: Emulator, taken: bool) -> None:  # noqa: FBT001  # a table's column
        emulator.faults.replace([Fault(Call.SUBMIT, Status(503, "busy", taken=taken))])

        response = submit(emulator)

        assert response.status_code == 503
        assert response.json() == {
            "statusCode": 503,
            "message": "busy",
            "error": "Service Unavailable",
        }
        assert "Retry-After" not in response.headers
        assert bool(emulator.files()) is taken
        assert submit(emulator).status_code == 202

    def test_status_with_several_messages(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, Status(400, ("one", "two")))])
        assert submit(emulator).json()["message"] == ["one", "two"]

    def test_status_to_a_sync_call(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, Status(503))])
        url = f"{emulator.url}/file/sync/single"
        assert requests.post(url, json=body(), headers=KEYS, timeout=10).status_code == 503
        assert emulator.files() == ()

    @pytest.mark.parametrize("retry_after", [7, "Wed, 01 Apr 2026 00:00:00 GMT"])
    def test_429_with_retry_after(self, emulator: Emulator, retry_after: int | str) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, Status(429, retry_after=retry_after))])
        assert submit(emulator).headers["Retry-After"] == str(retry_after)

    def test_cut_before_it_was_taken(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, CutBefore())])
        with pytest.raises(requests.ConnectionError):
            submit(emulator)
        assert emulator.files() == ()
        assert submit(emulator).status_code == 202

    def test_cut_after_it_was_taken(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, CutAfter())])
        with pytest.raises(requests.ConnectionError):
            submit(emulator)
        assert made(emulator).file_name == "invoice.pdf"

    def test_slow(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, Slow(0.3))])
        start = monotonic()
        assert submit(emulator).status_code == 202
        assert monotonic() - start >= 0.3

    def test_close_does_not_wait_for_the_slow(self) -> None:
        with Emulator(FAST, faults=[Fault(Call.SUBMIT, Slow(60))]) as emulator:
            url = f"{emulator.url}/file/async/single"
            with pytest.raises(requests.Timeout):
                requests.post(url, json={}, headers=KEYS, timeout=0.1)
            start = monotonic()
        assert monotonic() - start < 50

    def test_html(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.SUBMIT, Html())])
        response = submit(emulator)
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/html")
        assert emulator.files() == ()

    def test_refused_connections(self, emulator: Emulator) -> None:
        emulator.refuse_connections(0.2)
        with pytest.raises(requests.ConnectionError, match="refused"):
            submit(emulator)
        wait_until(lambda: self.is_back(emulator))
        assert submit(emulator).status_code == 202

    def test_refused_connections_over_http(self, emulator: Emulator) -> None:
        url = f"{emulator.origin}/_emulator/outage"
        assert requests.put(url, json={"seconds": 0.3}, timeout=10).ok
        wait_until(lambda: not self.is_back(emulator))
        wait_until(lambda: self.is_back(emulator))

    def is_back(self, emulator: Emulator) -> bool:
        try:
            return requests.get(f"{emulator.origin}/_emulator/faults", timeout=10).ok
        except requests.ConnectionError:
            return False


class TestDownload:
    @pytest.fixture(autouse=True)
    def submitted(self, emulator: Emulator) -> None:
        submit(emulator)
        made(emulator)

    def test_truncated_with_the_whole_length(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.DOWNLOAD, Truncated(100))])
        with raw(emulator) as response:
            assert response.headers["Content-Length"] == str(emulator.files()[0].size)
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                _ = response.content

    @pytest.mark.parametrize(
        ("promised", "length"), [(PromisedLength.NONE, None), (PromisedLength.TRUNCATED, "100")]
    )
    def test_truncated_without_a_trace(
        self, emulator: Emulator, promised: PromisedLength, length: str | None
    ) -> None:
        whole = download(emulator, emulator.files()[0]).content
        emulator.faults.replace([Fault(Call.DOWNLOAD, Truncated(100, promised))])
        with raw(emulator) as response:
            assert response.status_code == 200
            assert response.headers.get("Content-Length") == length
            assert response.content == whole[:100]

    @pytest.mark.parametrize("with_length", [True, False])
    def test_oversize(self, emulator: Emulator, with_length: bool) -> None:  # noqa: FBT001  # a table's column
        fault = Oversize(1_000_000, with_length=with_length)
        emulator.faults.replace([Fault(Call.DOWNLOAD, fault)])
        with raw(emulator) as response:
            assert ("Content-Length" in response.headers) is with_length
            assert len(response.content) == 1_000_000
            assert response.content.startswith(b"%PDF-")
            assert response.content.rstrip().endswith(b"%%EOF")

    def test_html_in_place_of_the_pdf(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.DOWNLOAD, Html("<html>soon</html>"))])
        with raw(emulator) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/html")
            assert response.text == "<html>soon</html>"

    def test_status_then_the_pdf(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.DOWNLOAD, Status(500), times=2)])
        responses = [download(emulator, emulator.files()[0]) for _ in range(3)]
        assert [response.status_code for response in responses] == [500, 500, 200]
        assert sha256(responses[-1].content).hexdigest() == emulator.files()[0].sha256

    @pytest.mark.parametrize("fault", [CutBefore(), CutAfter()])
    def test_cut(self, emulator: Emulator, fault: CutBefore | CutAfter) -> None:
        emulator.faults.replace([Fault(Call.DOWNLOAD, fault)])
        with pytest.raises(requests.ConnectionError):
            download(emulator, emulator.files()[0])
        assert download(emulator, emulator.files()[0]).ok


class TestPlan:
    SUBJECT = Content("invoice-7.pdf", {"jobId": "tenant-a-1"})

    def strikes(self, plan: FaultPlan, subject: Content = SUBJECT) -> bool:
        return plan.http(Call.SUBMIT, lambda: [subject]) is not None

    @pytest.mark.parametrize(
        ("matching", "expected"),
        [
            ({}, True),
            ({"file_name_prefix": "invoice-"}, True),
            ({"file_name_prefix": "report-"}, False),
            ({"job_id_prefix": "tenant-a"}, True),
            ({"job_id_prefix": "tenant-b"}, False),
            ({"file_name_prefix": "invoice-", "job_id_prefix": "tenant-b"}, False),
        ],
    )
    def test_strikes_the_files_that_are_meant(
        self,
        matching: dict[str, str],
        expected: bool,  # noqa: FBT001  # a table's column
    ) -> None:
        fault = Fault(Call.SUBMIT, CutBefore(), **matching)  # type: ignore[arg-type]  # both are str
        assert self.strikes(FaultPlan(0, [fault])) is expected

    def test_strikes_only_its_call(self) -> None:
        plan = FaultPlan(0, [Fault(Call.DOWNLOAD, CutBefore())])
        assert not self.strikes(plan)

    def test_strikes_as_often_as_it_says_and_then_the_next_does(self) -> None:
        first, second = Slow(1), Slow(2)
        faults = [Fault(Call.SUBMIT, first, times=2), Fault(Call.SUBMIT, second, times=None)]
        plan = FaultPlan(0, faults)

        struck = [plan.http(Call.SUBMIT, lambda: [self.SUBJECT]) for _ in range(5)]

        assert struck == [first, first, second, second, second]
        assert plan.counts() == [(faults[0], 2), (faults[1], 3)]

    def test_equal_faults_are_counted_apart(self) -> None:
        plan = FaultPlan(0, [Fault(Call.SUBMIT, CutBefore())] * 2)
        assert [self.strikes(plan) for _ in range(3)] == [True, True, False]

    def test_probability_is_kept_and_the_seed_decides(self) -> None:
        fault = Fault(Call.SUBMIT, CutBefore(), times=None, probability=0.3)
        subjects = [Content(f"file-{number}.pdf", {}) for number in range(500)]

        def pattern(seed: int, order: int = 1) -> list[bool]:
            plan = FaultPlan(seed, [fault])
            return [self.strikes(plan, subject) for subject in subjects[::order]][::order]

        assert 100 < sum(pattern(1)) < 200
        assert pattern(1) == pattern(1, order=-1)
        assert pattern(1) != pattern(2)

    @pytest.mark.parametrize(
        ("call", "fault"),
        [
            (Call.WEBHOOK, CutBefore()),
            (Call.SUBMIT, Lost()),
            (Call.DOWNLOAD, EarlyWebhook()),
            (Call.RENDER, Repeated()),
        ],
    )
    def test_a_fault_that_cannot_happen_to_the_call_is_refused(
        self, call: Call, fault: AnyHttpFault | AnyDispatchFault
    ) -> None:
        with pytest.raises(ValueError, match=f"cannot happen to a {call}"):
            Fault(call, fault)


class TestOverHttp:
    def put(self, emulator: Emulator, faults: object) -> requests.Response:
        return requests.put(f"{emulator.origin}/_emulator/faults", json=faults, timeout=10)

    def test_faults_are_set_and_their_strikes_counted(self, emulator: Emulator) -> None:
        fault = {
            "call": "submit",
            "fault": {"kind": "status", "status": 429, "retryAfter": 5},
            "times": 1,
            "fileNamePrefix": "bad",
        }
        assert self.put(emulator, [fault]).ok

        assert submit(emulator, "good.pdf").status_code == 202
        response = submit(emulator, "bad.pdf")

        assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
        [told] = requests.get(f"{emulator.origin}/_emulator/faults", timeout=10).json()
        assert told["happened"] == 1
        assert told["fault"]["status"] == 429

    @pytest.mark.parametrize(
        ("faults", "named"),
        [
            ({}, "array"),
            ([{"call": "submit"}], "fault"),
            ([{"call": "lunch", "fault": {"kind": "slow", "seconds": 1}}], "lunch"),
            ([{"call": "submit", "fault": {"kind": "rude"}}], "rude"),
            ([{"call": "submit", "fault": {"kind": "slow", "second": 1}}], "second"),
            ([{"call": "webhook", "fault": {"kind": "slow", "seconds": 1}}], "cannot happen"),
        ],
    )
    def test_a_plan_that_makes_no_sense_is_refused(
        self, emulator: Emulator, faults: object, named: str
    ) -> None:
        response = self.put(emulator, faults)
        assert response.status_code == 400
        assert named in response.json()["message"]
