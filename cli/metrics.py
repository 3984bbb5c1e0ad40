"""CloudWatch's numbers, as far as `doctor` reads them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef

OWN: Final[Mapping[str, Sequence[str]]] = {
    "submitter": ("Submitted", "CredentialsRefused", "PossibleDuplicates"),
    "webhook": ("WebhooksReceived", "WebhooksRefused", "WebhooksNotStored"),
    "downloader": ("CredentialsRefused", "LostWebhooks"),
}
"""The functions' own metrics by the service that emits them."""


class Metrics:
    """Reads what was counted in the last `window`."""

    def __init__(self, target: Target, window: timedelta) -> None:
        self._target = target
        self._window = window

    def own(self) -> Counter[str]:
        """What the functions counted, by the metrics' names."""
        counted: Counter[str] = Counter()
        for service, names in OWN.items():
            for name in names:
                counted[name] += self._value(
                    self._target.namespace, name, {"service": service}, "Sum"
                )
        return counted

    def of_function(self, function: str, name: str) -> int:
        """What Lambda counted of a function."""
        return self._value("AWS/Lambda", name, {"FunctionName": function}, "Sum")

    def queue_age(self, queue_url: str) -> int:
        """Seconds that a queue's oldest message has waited, as told last."""
        name = queue_url.rpartition("/")[2]
        return self._value(
            "AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": name}, "Maximum"
        )

    def _value(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        statistic: Literal["Sum", "Maximum"],
    ) -> int:
        now = datetime.now(UTC)
        # For the age it is the last minutes that count.
        window = self._window if statistic == "Sum" else timedelta(minutes=10)
        as_dimensions: list[DimensionTypeDef] = [
            {"Name": key, "Value": value} for key, value in dimensions.items()
        ]
        points = self._target.cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=as_dimensions,
            StartTime=now - window,
            EndTime=now + timedelta(minutes=1),
            Period=ceil(window.total_seconds() / 60 + 1) * 60,
            Statistics=[statistic],
        )["Datapoints"]
        values = [point.get(statistic, 0.0) for point in points]
        return int(sum(values) if statistic == "Sum" else max(values, default=0))
