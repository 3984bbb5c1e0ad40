"""ReportFlow fails to take requests, or to say that it took them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import (
    CutAfter,
    CutBefore,
    Html,
    Lost,
    PromisedLength,
    Slow,
    Status,
    Truncated,
)
from tests.pipeline.conftest import FAULT_SETTINGS
from tests.pipeline.faulty import Ending, FaultySystem, SlowJobs, Story, failed, on

ATTEMPTS = int(FAULT_SETTINGS["max_attempts"])
RECONCILED = Ending()
REPEATED_AND_RECONCILED = Ending(possible_duplicates=1)
MADE_TWICE = Ending(pdfs=2, possible_duplicates=1)
LOST_WEBHOOK = on(Call.WEBHOOK, Lost())

RETRY_AFTER = timedelta(seconds=4)
"""Longer than the first wait of our own, which is two seconds at most."""


def _submit(fault: Any, times: int | None = 1) -> Fault:
    return on(Call.SUBMIT, fault, times)


STORIES = {
    "throttled": Story([_submit(Status(429), 2)]),
    # Throttling costs no retries, errors of the server do.
    "throttled-long": Story([_submit(Status(429, retry_after=0), ATTEMPTS + 2)]),
    "errors": Story([_submit(Status(500)), _submit(Status(503))]),
    "errors-for-ever": Story(
        [_submit(Status(500, retry_after=0), None)], failed("HTTP_500", pdfs=0)
    ),
    "too-large": Story([_submit(Status(413))], failed("HTTP_413", pdfs=0)),
    "slow": Story([_submit(Slow(seconds=2))]),
    "too-slow": Story([_submit(Slow(seconds=11))], RECONCILED),
    "cut-before": Story([_submit(CutBefore())], REPEATED_AND_RECONCILED),
    "cut-after": Story([_submit(CutAfter())], RECONCILED),
    "cut-after-no-webhook": Story([_submit(CutAfter()), LOST_WEBHOOK], MADE_TWICE),
    "gateway": Story([_submit(Status(504))], REPEATED_AND_RECONCILED),
    "gateway-taken": Story([_submit(Status(504, taken=True))], RECONCILED),
    "html-200": Story([_submit(Html())], REPEATED_AND_RECONCILED),
    "half-json-202": Story(
        [_submit(Truncated(length=20, promised=PromisedLength.TRUNCATED))], RECONCILED
    ),
    "half-body-202": Story([_submit(Truncated(length=20))], RECONCILED),
}


def test_whatever_becomes_of_a_request_its_job_ends_as_it_must(faulty: FaultySystem) -> None:
    begun = datetime.now(UTC)
    date = format_datetime(begun + RETRY_AFTER, usegmt=True)
    told = {
        "told-seconds": Story([_submit(Status(429, retry_after=RETRY_AFTER.seconds))]),
        "told-date": Story([_submit(Status(503, retry_after=date))]),
    }
    stories = STORIES | told

    job_ids = faulty.play(stories)

    assert {name: faulty.ending(job_id) for name, job_id in job_ids.items()} == {
        name: story.ending for name, story in stories.items()
    }
    for name in told:
        submitted_at = datetime.fromisoformat(faulty.driver.ended(job_ids[name])["submittedAt"])
        # The date has whole seconds.
        assert submitted_at - begun >= RETRY_AFTER - timedelta(seconds=1), name


def test_jobs_outlive_a_service_that_refuses_connections(faulty: FaultySystem) -> None:
    faulty.emulator.refuse_connections(2)

    endings = faulty.endings({f"refused-{number}": Story() for number in range(3)})

    assert set(endings.values()) == {Ending()}


def test_jobs_outlive_refused_keys(faulty: FaultySystem, slow_jobs: SlowJobs) -> None:
    """The keys were wrong until somebody fixed the secret: no message is to blame for that."""
    job = faulty.driver.ended(slow_jobs.keys_refused, 100)

    assert job["status"] == "ARCHIVED"
    assert faulty.ending(slow_jobs.keys_refused) == Ending()
    dead = faulty.driver.sqs.receive_message(
        QueueUrl=faulty.driver.state["request_dlq_url"],
        MaxNumberOfMessages=10,
        VisibilityTimeout=0,
        MessageAttributeNames=["All"],
    )
    ids = {one["MessageAttributes"]["jobId"]["StringValue"] for one in dead.get("Messages", [])}
    assert slow_jobs.keys_refused not in ids
