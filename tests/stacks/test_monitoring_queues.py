"""The alarms on messages that nobody takes, and on a backlog that its messages may not outlive."""

import pytest
from aws_cdk import Stack
from aws_cdk.aws_sqs import Queue

from local.alarm_expression import parse
from local.alarms import Value
from stacks.metrics import end_of_backlog
from stacks.settings import DeploymentSettings
from tests.stacks.template import Properties
from tests.stacks.watching import (
    DAY,
    FUNCTION,
    QUEUE,
    Watched,
    dead_letter_queues,
    raw,
    state,
    states,
)

DEPTH, AGE = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
ACTIVE = DAY // 4
"""SQS sends metrics of a queue for so long after somebody touched it."""


def test_untaken_messages_keep_their_alarm_and_nothing_else_does(
    watched: Watched,
) -> None:
    """Whether SQS sends an age of an empty queue, or none."""
    for name in ("RequestsNotTaken", "DownloadsNotTaken"):
        alarm = watched.alarms[name]
        told = {
            DEPTH: [Value(second, 3) for second in range(0, ACTIVE, 60)],
            AGE: [Value(second, second) for second in range(0, ACTIVE, 60)],
        }
        minutes = range(60, 2 * DAY, 300)
        seen = states(alarm, told, minutes)
        assert seen[0] == "OK"
        assert seen[-1] == "ALARM"  # SQS has long been silent.

        taken = [Value(second, 0) for second in range(DAY, DAY + ACTIVE, 60)]
        told[DEPTH] += taken
        assert states(alarm, told, minutes)[-1] == "OK"
        assert states(raw(alarm), told, minutes)[-1] == "ALARM"
        told[AGE] += taken
        assert states(alarm, told, minutes)[-1] == "OK"


def test_a_queue_that_nobody_takes_from_raises_an_alarm(watched: Watched) -> None:
    consumed = watched.pipeline.of_type(QUEUE).keys() - dead_letter_queues(watched)
    assert watched.on("AWS/SQS", "ApproximateAgeOfOldestMessage").keys() == consumed


def requests_a_day(watched: Watched) -> int:
    """What ReportFlow accepts, by the functions' own variables."""
    (limit,) = {
        int(function["Environment"]["Variables"]["REPORTFLOW_REQUESTS_PER_MINUTE"])
        for function in watched.pipeline.of_type(FUNCTION).values()
        if "REPORTFLOW_REQUESTS_PER_MINUTE" in function["Environment"]["Variables"]
    }
    return limit * 60 * 24


def retention(watched: Watched) -> int:
    """The seconds after which SQS drops a waiting message."""
    consumed = watched.pipeline.of_type(QUEUE).keys() - dead_letter_queues(watched)
    (seconds,) = {
        watched.pipeline.of_type(QUEUE)[name]["MessageRetentionPeriod"] for name in consumed
    }
    return int(seconds)


def backlog(
    watched: Watched, days: float, done: float, in_flight: float = 0.1
) -> dict[str, list[Value]]:
    """SQS's words on messages that all came at once: jobs for so many days at the whole limit.

    `done` is the share of the limit at which they go. `in_flight` is the share of messages that
    wait for their next try. Every ten minutes, until the last one.
    """
    jobs_a_day = requests_a_day(watched) / 2
    left = [
        (second, max((days - done * second / DAY) * jobs_a_day, 0))
        for second in range(0, retention(watched), 600)
    ]
    return {
        DEPTH: [Value(second, jobs * (1 - in_flight)) for second, jobs in left],
        IN_FLIGHT: [Value(second, jobs * in_flight) for second, jobs in left],
        AGE: [Value(second, second if jobs > 0 else 0) for second, jobs in left],
    }


def by_hours(alarm: Properties, told: dict[str, list[Value]], days: float) -> list[str]:
    return states(alarm, told, range(60, round(days * DAY), DAY // 24))


@pytest.mark.parametrize("in_flight", [0, 0.1, 1])
def test_a_backlog_that_outlasts_its_messages_raises_an_alarm_at_once(
    watched: Watched, in_flight: float
) -> None:
    """A million jobs take 14.3 days at ReportFlow's limit, and SQS keeps them for 14."""
    alarm = watched.alarms["BacklogTooLong"]
    days = retention(watched) / DAY
    told = backlog(watched, 1.04 * days, done=0.97, in_flight=in_flight)
    assert by_hours(alarm, told, 0.1)[0] == "ALARM"


def test_a_backlog_that_ends_in_time_raises_none(watched: Watched) -> None:
    alarm = watched.alarms["BacklogTooLong"]
    days = retention(watched) / DAY
    assert set(by_hours(alarm, backlog(watched, 0.8 * days, done=0.97), days)) == {"OK"}


def test_a_backlog_that_falls_too_slowly_raises_an_alarm_while_there_is_time(
    watched: Watched,
) -> None:
    """Others use up half of the workspace's limit, or ReportFlow is down."""
    alarm = watched.alarms["BacklogTooLong"]
    days = retention(watched) / DAY
    for done in (0.5, 0.0):
        told = backlog(watched, 0.6 * days, done)
        assert by_hours(alarm, told, 0.1) == ["OK"] * 3
        assert "ALARM" in by_hours(alarm, told, 0.85 * days)


def test_the_alarm_on_a_backlog_ends_when_the_queue_has_been_emptied(watched: Watched) -> None:
    """Whether SQS sends an age of an empty queue, or none."""
    alarm = watched.alarms["BacklogTooLong"]
    for ages in ([], [Value(3600, 0)]):
        told = backlog(watched, 2 * retention(watched) / DAY, done=1)
        emptied = {
            name: [*(value for value in values if value.second < 3600), *after]
            for (name, values), after in zip(
                told.items(), ([Value(3600, 0)], [Value(3600, 0)], ages), strict=True
            )
        }
        assert state(alarm, emptied, 3600 - 60) == "ALARM"
        assert state(alarm, emptied, 3600 + 60) == "OK"


@pytest.mark.parametrize(("limit", "seconds"), [(0, 50.0), (100, 50.0 + 1000 * 2 * 61 / 99)])
def test_the_rate_limit_says_how_long_the_waiting_messages_take(limit: int, seconds: float) -> None:
    """Without one nobody knows, so that only the age counts."""
    settings = DeploymentSettings(workspace_id="acme", reportflow_requests_per_minute=limit)
    expression = end_of_backlog(Queue(Stack(), "Queue"), settings).expression
    told: dict[str, list[float | None]] = {
        "waiting": [0.0, 600.0, None],
        "in_flight": [0.0, 400.0, None],
        "age": [50.0] * 3,
    }
    calculated = parse(expression)(told)
    assert calculated == [0, pytest.approx(seconds), None]
