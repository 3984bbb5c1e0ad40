"""Structured logs and metrics, made once and lazily. Service and namespace are the template's."""

import json
import sys

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from reportflow.once import once


@once
def logger() -> Logger:
    """The process's logger: one JSON object a line. Pass the job id in `extra`."""
    return Logger(use_rfc3339=True, utc=True)


def count(reason: str = "", /, **counts: int) -> None:
    """Emit counts as one CloudWatch embedded metric; zeros are left out.

    With a `reason` they are emitted under that dimension as well as without it. Thread-safe.
    """
    _emit(MetricUnit.Count, counts)
    if reason:
        _emit(MetricUnit.Count, counts, reason)


def expect_webhook() -> None:
    """Count no webhook, in the name of the webhook function: one is due. Thread-safe.

    CloudWatch can then tell that none came from that none was due, which is silence.
    """
    metrics = EphemeralMetrics(service="webhook")
    metrics.add_metric("WebhooksReceived", MetricUnit.Count, 0)
    _write(metrics)


def measure(**seconds: float) -> None:
    """Emit durations, in seconds, as one CloudWatch embedded metric. Thread-safe."""
    _emit(MetricUnit.Seconds, seconds)


def _emit(unit: MetricUnit, values: dict[str, int] | dict[str, float], reason: str = "") -> None:
    # The shared `Metrics` of Powertools would mix what two threads count.
    metrics = EphemeralMetrics()
    if reason:
        metrics.add_dimension("reason", reason)
    for name, value in values.items():
        if value:
            metrics.add_metric(name, unit, value)
    if any(values.values()):
        _write(metrics)


def _write(metrics: EphemeralMetrics) -> None:
    # `flush_metrics` prints line and newline apart, and a thread's log could come between.
    sys.stdout.write(json.dumps(metrics.serialize_metric_set()) + "\n")
