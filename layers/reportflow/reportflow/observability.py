"""Writes structured logs and metrics. The template sets their service and namespace."""

import json
import sys

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from reportflow.once import once


@once
def logger() -> Logger:
    """Return the process's logger: one JSON object per line. Pass the job id in `extra`."""
    return Logger(use_rfc3339=True, utc=True)


def count(reason: str = "", /, **counts: int) -> None:
    """Emit counts as CloudWatch metrics, without the zeros. Thread-safe.

    With a `reason`, emit each count twice: without a dimension and with the reason as one.
    """
    _emit(MetricUnit.Count, counts)
    if reason:
        _emit(MetricUnit.Count, counts, reason)


def expect_webhook() -> None:
    """Emit a count of zero webhooks for the webhook function: a webhook is due. Thread-safe.

    With it, CloudWatch distinguishes "a webhook is due and none came" from "no webhook is due".
    """
    metrics = EphemeralMetrics(service="webhook")
    metrics.add_metric("WebhooksReceived", MetricUnit.Count, 0)
    _write(metrics)


def measure(**seconds: float) -> None:
    """Emit durations in seconds as CloudWatch metrics. Thread-safe."""
    _emit(MetricUnit.Seconds, seconds)


def _emit(unit: MetricUnit, values: dict[str, int] | dict[str, float], reason: str = "") -> None:
    # Powertools' shared `Metrics` would mix the counts of two threads.
    metrics = EphemeralMetrics()
    if reason:
        metrics.add_dimension("reason", reason)
    for name, value in values.items():
        if value:
            metrics.add_metric(name, unit, value)
    if any(values.values()):
        _write(metrics)


def _write(metrics: EphemeralMetrics) -> None:
    # `flush_metrics` writes the newline apart, and another thread's log could come before it.
    sys.stdout.write(json.dumps(metrics.serialize_metric_set()) + "\n")
