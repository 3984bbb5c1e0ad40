"""The whole system, running from its own template and packages."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from local.backend import BackendKind
from local.system import Options, System, run
from tests.pipeline.driver import Driver

PAYLOAD_BUCKET = "upstream-payloads"

SETTINGS = {
    # Short, because a message whose function was killed comes back after six time-outs.
    "submitter_timeout_seconds": "4",
    "downloader_timeout_seconds": "4",
    "outcome_grace_seconds": "5",
    "check_delay_seconds": "3",
    "payload_buckets": PAYLOAD_BUCKET,
}


@pytest.fixture(scope="session", params=list(BackendKind))
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with run(Options(backend=request.param, settings=SETTINGS), print) as running:
        yield running


@pytest.fixture(scope="session")
def driver(system: System) -> Iterator[Driver]:
    driver = Driver(asdict(system.state))
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def payload_bucket(system: System) -> str:
    """The bucket of an upstream system, which this deployment may read."""
    system.backend.client("s3").create_bucket(
        Bucket=PAYLOAD_BUCKET,
        CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"},
    )
    return PAYLOAD_BUCKET


@pytest.fixture
def log_text(system: System) -> Callable[[], str]:
    """Reads all that the functions have logged so far."""
    return lambda: "".join(
        pool.log_path.read_text() for pool in system.pools.values() if pool.log_path.exists()
    )
