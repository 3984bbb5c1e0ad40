"""Publishes to the emulated CloudWatch the metrics that AWS itself publishes.

CloudWatch Logs reads them from the functions' logs (the embedded metric format). Lambda and SQS
publish their own. Some are missing here: throttles, because the runner never throttles; the age of
the oldest message, which SQS reports to CloudWatch only; and all of API Gateway's.
"""

import json
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, override

from botocore.exceptions import BotoCoreError, ClientError

from local.backend import Backend
from local.deployment import Function
from local.function_pool import FunctionPool

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.literals import StandardUnitType
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef
    from mypy_boto3_sqs.literals import QueueAttributeNameType

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
MAX_READ_BYTES = 4 * 1024 * 1024
"""The most that is read of one log in one interval. The rest is read in the next."""

_MAX_DATA = 1000
"""The most data in one call; `_MAX_VALUES` in one datum. They are CloudWatch's limits."""

_MAX_VALUES = 150

_DEPTHS: Final[Mapping["QueueAttributeNameType", str]] = {
    "ApproximateNumberOfMessages": "ApproximateNumberOfMessagesVisible",
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
}
"""The attributes of a queue, and the metrics that SQS makes of them."""


@dataclass(frozen=True)
class Moment:
    """A metric at a time, to the second, as CloudWatch keeps it."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    unit: "StandardUnitType"
    second: int

    def with_values(self, values: Iterable[tuple[float, int]]) -> "MetricDatumTypeDef":
        """The values, each with its count, as PutMetricData takes them."""
        each, counts = zip(*values, strict=True)
        return {
            "MetricName": self.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
            "Values": each,
            "Counts": counts,
            "Unit": self.unit,
            "Timestamp": datetime.fromtimestamp(self.second, UTC),
        }


type Datum = tuple[Moment, float]
"""One value of a metric."""

type Published = Mapping[Moment, Counter[float]]
"""The values of metrics, each with its count."""


def embedded(line: bytes) -> Iterator[Datum]:
    """The values in a line of a log, in the embedded metric format. Most lines have none."""
    if not line.startswith(b"{") or b'"_aws"' not in line:
        return
    try:
        entry = json.loads(line)
    except ValueError:
        return
    about = entry.get("_aws")
    if not isinstance(about, dict):
        return
    for directive in about["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = tuple((name, str(entry[name])) for name in names)
            for metric in directive["Metrics"]:
                moment = Moment(
                    directive["Namespace"],
                    metric["Name"],
                    dimensions,
                    metric.get("Unit", "None"),
                    about["Timestamp"] // 1000,
                )
                values = entry[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    yield moment, float(value)


class LogTail:
    """Reads the lines that are added to a log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> Sequence[bytes]:
        """The whole lines since the last call, at most `MAX_READ_BYTES`."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                read = log.read(MAX_READ_BYTES)
        except FileNotFoundError:
            return []
        whole = read.rfind(b"\n") + 1
        # A line that fills the whole buffer is not a metric.
        self._position += whole or (len(read) if len(read) == MAX_READ_BYTES else 0)
        return read[:whole].splitlines()


class MeasuredPool(FunctionPool):
    """A function's processes, with Lambda's metrics of their invocations."""

    def __init__(
        self,
        function: Function,
        backend: Backend,
        *,
        work_dir: Path,
        max_processes: int,
    ) -> None:
        super().__init__(function, backend, work_dir=work_dir, max_processes=max_processes)
        self._data: SimpleQueue[Datum] = SimpleQueue()

    @override
    def invoke(self, payload: bytes) -> bytes:
        begun = time.monotonic()
        errors = 1
        try:
            response = super().invoke(payload)
            errors = 0
        finally:
            milliseconds = (time.monotonic() - begun) * 1000
            self._record("Invocations", 1, "Count")
            self._record("Errors", errors, "Count")
            self._record("Duration", milliseconds, "Milliseconds")
        return response

    def data(self) -> Iterator[Datum]:
        """The values since the last call."""
        with suppress(Empty):
            while True:
                yield self._data.get_nowait()

    def _record(self, name: str, value: float, unit: "StandardUnitType") -> None:
        dimensions = (("FunctionName", self.function.name),)
        moment = Moment("AWS/Lambda", name, dimensions, unit, int(time.time()))
        self._data.put((moment, value))


class MetricsPublisher:
    """Publishes in the background, every `INTERVAL_SECONDS` and once more when it is stopped.

    `use` gets the published values. A failure is logged, and the values are lost.
    """

    def __init__(
        self,
        backend: Backend,
        pools: Iterable[MeasuredPool],
        queue_urls: Iterable[str],
        use: Callable[[Published], None],
    ) -> None:
        self._backend = backend
        self._use = use
        self._pools = tuple(pools)
        self._queue_urls = tuple(queue_urls)
        self._tails = tuple(LogTail(pool.log_path) for pool in self._pools)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics")

    def start(self) -> None:
        """Starts publishing."""
        self._thread.start()

    def stop(self) -> None:
        """Publishes what is left, and stops."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            self._publish()
        self._publish()

    def _publish(self) -> None:
        try:
            published: Published = defaultdict(Counter)
            for moment, value in self._collect():
                published[moment][value] += 1
            data: Mapping[str, list[MetricDatumTypeDef]] = defaultdict(list)
            for moment, counts in published.items():
                for values in batched(counts.items(), _MAX_VALUES, strict=False):
                    data[moment.namespace].append(moment.with_values(values))
            for namespace in data:
                for some in batched(data[namespace], _MAX_DATA, strict=False):
                    self._backend.client("cloudwatch").put_metric_data(
                        Namespace=namespace, MetricData=some
                    )
            self._use(published)
        except (BotoCoreError, ClientError) as error:
            logger.warning("metrics not published: %s", error)

    def _collect(self) -> Iterator[Datum]:
        for tail in self._tails:
            for line in tail.read():
                yield from embedded(line)
        for pool in self._pools:
            yield from pool.data()
        for url in self._queue_urls:
            yield from self._depths(url)

    def _depths(self, queue_url: str) -> Iterator[Datum]:
        attributes = self._backend.client("sqs").get_queue_attributes(
            QueueUrl=queue_url, AttributeNames=[*_DEPTHS]
        )["Attributes"]
        dimensions = (("QueueName", queue_url.rsplit("/", 1)[-1]),)
        for attribute, metric in _DEPTHS.items():
            moment = Moment("AWS/SQS", metric, dimensions, "Count", int(time.time()))
            yield moment, float(attributes[attribute])
