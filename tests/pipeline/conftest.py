"""The whole system, running from its own template and packages."""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from local.backend import BackendKind
from local.emulator import Contract
from local.emulator.fault_plan import Call
from local.emulator.faults import Lost
from local.system import Options, System, run
from tests.pipeline.aws_proxy import RandomFailures, no_mischief
from tests.pipeline.driver import Driver, new_id, until
from tests.pipeline.faulty import FaultySystem, SlowJobs, on, run_faulty, service
from tests.properties.canary import APP_KEY, SECRET_KEY
from tests.properties.leaks import leaks, secrets_of

PAYLOAD_BUCKET = "upstream-payloads"

SETTINGS = {
    # Short, because a message whose function was killed comes back after six time-outs. Long enough
    # for a large body on a busy machine.
    "submitter_timeout_seconds": "8",
    "downloader_timeout_seconds": "8",
    "outcome_grace_seconds": "5",
    "check_delay_seconds": "3",
    "completion_deadline_seconds": "600",
    "payload_buckets": PAYLOAD_BUCKET,
    "submitter_memory_mb": "3350",
}

FAULT_SETTINGS = {
    # Six seconds of it are for the record of the answer, and six for the answer.
    "submitter_timeout_seconds": "12",
    "downloader_timeout_seconds": "12",
    # Time for a webhook's third delivery on a busy machine, by backoff and jitter.
    "outcome_grace_seconds": "14",
    "orphan_grace_seconds": "40",
    "check_delay_seconds": "3",
    "completion_deadline_seconds": "60",
    "max_attempts": "3",
    "max_file_mb": "1",
}

STORM_SETTINGS = {
    # Long enough for the SDK's own retries, short because of the kills.
    "submitter_timeout_seconds": "8",
    "downloader_timeout_seconds": "8",
    "request_batch_size": "5",
    "download_batch_size": "3",
    "outcome_grace_seconds": "3",
    "orphan_grace_seconds": "30",
    "check_delay_seconds": "3",
    "completion_deadline_seconds": "600",
    "max_file_mb": "1",
}

SEED_VARIABLE = "FAULT_SEED"

SYSTEMS = {
    "moto": (BackendKind.MOTO, Contract.WORKSPACE),
    "ministack": (BackendKind.MINISTACK, Contract.WORKSPACE),
    "central": (BackendKind.MOTO, Contract.CENTRAL),
}
"""All that a test of `system` runs on."""

SYSTEM_FIXTURES = ("system", "faulty_system", "stormy")
MARKERS = {"ministack": "strict_backend", "central": "by_contract"}
"""What marks the tests that `make test` runs on the second backend, or by the second contract."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make test-all` what MiniStack, or `central`, only repeats.

    docs/aws-differences.md lists what MiniStack checks and moto accepts.
    """
    for item in items:
        parameters = (
            item.callspec.params
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else {}
        )
        for fixture in SYSTEM_FIXTURES:
            marker = MARKERS.get(str(parameters.get(fixture)))
            if marker and not item.get_closest_marker(marker):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    backend, contract = SYSTEMS[request.param]
    options = Options(
        backend=backend,
        settings={**SETTINGS, "contract": contract},
        app_key=APP_KEY,
        secret_key=SECRET_KEY,
        emulator=service(contract),
    )
    with run(options, print) as running:
        yield running
        assert leaks(running, secrets_of(running)) == []


@pytest.fixture(scope="session")
def driver(system: System) -> Iterator[Driver]:
    driver = Driver(asdict(system.state))
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def contract(system: System) -> Contract:
    return Contract(system.state.contract)


@pytest.fixture(scope="session")
def payload_bucket(system: System) -> str:
    """The bucket of an upstream system, which this deployment may read."""
    [bucket] = system.state.payload_buckets
    return bucket


@pytest.fixture
def log_text(system: System) -> Callable[[], str]:
    """Reads all that the functions have logged so far."""
    return lambda: "".join(
        pool.log_path.read_text() for pool in system.pools.values() if pool.log_path.exists()
    )


@pytest.fixture(scope="session", params=Contract)
def faulty_system(request: pytest.FixtureRequest) -> Iterator[FaultySystem]:
    with run_faulty(FAULT_SETTINGS, contract=request.param) as running:
        yield running
        assert leaks(running.system, secrets_of(running.system)) == []


@pytest.fixture(scope="session")
def slow_jobs(faulty_system: FaultySystem) -> SlowJobs:
    """Jobs that take a minute to end, begun first, so that they wait while other tests run."""
    slow_jobs = SlowJobs(new_id("never-made"), new_id("keys-refused"))
    fault = on(Call.RENDER, Lost(), prefix=slow_jobs.never_made)
    faulty_system.emulator.faults.replace([fault])
    key = faulty_system.change_keys("revoked")
    faulty_system.send(slow_jobs.keys_refused)

    def refused() -> bool | None:
        job = faulty_system.driver.job(slow_jobs.keys_refused)
        return (job is not None and job["updatedAt"] > job["createdAt"]) or None

    until(refused, 120, "the keys are refused")
    faulty_system.change_keys(key)
    # The running process would believe for seconds more that there is no other key.
    faulty_system.kill("submitter")
    faulty_system.send(slow_jobs.never_made)
    until(lambda: faulty_system.pdfs(slow_jobs.never_made) or None, 120, "the job is submitted")
    return slow_jobs


@pytest.fixture(scope="session")
def faulty(faulty_system: FaultySystem, slow_jobs: SlowJobs) -> FaultySystem:
    """A system in which only ReportFlow fails, unless a test does more."""
    return faulty_system


@pytest.fixture(scope="session")
def seed() -> int:
    """Decides the random faults; the environment can set it to that of an earlier run."""
    return int(os.environ.get(SEED_VARIABLE, secrets.randbelow(10**6)))


@pytest.fixture(scope="session", params=Contract)
def stormy(request: pytest.FixtureRequest, seed: int) -> Iterator[FaultySystem]:
    """A system whose messages come back soon after their function was killed."""
    with run_faulty(STORM_SETTINGS, seed, contract=request.param) as running:
        yield running
        assert leaks(running.system, secrets_of(running.system)) == []


@pytest.fixture
def aws_failures(stormy: FaultySystem, seed: int) -> Iterator[RandomFailures]:
    """The functions' calls of AWS fail at random."""
    print(f"{SEED_VARIABLE}={seed}")
    failures = RandomFailures(seed, share=0.05)
    stormy.aws.mischief = failures
    yield failures
    stormy.aws.mischief = no_mischief
