"""A deployment that has only metrics, emitted as the functions emit them."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from cli.findings import Check, Finding, Plan, findings
from cli.target import Target
from local.backend import Backend

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

PLAN: Final = Plan(window=timedelta(hours=1), unfinished=timedelta(hours=1))


def deployment(backend: Backend) -> Target:
    """Return a deployment that has only metrics."""
    return Target(
        name="numbers",
        is_local=True,
        request_queue_url="http://127.0.0.1:1/1/requests",
        request_dlq_url="",
        download_queue_url="http://127.0.0.1:1/1/downloads",
        download_dlq_url="",
        jobs_table="",
        archive_bucket="",
        secret_id="",
        webhook_base_url="",
        clients=cast("Any", backend),
        namespace=f"Numbers{uuid4().hex[:8]}",
    )


def found(check: Check, target: Target, plan: Plan = PLAN) -> list[Finding]:
    return findings(check, target, plan)


def emit(
    target: Target,
    name: str,
    value: float,
    *,
    service: str = "submitter",
    reason: str = "",
    ago: timedelta = timedelta(),
) -> None:
    """A number as the functions emit it: with a reason also without it."""
    dimensions = [{"service": service}, *([{"service": service, "reason": reason}] * bool(reason))]
    data: list[MetricDatumTypeDef] = [
        {
            "MetricName": name,
            "Value": value,
            "Timestamp": datetime.now(UTC) - ago,
            "Dimensions": [{"Name": key, "Value": of} for key, of in each.items()],
        }
        for each in dimensions
    ]
    target.cloudwatch.put_metric_data(Namespace=target.namespace, MetricData=data)
