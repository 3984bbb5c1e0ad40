"""Backlogs that last for hours: the limit is used, no minute has more, no message is given up."""

from collections.abc import Mapping
from typing import Any

import pytest

from stacks.settings import DeploymentSettings
from tests.simulation.backlog import Backlog
from tests.simulation.broken_slots import BROKEN_SLOTS

# A tenth of the deliveries that messages have: who needs no more than these is far from the end.
SETTINGS = DeploymentSettings(workspace_id="acme", max_receive_count=99)


@pytest.mark.parametrize(
    ("changes", "requests", "downloads"),
    [
        pytest.param({}, 1000, 0, id="requests"),
        pytest.param({}, 50, 6000, id="few requests behind many downloads"),
        pytest.param(
            {"reportflow_requests_per_minute": 10, "reportflow_burst": 2}, 300, 0, id="a low limit"
        ),
        pytest.param({"request_maximum_concurrency": 10}, 1500, 0, id="many batches at a time"),
    ],
)
def test_a_backlog_uses_the_limit_and_keeps_it_and_no_message_is_given_up(
    changes: Mapping[str, Any], requests: int, downloads: int
) -> None:
    backlog = Backlog(SETTINGS.model_copy(update=changes), requests=requests, downloads=downloads)

    backlog.run()

    assert not backlog.wrong
    assert len(backlog.archived) == requests + downloads
    assert backlog.share_of_limit > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_jobs_fill_the_window_of_a_minute_and_meet_no_429(seed: int) -> None:
    backlog = Backlog(DeploymentSettings(workspace_id="acme"), requests=1000, seed=seed)

    backlog.run()

    assert len(backlog.archived) == 1000
    assert (backlog.counted.allowed, backlog.counted.refused) == (2000, 0)
    assert backlog.share_of_window >= 0.95


@pytest.mark.parametrize("seed", range(4))
def test_a_small_backlog_uses_the_limit_too(seed: int) -> None:
    backlog = Backlog(SETTINGS, requests=50, seed=seed)

    backlog.run()

    assert not backlog.wrong
    assert backlog.share_of_window >= 0.92


def test_downloads_go_before_new_requests() -> None:
    backlog = Backlog(SETTINGS, requests=1000)

    backlog.run()

    assert backlog.downloads.most_waiting < 50


def test_a_backlog_costs_what_the_limits_say() -> None:
    """As docs/limits.md says: functions that sleep, writes of the schedule, and deliveries."""
    backlog = Backlog(SETTINGS, requests=1000)

    backlog.run()

    gigabytes = SETTINGS.submitter_memory_mb / 1024
    assert backlog.asleep_seconds * gigabytes == pytest.approx(0.86, rel=0.1)
    assert backlog.writes / len(backlog.archived) == pytest.approx(4.0, rel=0.1)
    assert sum(backlog.receives) / len(backlog.archived) - 2 == pytest.approx(2.7, rel=0.1)
    assert backlog.invocations == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("name", BROKEN_SLOTS)
def test_a_broken_rate_limiter_is_caught(name: str) -> None:
    with BROKEN_SLOTS[name]():
        backlog = Backlog(SETTINGS, requests=100)
        backlog.run()

    assert backlog.wrong
