"""The emulated CloudWatch's alarms are evaluated as CloudWatch evaluates them."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest

from local import alarms
from local.alarm_expression import parse
from local.alarms import Alarms, Value, statistic_of
from local.backend import Backend, BackendKind, run_backend
from local.metrics import Moment
from local.ministack_server import on_one_metric

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
    """An alarm on a sum of at least 3 in a minute, for which no data is good."""
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


def evaluate(one: "MetricAlarmTypeDef", values: list[Value], now: float) -> str | None:
    """The state of an alarm on one metric."""
    return alarms.evaluate(one, {"": values}, now)


def told(*values: tuple[float, float]) -> list[Value]:
    """Values by how many seconds ago they were reported."""
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
    assert evaluate(alarm(), told((1, 1), (61, 9)), NOW) == "OK"


def test_what_is_stamped_a_moment_ahead_counts_now() -> None:
    assert evaluate(alarm(), told((-1, 3)), NOW) == "ALARM"


def test_each_of_several_periods_has_to_breach_or_as_many_as_are_configured() -> None:
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
def test_missing_data_count_as_the_alarm_says(treatment: str, state: str | None) -> None:
    assert evaluate(alarm(TreatMissingData=treatment), told((181, 9)), NOW) == state


TREATMENTS = ("ignore", "breaching", "notBreaching")


@pytest.mark.parametrize(
    ("data", "needed", "states"),
    [
        ("0-X-X", 3, ("OK", "OK", "OK")),
        ("0----", 3, ("OK", "OK", "OK")),
        ("-----", 3, (None, "ALARM", "OK")),
        ("0XX-X", 3, ("ALARM", "ALARM", "ALARM")),
        ("----X", 3, (None, "ALARM", "OK")),
        ("X----", 3, (None, "ALARM", "OK")),
        ("0-X-X", 2, ("ALARM", "ALARM", "ALARM")),
        ("00X0X", 2, ("ALARM", "ALARM", "ALARM")),
        ("0-X--", 2, ("OK", "ALARM", "OK")),
        ("----0", 2, ("OK", "ALARM", "OK")),
        ("----X", 2, (None, "ALARM", "OK")),
    ],
)
def test_an_alarm_looks_further_back_than_its_periods(
    data: str, needed: int, states: tuple[str | None, ...]
) -> None:
    """The tables of CloudWatch's guide: of five points, X breaches and - is missing."""
    values = {"0": 0, "X": 9}
    points = told(
        *((60 * ago + 5, values[each]) for ago, each in enumerate(reversed(data)) if each != "-")
    )
    judged = [
        evaluate(
            alarm(EvaluationPeriods=3, DatapointsToAlarm=needed, TreatMissingData=treatment),
            points,
            NOW,
        )
        for treatment in TREATMENTS
    ]
    assert tuple(judged) == states


def test_one_value_keeps_an_alarm_red_until_it_is_no_longer_looked_at() -> None:
    assert evaluate(alarm(), told((5, 9)), NOW) == "ALARM"
    assert evaluate(alarm(), told((175, 9)), NOW) == "ALARM"
    assert evaluate(alarm(), told((185, 9)), NOW) == "OK"


@pytest.mark.parametrize(
    ("expression", "series"),
    [
        ("FILL(m, 0)", [0, 3, 0, 5, 0]),
        ("FILL(m, 1)", [1, 3, 1, 5, 1]),
        ("FILL(m, REPEAT)", [None, 3, 3, 5, 5]),
        ("IF(m > 3, FILL(n, 0), 0)", [None, 0, None, 8, None]),
        ("IF(m >= 3, n, 1)", [None, None, None, 8, None]),
        ("IF(m > 3, n * 0.5 + m, 0)", [None, 0, None, 9, None]),
        ("m", [None, 3, None, 5, None]),
    ],
)
def test_an_expression_is_calculated_for_each_period(
    expression: str, series: list[float | None]
) -> None:
    metrics = {"m": [None, 3.0, None, 5.0, None], "n": [1.0, None, 2.0, 8.0, None]}
    assert list(parse(expression)(metrics)) == series


@pytest.mark.parametrize(
    "expression",
    ["SUM(METRICS())", "m - n", "FILL(m)", "FILL(m, LINEAR)", "0 < m < 3", "m >", "RATE(m)"],
)
def test_metric_math_that_nobody_calculates_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="unknown metric math"):
        parse(expression)


def test_an_alarm_on_an_expression_ends_with_its_period() -> None:
    """The zeros are data, so that no older value is judged in their place."""
    filled = on_expression("FILL(m, 0)")
    assert alarms.evaluate(filled, {"m": told((5, 9))}, NOW) == "ALARM"
    assert alarms.evaluate(filled, {"m": told((65, 9))}, NOW) == "OK"


def on_expression(expression: str, namespace: str = "Some") -> "MetricAlarmTypeDef":
    metric = {"Namespace": namespace, "MetricName": "Errors", "Dimensions": []}
    stat = {"Metric": metric, "Period": 60, "Stat": "Sum"}
    made = alarm(
        Metrics=[
            {"Id": "expr", "Expression": expression, "ReturnData": True},
            {"Id": "m", "MetricStat": stat, "ReturnData": False},
        ],
    )
    return cast(
        "MetricAlarmTypeDef",
        {key: of for key, of in made.items() if key not in ("Period", "Statistic")},
    )


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
def test_a_statistic_weighs_each_value_by_how_often_it_was_reported(
    statistic: str, value: float
) -> None:
    values = [Value(0, 100), Value(0, 1, times=8), Value(0, 10)]
    assert statistic_of(values, statistic) == value


@pytest.fixture(scope="module", params=list(BackendKind))
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """Shared with no other file: MiniStack sets alarms by metrics of other dimensions, too."""
    with run_backend(request.param, tmp_path_factory.mktemp("backend")) as running:
        yield running


def test_alarms_turn_red_and_green_with_what_is_heard(backend: Backend) -> None:
    cloudwatch = backend.client("cloudwatch")
    clock = Clock()
    watching = Alarms(cloudwatch, clock)
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
        watching.update({moment: Counter({float(waiting): 1})})
        described = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
        state = {each["AlarmName"]: each["StateValue"] for each in described}
        assert state[names[1]] != "ALARM"
        return [state[names[0]]]

    assert hear(0, 0) == ["OK"]
    assert hear(5, 2) == ["ALARM"]
    assert hear(30, 0) == ["ALARM"]
    assert hear(31, 0) == ["OK"]


def test_an_expression_is_evaluated_as_it_was_asked_for(backend: Backend) -> None:
    """MiniStack does not keep it."""
    cloudwatch = backend.client("cloudwatch")
    clock = Clock()
    name = f"filled-{uuid4().hex[:8]}"
    asked = {**on_expression("FILL(m, 0)", name), "AlarmName": name}
    cloudwatch.put_metric_alarm(**cast("Any", asked))
    watching = Alarms(cloudwatch, clock, {name: asked})

    def state() -> str:
        [described] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return described["StateValue"]

    watching.update({Moment(name, "Errors", (), "Count", int(NOW)): Counter({9.0: 1})})
    assert state() == "ALARM"
    clock.now += 61
    watching.update({})
    assert state() == "OK"


def test_a_state_that_somebody_else_sets_is_put_right(backend: Backend) -> None:
    """MiniStack evaluates alarms as well, and leaves dimensions out of account."""
    cloudwatch = backend.client("cloudwatch")
    name = f"quiet-{uuid4().hex[:8]}"
    put_alarm(cloudwatch, name, name)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="wrong")

    Alarms(cloudwatch, Clock()).update({})

    [described] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert described["StateValue"] == "OK"


def test_more_alarms_than_fit_on_a_page_are_evaluated(backend: Backend) -> None:
    cloudwatch = backend.client("cloudwatch")
    prefix = f"many-{uuid4().hex[:8]}"
    for number in range(120):
        put_alarm(cloudwatch, f"{prefix}-{number:03}", prefix)
    moment = Moment(prefix, "Errors", (), "Count", int(NOW))

    Alarms(cloudwatch, Clock()).update({moment: Counter({1.0: 1})})

    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    states = [each["StateValue"] for page in pages for each in page["MetricAlarms"]]
    assert states == ["ALARM"] * 120


def test_cloudformation_gets_an_alarm_on_an_expressions_last_metric() -> None:
    """MiniStack's own refuses the expression, and with it all of the stack."""
    properties = {**on_expression("FILL(m, 0)"), "AlarmName": "filled"}
    one = on_one_metric(properties)
    assert one == {**alarm(), **one}
    assert (one["MetricName"], one["AlarmName"]) == ("Errors", "filled")
    assert "Metrics" not in one
    assert on_one_metric(one) == one
