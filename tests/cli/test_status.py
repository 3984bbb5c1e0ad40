"""`status`: one job in full."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli import story
from cli.target import Target
from tests.cli.conftest import Cli, Send, failed
from tests.pipeline.driver import Driver, body, new_id

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = {
    "CHECK_DELAY_SECONDS": "300",
    "COMPLETION_DEADLINE_SECONDS": "21600",
    "OUTCOME_GRACE_SECONDS": "60",
}


class Deployed(Target):
    """A deployment whose functions have these settings."""

    def environment(self, _function: str) -> dict[str, str]:
        return SETTINGS


def next_of(target: Target, now: timedelta, **fields: Any) -> story.Next:
    deployed = Deployed(**{name: getattr(target, name) for name in target.__dataclass_fields__})
    record = {"jobId": "a", "updatedAt": "2026-01-01T00:00:00.000Z", **fields}
    return story.next_of("a", record, deployed, BEGIN + now)


def test_an_archived_job_has_its_steps_and_its_place(cli: Cli, driver: Driver) -> None:
    job_id = new_id("printed")
    driver.send(body(job_id))
    cli("watch", job_id, "--timeout", "30s")

    shown = cli("status", job_id).stdout
    [printed] = cli.json("status", job_id)

    steps = [step["step"] for step in printed["steps"]]
    assert steps[0] == "first taken from the queue"
    assert steps[-1] == "archived"
    assert printed["steps"][-1]["secondsAfterPrevious"] >= 0
    assert printed["location"] == f"s3://{printed['archiveBucket']}/{printed['archiveKey']}"
    assert shown.startswith(f"{job_id} ARCHIVED\n")
    assert printed["location"] in shown
    assert f"reportflow fetch {job_id}" in shown


def test_a_failed_job_has_its_dead_letter_and_the_remedy(
    still: Target, still_cli: Cli, send: Send
) -> None:
    job_id = new_id("dead")
    failed(still, job_id, errorCode="HTTP_404", errorMessage="no such design")
    message_id = send(job_id, "HTTP_404")

    shown = still_cli("status", job_id).stdout
    [printed] = still_cli.json("status", job_id)

    assert [one["messageId"] for one in printed["deadLetters"]] == [message_id]
    assert "error: HTTP_404: no such design" in shown
    assert "dead letter: requests, HTTP_404, sent 20" in shown
    for command in (f"edit {job_id}", f"redrive --job {job_id}", f"drop --job {job_id}"):
        assert f"reportflow dlq {command}" in shown
    assert len(still_cli.json("dlq", "list")) == 1


@pytest.mark.parametrize(
    ("now", "due"),
    [(10, 300), (400, 600), (700, 1200), (5000, 6000), (21_000, 21_600)],
)
def test_the_next_completion_check_is_reported(target: Target, now: int, due: int) -> None:
    """Each check waits as long again as the job has waited, half an hour at most."""
    submitted = {"status": "SUBMITTED", "submittedAt": "2026-01-01T00:00:00.000Z"}

    printed = next_of(target, timedelta(seconds=now), **submitted)

    assert printed.at == BEGIN + timedelta(seconds=due)
    assert "NO_COMPLETION at 2026-01-01T06:00:00.000Z" in printed.what


def test_after_the_deadline_one_check_is_left(target: Target) -> None:
    printed = next_of(
        target, timedelta(days=1), status="SUBMITTED", submittedAt="2026-01-01T00:00:00.000Z"
    )

    assert "deadline is over" in printed.what


@pytest.mark.parametrize(
    ("fields", "what", "at"),
    [
        ({"leaseExpiresAt": "2026-01-01T00:01:00.000Z"}, "is sending", 60),
        ({"outcomeUnknownAt": "2026-01-01T00:00:00.000Z"}, "answer was lost", 60),
        ({"failedAttempts": 2}, "failed attempts so far: 2", None),
    ],
)
def test_what_a_submission_waits_for(
    target: Target, fields: dict[str, Any], what: str, at: int | None
) -> None:
    printed = next_of(target, timedelta(seconds=1), status="SUBMITTING", **fields)

    assert what in printed.what
    assert printed.at == (None if at is None else BEGIN + timedelta(seconds=at))


def test_several_jobs_are_a_table(cli: Cli, target: Target) -> None:
    one, other = new_id("one"), new_id("other")
    failed(target, one, updatedAt="2026-01-01T00:00:00.000Z", errorCode="X", errorMessage="y")

    result = cli("status", one, other)

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["job", one, other]
