"""The shipped functions together keep one rate limit, each in its own process."""

import time
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from local.emulator import Contract
from local.system import Options, run
from tests.pipeline.driver import Driver, body, new_id
from tests.pipeline.faulty import service

JOBS = 6
BURST = 2
REQUESTS_PER_MINUTE = BURST + 60


@pytest.mark.parametrize(
    "contract", [Contract.WORKSPACE, pytest.param(Contract.CENTRAL, marks=pytest.mark.slow)]
)
def test_jobs_take_as_long_as_the_limit_says(contract: Contract) -> None:
    options = Options(
        settings={
            "contract": contract,
            "reportflow_requests_per_minute": str(REQUESTS_PER_MINUTE),
            "reportflow_burst": str(BURST),
        },
        emulator=replace(
            service(contract), render_seconds=(0, 0), requests_per_minute=REQUESTS_PER_MINUTE
        ),
    )
    with run(options, print) as system, closing(Driver(asdict(system.state))) as driver:
        begun = time.monotonic()
        job_ids = [new_id("limited") for _ in range(JOBS)]
        for job_id in job_ids:
            driver.send(body(job_id))
        ended = [driver.ended(job_id, seconds=90) for job_id in job_ids]
        seconds = time.monotonic() - begun
        assert system.emulator is not None
        counted = system.emulator.rate()

    assert {job["status"] for job in ended} == {"ARCHIVED"}
    assert not any("failedAttempts" in job for job in ended)
    assert (counted.allowed, counted.refused) == (2 * JOBS, 0)
    # Two requests a job, a second apart but for the burst.
    assert seconds >= 2 * JOBS - BURST
