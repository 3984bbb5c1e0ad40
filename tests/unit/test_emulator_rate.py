from dataclasses import dataclass, replace

import pytest
import requests

from local.emulator import Contract, Emulator, EmulatorSettings
from local.emulator.rate_limit import RateCount, RateLimit
from tests.unit.emulator_client import BOTH, body, download, made, post, refusal, submit


@dataclass
class Seconds:
    """A clock that stands still until it is set."""

    now: float = 0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def test_no_sixty_seconds_have_more_than_the_limit(clock: Seconds) -> None:
    limit = RateLimit(2, clock=clock)
    taken = []
    for clock.now in (0, 59, 59.9, 60, 118.9, 119):
        taken.append(limit.take())

    assert taken == pytest.approx([0, 0, 0.1, 0, 0.1, 0])
    assert limit.count() == RateCount(per_minute=2, allowed=4, refused=2, most_in_a_window=2)


def test_refused_requests_count_if_it_is_set_so(clock: Seconds) -> None:
    limit = RateLimit(2, counts_refused=True, clock=clock)
    for clock.now in (0, 0, 40):
        limit.take()
    clock.now = 61
    assert limit.take() == 0
    clock.now = 70
    assert limit.take() == pytest.approx(51)
    assert limit.count().refused == 2


def test_no_limit_counts_all_the_same(clock: Seconds) -> None:
    limit = RateLimit(None, clock=clock)
    for clock.now in (0, 1, 60, 60.5):
        assert limit.take() == 0
    assert limit.count() == RateCount(per_minute=None, allowed=4, refused=0, most_in_a_window=3)


@pytest.mark.parametrize(
    ("contract", "documented"), [(Contract.WORKSPACE, (None, None)), (Contract.CENTRAL, (100, 30))]
)
def test_documented_limits(contract: Contract, documented: tuple[int | None, int | None]) -> None:
    limits = EmulatorSettings(contract=contract).limits
    assert (limits.requests_per_minute, limits.sync_requests_per_minute) == documented


@pytest.fixture(params=BOTH, ids=lambda settings: settings.contract)
def settings(request: pytest.FixtureRequest) -> EmulatorSettings:
    assert isinstance(request.param, EmulatorSettings)
    return replace(request.param, requests_per_minute=3, sync_requests_per_minute=1)


def test_submissions_and_downloads_share_one_limit_and_sync_calls_have_their_own(
    settings: EmulatorSettings,
) -> None:
    with Emulator(settings) as emulator:
        statuses = [submit(emulator).status_code]
        record = made(emulator)
        statuses += [download(emulator, record).status_code for _ in range(2)]
        submission, fetch = submit(emulator), download(emulator, record)
        sync = [post(emulator, body(), "sync/single") for _ in range(2)]
        rate = emulator.rate()

    assert statuses == [202, 200, 200]
    for response in (submission, fetch, sync[1]):
        refusal(response, 429)
        assert 0 < int(response.headers["Retry-After"]) <= 60
    assert sync[0].status_code == 200
    assert rate == RateCount(per_minute=3, allowed=3, refused=2, most_in_a_window=3)


def test_the_zip_of_a_request_counts_as_one() -> None:
    settings = replace(BOTH[1], requests_per_minute=2)
    with Emulator(settings) as emulator:
        request_id = submit(emulator).json()["requestId"]
        made(emulator)
        url = f"{emulator.url}/file/download/{request_id}"
        headers = {"appkey": settings.app_key}
        statuses = [requests.get(url, headers=headers, timeout=10).status_code for _ in range(2)]
    assert statuses == [200, 429]


def test_other_calls_do_not_count(settings: EmulatorSettings) -> None:
    with Emulator(settings) as emulator:
        submit(emulator)
        url = f"{emulator.url}/file/design/parameter/{emulator.files()[0].design_id}"
        headers = {"AppKey": settings.app_key, "SecretKey": settings.secret_key}
        for _ in range(5):
            assert requests.get(url, headers=headers, timeout=10).ok
        assert emulator.rate().allowed == 1


def test_retry_after_can_be_left_out(settings: EmulatorSettings) -> None:
    with Emulator(
        replace(settings, requests_per_minute=1, rate_limit_retry_after=False)
    ) as emulator:
        submit(emulator)
        response = submit(emulator)
    assert response.status_code == 429
    assert "Retry-After" not in response.headers


def test_a_caller_that_never_pauses_can_be_locked_out(settings: EmulatorSettings) -> None:
    counting = replace(settings, requests_per_minute=1, rate_limit_counts_refused=True)
    with Emulator(counting) as emulator:
        statuses = [submit(emulator).status_code for _ in range(3)]
        assert statuses == [202, 429, 429]
        assert emulator.rate().most_in_a_window == 3
