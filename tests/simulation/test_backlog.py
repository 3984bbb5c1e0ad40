"""Crowds that wait for hours: the limit is used, no minute has more, and nobody is given up."""

from collections.abc import Mapping
from typing import Any

import pytest

from stacks.settings import DeploymentSettings
from tests.simulation.backlog import Backlog

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
def test_a_crowd_uses_the_limit_and_keeps_it_and_nobody_is_given_up(
    changes: Mapping[str, Any], requests: int, downloads: int
) -> None:
    backlog = Backlog(SETTINGS.model_copy(update=changes), requests=requests, downloads=downloads)

    backlog.run()

    assert not backlog.given_up
    assert len(backlog.archived) == requests + downloads
    assert not backlog.counted.refused
    assert backlog.share_of_limit > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_jobs_fill_the_window_of_a_minute_and_meet_no_429(seed: int) -> None:
    backlog = Backlog(DeploymentSettings(workspace_id="acme"), requests=1000, seed=seed)

    backlog.run()

    assert len(backlog.archived) == 1000
    assert (backlog.counted.allowed, backlog.counted.refused) == (2000, 0)
    assert backlog.share_of_window >= 0.95


def test_a_backlog_costs_what_the_limits_are_told_to_cost() -> None:
    """As docs/limits.md says: so many writes of the schedule, and all invocations busy."""
    backlog = Backlog(SETTINGS, requests=1000)

    backlog.run()

    invocations = SETTINGS.request_maximum_concurrency + SETTINGS.download_maximum_concurrency
    seconds = 2 * backlog.limit.interval.total_seconds()
    assert backlog.writes / len(backlog.archived) == pytest.approx(5.1, rel=0.2)
    assert 0.85 < backlog.busy_seconds / (invocations * seconds) < 1
