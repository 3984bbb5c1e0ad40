"""The emulated CloudWatch's alarms are evaluated as CloudWatch evaluates them."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest

from local.alarms import Alarms, Value, evaluate, statistic_of
from local.backend import Backend, BackendKind, run_backend
from local.metrics import Moment

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

NOW = 1_800_000_000.0


class Clock:
    """Seconds of the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def alarm(**changes: Any) -> "MetricAlarmTypeDef":
    """An alarm on a sum of at least 3 in a minute, of which nothing told is good."""
    usual: MetricAlarmTypeDef = {
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "EvaluationPeriods": 1,
        "Period": 60,
        "Statistic": "Sum",
        "Threshold": 3.0,
        "TreatMissingData": "notBreaching",
    }
    return cast("MetricAlarmTypeDef", {**usual, **changes})


def put_alarm(cloudwatch: "CloudWatchClient", name: str, namespace: str) -> None:
    """Have CloudWatch hold `alarm`, on the errors of the namespace."""
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace=namespace, MetricName="Errors", **cast("Any", alarm(Threshold=1))
    )


def told(*values: tuple[float, float]) -> list[Value]:
    """Values by how many seconds ago they were told."""
    return [Value(round(NOW - ago), value) for ago, value in values]


@pytest.mark.parametrize(
    ("comparison", "states"),
    [
        ("GreaterThanOrEqualToThreshold", ("OK", "ALARM", "ALARM")),
        ("GreaterThanThreshold", ("OK", "OK", "ALARM")),
        ("LessThanOrEqualToThreshold", ("ALARM", "ALARM", "OK")),
        ("LessThanThreshold", ("ALARM", "OK", "OK")),
    ],
)
def test_a_value_is_compared_with_the_threshold(
    comparison: str, states: tuple[str, str, str]
) -> None:
    compared = alarm(ComparisonOperator=comparison)
    assert tuple(evaluate(compared, told((5, value)), NOW) for value in (2, 3, 4)) == states


def test_only_the_last_period_counts_and_all_of_it() -> None:
    assert evaluate(alarm(), told((1, 1), (30, 1), (59, 1)), NOW) == "ALARM"
    assert evaluate(alarm(), told((1, 1), (30, 1), (61, 1)), NOW) == "OK"


def test_what_is_stamped_a_moment_ahead_counts_now() -> None:
    assert evaluate(alarm(), told((-1, 3)), NOW) == "ALARM"


def test_each_of_several_periods_has_to_breach_or_as_many_as_are_told() -> None:
    three = alarm(EvaluationPeriods=3)
    assert evaluate(three, told((5, 9), (65, 9), (125, 9)), NOW) == "ALARM"
    assert evaluate(three, told((5, 9), (65, 1), (125, 9)), NOW) == "OK"
    two_of_three = alarm(EvaluationPeriods=3, DatapointsToAlarm=2)
    assert evaluate(two_of_three, told((5, 9), (65, 1), (125, 9)), NOW) == "ALARM"


@pytest.mark.parametrize(
    ("treatment", "state"),
    [
        ("notBreaching", "OK"),
        ("breaching", "ALARM"),
        ("ignore", None),
        ("missing", "INSUFFICIENT_DATA"),
    ],
)
def test_nothing_told_is_taken_as_the_alarm_says(treatment: str, state: str | None) -> None:
    assert evaluate(alarm(TreatMissingData=treatment), told((61, 9)), NOW) == state


def test_what_is_partly_missing_is_left_undecided_only_if_it_matters() -> None:
    two = alarm(EvaluationPeriods=2, TreatMissingData="ignore")
    assert evaluate(two, told((5, 9)), NOW) is None
    assert evaluate(two, told((5, 1)), NOW) == "OK"


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        ("Sum", 118),
        ("SampleCount", 10),
        ("Average", 11.8),
        ("Maximum", 100),
        ("Minimum", 1),
        ("p50", 1),
        ("p90", 10),
        ("p99", 100),
    ],
)
def test_a_statistic_weighs_each_value_by_how_often_it_was_told(
    statistic: str, value: float
) -> None:
    values = [Value(0, 100), Value(0, 1, times=8), Value(0, 10)]
    assert statistic_of(values, statistic) == value


@pytest.fixture(scope="module", params=list(BackendKind))
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    with run_backend(request.param, tmp_path_factory.mktemp("backend")) as running:
        yield running


def test_alarms_turn_red_and_green_with_what_is_heard(backend: Backend) -> None:
    cloudwatch = backend.client("cloudwatch")
    clock = Clock()
    alarms = Alarms(cloudwatch, clock)
    queue, other = (f"queue-{uuid4().hex[:8]}" for _ in range(2))

    def make(name: str, queue: str) -> str:
        cloudwatch.put_metric_alarm(
            AlarmName=f"{name}-{queue}",
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            EvaluationPeriods=1,
            Period=60,
            Statistic="Maximum",
            Threshold=1,
            TreatMissingData="ignore",
        )
        return f"{name}-{queue}"

    names = [make("letters", queue), make("letters", other)]

    def hear(seconds: float, waiting: int) -> list[str]:
        clock.now += seconds
        moment = Moment(
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            (("QueueName", queue),),
            "Count",
            int(clock.now),
        )
        alarms.hear({moment: Counter({float(waiting): 1})})
        described = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
        state = {each["AlarmName"]: each["StateValue"] for each in described}
        assert state[names[1]] != "ALARM"
        return [state[names[0]]]

    assert hear(0, 0) == ["OK"]
    assert hear(5, 2) == ["ALARM"]
    assert hear(30, 0) == ["ALARM"]
    assert hear(31, 0) == ["OK"]


def test_a_state_that_somebody_else_sets_is_put_right(backend: Backend) -> None:
    """MiniStack evaluates alarms as well, and leaves dimensions out of account."""
    cloudwatch = backend.client("cloudwatch")
    name = f"quiet-{uuid4().hex[:8]}"
    put_alarm(cloudwatch, name, name)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="wrong")

    Alarms(cloudwatch, Clock()).hear({})

    [described] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert described["StateValue"] == "OK"


def test_more_alarms_than_fit_on_a_page_are_evaluated(backend: Backend) -> None:
    cloudwatch = backend.client("cloudwatch")
    prefix = f"many-{uuid4().hex[:8]}"
    for number in range(120):
        put_alarm(cloudwatch, f"{prefix}-{number:03}", prefix)
    moment = Moment(prefix, "Errors", (), "Count", int(NOW))

    Alarms(cloudwatch, Clock()).hear({moment: Counter({1.0: 1})})

    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    states = [each["StateValue"] for page in pages for each in page["MetricAlarms"]]
    assert states == ["ALARM"] * 120
