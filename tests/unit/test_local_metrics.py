"""The emulated CloudWatch has what the functions print, and what Lambda and SQS would report."""

import contextlib
import io
import json
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from local import metrics
from local.backend import Backend, BackendKind
from local.lambda_process import InvocationFailed
from local.metrics import LogTail, MeasuredPool, MetricsPublisher, Published, embedded
from reportflow import observability
from tests.conftest import Backends
from tests.unit.small_functions import make_function

# Prints a metric and its newline as one, and something that only looks like a metric.
TALKER = """
    import json

    def handler(event, context):
        if "fail" in event:
            raise ValueError("as asked")
        print('{"_aws": half a line')
        print(json.dumps(event["print"]))
        return {}
"""


@pytest.fixture(scope="module", params=list(BackendKind))
def backend(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    return backends(request.param)


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"Namespace-{uuid4().hex[:8]}"
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", name)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "submitter")
    return name


def printed() -> list[bytes]:
    """What the functions' own code prints of three failures, two of them for a reason."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        observability.count("HTTP_404", Failed=2)
        observability.count(Failed=1)
        observability.measure(ArchiveSeconds=1.5)
    return output.getvalue().encode().splitlines()


def total(backend: Backend, namespace: str, name: str, **dimensions: str) -> float:
    """The sum of a metric's values of the last hour."""
    now = datetime.now(UTC)
    answer = backend.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=5),
        MetricDataQueries=[
            {
                "Id": "asked",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": name,
                        "Dimensions": [
                            {"Name": key, "Value": value} for key, value in dimensions.items()
                        ],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
            }
        ],
    )
    return sum(answer["MetricDataResults"][0]["Values"])


def test_what_the_functions_emit_is_read_with_its_dimensions(namespace: str) -> None:
    data = [datum for line in printed() for datum in embedded(line)]
    service, reason = ("service", "submitter"), ("reason", "HTTP_404")
    read = {(moment.name, frozenset(moment.dimensions)): 0.0 for moment, _ in data}
    for moment, value in data:
        assert moment.namespace == namespace
        assert abs(time.time() - moment.second) < 60
        read[moment.name, frozenset(moment.dimensions)] += value
    assert read == {
        ("Failed", frozenset({service})): 3,
        ("Failed", frozenset({service, reason})): 2,
        ("ArchiveSeconds", frozenset({service})): 1.5,
    }
    units = {moment.name: moment.unit for moment, _ in data}
    assert units == {"Failed": "Count", "ArchiveSeconds": "Seconds"}


def test_several_values_of_one_metric_are_all_read() -> None:
    line = {
        "_aws": {
            "Timestamp": 1_700_000_000_000,
            "CloudWatchMetrics": [
                {"Namespace": "Ours", "Dimensions": [[]], "Metrics": [{"Name": "Seconds"}]}
            ],
        },
        "Seconds": [1, 2.5],
    }
    assert [value for _, value in embedded(json.dumps(line).encode())] == [1, 2.5]


@pytest.mark.parametrize(
    "line", [b"", b"START RequestId", b'{"message": "a log"}', b'{"_aws": half', b'{"a": "_aws"}']
)
def test_other_lines_hold_no_metric(line: bytes) -> None:
    assert list(embedded(line)) == []


def test_a_line_is_read_when_it_is_whole_and_once(tmp_path: Path) -> None:
    log = tmp_path / "function.log"
    tail = LogTail(log)
    assert tail.read() == []
    log.write_bytes(b"first\nsec")
    assert tail.read() == [b"first"]
    assert tail.read() == []
    with log.open("ab") as more:
        more.write(b"ond\nthird\n")
    assert tail.read() == [b"second", b"third"]


def test_a_long_log_is_read_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_READ_BYTES", 10)
    log = tmp_path / "function.log"
    log.write_bytes(b"one\ntwo\nthree\n" + b"x" * 25 + b"\nfour\n")
    tail = LogTail(log)
    read = [line for _ in range(10) for line in tail.read()]
    assert read[:3] == [b"one", b"two", b"three"]
    assert read[-1] == b"four"


def test_what_is_printed_and_what_lambda_and_sqs_report_is_published(
    backend: Backend, tmp_path: Path, namespace: str
) -> None:
    function = make_function(tmp_path, TALKER, name=f"talker-{uuid4().hex[:8]}")
    pool = MeasuredPool(function, backend, work_dir=tmp_path / "logs", max_processes=1)
    sqs = backend.client("sqs")
    queue = sqs.create_queue(QueueName=function.name)["QueueUrl"]
    for body in ("is in flight", "waits"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=1)
    heard: Counter[str] = Counter()

    def hear(told: Published) -> None:
        heard.update({moment.name: counts.total() for moment, counts in told.items()})

    publisher = MetricsPublisher(backend, [pool], [queue], hear)
    with closing(pool):
        publisher.start()
        for line in printed():
            pool.invoke(json.dumps({"print": json.loads(line)}).encode())
        with pytest.raises(InvocationFailed):
            pool.invoke(b'{"fail": true}')
        publisher.stop()
    assert total(backend, namespace, "Failed", service="submitter") == 3
    assert total(backend, namespace, "Failed", service="submitter", reason="HTTP_404") == 2
    assert total(backend, namespace, "ArchiveSeconds", service="submitter") == 1.5
    of_function = {"FunctionName": function.name}
    assert total(backend, "AWS/Lambda", "Invocations", **of_function) == len(printed()) + 1
    assert total(backend, "AWS/Lambda", "Errors", **of_function) == 1
    assert total(backend, "AWS/Lambda", "Duration", **of_function) > 0
    for state in ("Visible", "NotVisible"):
        name = f"ApproximateNumberOfMessages{state}"
        assert total(backend, "AWS/SQS", name, QueueName=function.name) == 1
    assert heard["Invocations"] == heard["Duration"] == len(printed()) + 1


def test_a_backend_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    gone = Backend(BackendKind.MOTO, "http://127.0.0.1:1")
    queue = f"{gone.endpoint_url}/123456789012/queue"
    publisher = MetricsPublisher(gone, [], [queue], lambda _: None)
    with closing(gone):
        publisher.start()
        publisher.stop()
