"""CloudWatch's numbers are read whole, and each once."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cli.attempts import RECENT
from cli.failures import CliError
from cli.metrics import MAX_QUERIES, Metrics
from cli.target import Target
from tests.cli.numbers.deployment import PLAN, emit
from tests.pipeline.driver import until


def new_name() -> str:
    return f"Metric{uuid4().hex[:8]}"


def test_a_metric_is_not_added_to_the_same_with_more_dimensions(either: Target) -> None:
    name = new_name()
    emit(either, name, 5, reason="HTTP_404")
    emit(either, name, 2, reason="HTTP_503")
    metrics = Metrics(either, PLAN.window)
    metric = metrics.of_service("submitter", name)

    assert metrics.read([metric])[metric].value == 7
    by_reason = metrics.by_reason("submitter", name, ["HTTP_500"])
    assert {reason: reading.value for reason, reading in by_reason.items()} == {
        "HTTP_404": 5,
        "HTTP_503": 2,
    }


@pytest.mark.parametrize("hours", [0.1, 1, 30])
def test_all_of_the_window_is_read_and_little_before(either: Target, hours: float) -> None:
    window = timedelta(hours=hours)
    metric = Metrics(either, window).of_service("submitter", new_name())
    # A minute that begins between writing and reading would move the window's begin.
    until(lambda: datetime.now(UTC).second < 50 or None, 12, "the middle of a minute")
    for value, ago in ((1, 1 - 1e-6), (10, 0.5), (100, 0), (1000, 1.3)):
        emit(either, metric.name, value, ago=window * ago)

    assert Metrics(either, window).read([metric])[metric].value == 111


def test_the_last_time_is_that_of_the_period(either: Target) -> None:
    metric = Metrics(either, RECENT).of_service("submitter", new_name())
    told_at = datetime.now(UTC) - timedelta(minutes=3)
    emit(either, metric.name, 1, ago=timedelta(minutes=3))
    emit(either, metric.name, 1, ago=timedelta(minutes=5))

    last = Metrics(either, RECENT).read([metric])[metric].last

    assert last is not None
    assert abs(told_at - last) <= timedelta(seconds=61)


def test_more_metrics_than_fit_in_a_call_are_read(either: Target) -> None:
    metrics = Metrics(either, PLAN.window)
    last = metrics.of_service("submitter", new_name())
    emit(either, last.name, 7)
    others = [metrics.of_service("submitter", new_name()) for _ in range(MAX_QUERIES)]
    sizes: list[int] = []

    def note(params: dict[str, Any], **_: object) -> None:
        sizes.append(len(params["MetricDataQueries"]))

    events = either.cloudwatch.meta.events
    events.register("provide-client-params.cloudwatch.GetMetricData", note)
    try:
        assert metrics.read([*others, last])[last].value == 7
    finally:
        events.unregister("provide-client-params.cloudwatch.GetMetricData", note)
    # The emulated ones take more, AWS does not.
    assert sizes == [MAX_QUERIES, 1]


@pytest.mark.parametrize("status", ["PartialData", "InternalError"])
def test_numbers_that_are_not_whole_are_not_reported(target: Target, status: str) -> None:
    def break_off(parsed: dict[str, Any], **_: object) -> None:
        for result in parsed["MetricDataResults"]:
            result["StatusCode"] = status

    metrics = Metrics(target, PLAN.window)
    events = target.cloudwatch.meta.events
    events.register("after-call.cloudwatch.GetMetricData", break_off)
    try:
        with pytest.raises(CliError, match=status):
            metrics.total("submitter", "Submitted")
    finally:
        events.unregister("after-call.cloudwatch.GetMetricData", break_off)
