"""Structured logs and metrics, made once and lazily. Service and namespace are the template's."""

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics, MetricUnit

from reportflow.once import once


@once
def logger() -> Logger:
    """The process's logger: one JSON object a line. Pass the job id in `extra`."""
    return Logger(use_rfc3339=True, utc=True)


@once
def _metrics() -> Metrics:
    return Metrics()


def count(**counts: int) -> None:
    """Emit counts as one CloudWatch embedded metric; zeros are left out."""
    metrics = _metrics()
    for name, value in counts.items():
        if value:
            metrics.add_metric(name, MetricUnit.Count, value)
    if any(counts.values()):
        metrics.flush_metrics()
