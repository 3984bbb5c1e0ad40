"""Everything fails at the same time, at random."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from local.emulator.fault_plan import Call
from local.emulator.faults import (
    CutAfter,
    CutBefore,
    EarlyWebhook,
    Html,
    Late,
    Lost,
    Oversize,
    PromisedLength,
    Reordered,
    Repeated,
    Slow,
    Status,
    Truncated,
)
from tests.pipeline.aws_proxy import RandomFailures
from tests.pipeline.driver import new_id
from tests.pipeline.faulty import FaultySystem, on

JOBS = 40
KILLS = 10
KILL_INTERVAL_SECONDS = 0.5
PROBABILITY = 0.04
END_SECONDS = 300

FAULTS = {
    Call.SUBMIT: (
        Slow(seconds=1),
        Status(429),
        Status(429, retry_after=1),
        Status(500),
        Status(504),
        Status(504, taken=True),
        Status(400),
        CutBefore(),
        CutAfter(),
        Html(),
        Truncated(length=20),
        EarlyWebhook(),
    ),
    Call.DOWNLOAD: (
        Slow(seconds=1),
        Status(429, retry_after=1),
        Status(500),
        Status(410),
        CutBefore(),
        CutAfter(),
        Html(),
        Truncated(length=500),
        Truncated(length=-7, promised=PromisedLength.NONE),
        Oversize(size=2 * 1024 * 1024),
    ),
    Call.RENDER: (Late(seconds=2),),
    Call.WEBHOOK: (Lost(), Late(seconds=4), Repeated(times=3, gap_seconds=1), Reordered()),
}


@pytest.mark.slow
def test_every_job_ends_and_none_is_doubled_unseen(
    stormy: FaultySystem, aws_failures: RandomFailures, seed: int
) -> None:
    faults = [
        on(call, fault, None, probability=PROBABILITY)
        for call, of_call in FAULTS.items()
        for fault in of_call
    ]
    stormy.emulator.faults.replace(faults)
    job_ids = [new_id(f"storm-{number}") for number in range(JOBS)]
    with stormy.until_idle(END_SECONDS):
        for job_id in job_ids:
            stormy.send(job_id)
        kills = _kill_at_random(stormy, Random(seed))
        for job_id in job_ids:
            stormy.driver.ended(job_id, END_SECONDS)

    endings = {job_id: stormy.ending(job_id) for job_id in job_ids}

    struck = sum(times for _, times in stormy.emulator.faults.counts())
    ends = Counter(ending.error_code or ending.status for ending in endings.values())
    print(f"{struck} faults, {aws_failures.failed.total()} failures of AWS, {kills} kills: {ends}")
    for job_id, ending in endings.items():
        assert ending.objects == (1 if ending.status == "ARCHIVED" else 0), job_id
        assert ending.pdfs <= 1 + ending.possible_duplicates, job_id
    assert struck > JOBS / 2
    assert aws_failures.failed
    assert kills


def _kill_at_random(stormy: FaultySystem, rng: Random) -> int:
    """Kill one process after the other, while the jobs are under way; how many."""
    kills = 0
    for _ in range(KILLS):
        # Nothing is waited for: the moment is what is drawn.
        time.sleep(rng.uniform(0, 2 * KILL_INTERVAL_SECONDS))
        pids = stormy.pool(rng.choice(("submitter", "webhook", "downloader"))).pids()
        if pids:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(pids), signal.SIGKILL)
                kills += 1
    return kills
