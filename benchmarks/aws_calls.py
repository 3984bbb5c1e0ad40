"""Which calls to AWS does a PDF take, and what of them is billed?

A candidate's three functions take jobs from the message to the archive, in full batches, with the
rate limit on. AWS is moto's server behind a meter, with the resources of the template.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.bench import sqs_event, started, webhook
from benchmarks.candidates import FUNCTIONS, Candidate, ours, peer
from benchmarks.deployment import Deployment, deployed
from benchmarks.metering import Bill
from benchmarks.process import FunctionProcess
from tests.unit.samples import message_body

STEPS: Final = 2
JOBS: Final = 20
REQUEST_BATCH, DOWNLOAD_BATCH = 10, 5
REPORTFLOW_SECONDS: Final = 0.3
TIMEOUTS: Final[Mapping[str, float]] = {"submitter": 30, "webhook": 10, "downloader": 60}
GIGABYTES: Final = 0.5
SHARE_OF_PROCESSOR: Final = 0.29
"""What a function of 512 MB has, so that it computes so much longer."""


@dataclass(frozen=True)
class Units:
    """What one PDF takes of AWS, on average. The fields are those that prices are for."""

    calls: float
    """By the functions' SDK, of all services."""

    sqs: float
    """Requests: by the functions, by the sender, and Lambda's receives and deletes."""

    invocations: float
    gb_seconds: float
    api: float
    record_writes: float
    index_writes: float
    slot_writes: float
    reads: float
    puts: float
    events: float
    slots: float
    """Requests to ReportFlow that the rate limiter let through."""

    @property
    def writes(self) -> float:
        """All write units."""
        return self.record_writes + self.index_writes + self.slot_writes


class Run:
    """The functions of one candidate at work."""

    def __init__(self, deployment: Deployment, processes: Mapping[str, FunctionProcess]) -> None:
        self._deployment = deployment
        self._processes = processes
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        """How long the invocations of each function took on a Lambda of 512 MB."""

    def batches(self, function: str, bodies: Sequence[str], size: int) -> None:
        """Have a function work through messages, those that it returns included."""
        waiting = list(bodies)
        while waiting:
            event = sqs_event(waiting[:size])
            answer = self.invoke(function, event)
            failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
            again = [each["body"] for each in event["Records"] if each["messageId"] in failed]
            if len(again) == len(event["Records"]):
                # Its time has not come yet.
                time.sleep(1)
            waiting = [*waiting[size:], *again]

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401  (JSON)
        """Have a function handle an event."""
        process = self._processes[function]
        begun, computed = time.monotonic(), process.processor_seconds()
        answer = process.invoke(event, TIMEOUTS[function])
        computed = process.processor_seconds() - computed
        took = time.monotonic() - begun + computed * (1 / SHARE_OF_PROCESSOR - 1)
        self.seconds[function].append(took)
        return answer

    def jobs(self, count: int, name: str, *, checks: bool) -> None:
        """Bring so many jobs from the message to the archive; `checks` follow if there are any."""
        bodies = [message_body(jobId=f"{name}-{number}") for number in range(count)]
        self.batches("submitter", bodies, REQUEST_BATCH)
        due = self._deployment.queued("download_queue")
        for file_id in self._submitted(name):
            params = json.loads(bodies[0])["content"]["params"]
            file = {"fileId": file_id, "uuid": "u", "fileName": "invoice.pdf", "params": params}
            self.invoke("webhook", webhook(files=[file]))
        self.batches("downloader", self._deployment.queued("download_queue"), DOWNLOAD_BATCH)
        if checks:
            self.batches("downloader", due, DOWNLOAD_BATCH)

    def _submitted(self, name: str) -> list[str]:
        """The files that ReportFlow has promised."""
        table = self._deployment.variables["JOBS_TABLE"]
        items = self._deployment.backend.client("dynamodb").scan(TableName=table)["Items"]
        return [
            item["fileId"]["S"]
            for item in items
            if item["jobId"]["S"].startswith(f"{name}-") and "fileId" in item
        ]


def units(candidate: Callable[[str], Candidate], *, checks: bool) -> Units:
    """What a PDF takes; `checks` says whether the candidate's downloader handles checks."""
    with deployed(reportflow_seconds=REPORTFLOW_SECONDS) as deployment, ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                started(candidate(name), deployment.reportflow, variables=deployment.variables)
            )
            for name in FUNCTIONS
        }
        for process in processes.values():
            process.ready()
        Run(deployment, processes).jobs(1, "first", checks=checks)
        deployment.meter.bill = Bill()
        before = deployment.reportflow.counts()["reportflow"]
        run = Run(deployment, processes)
        run.jobs(JOBS, "job", checks=checks)
        slots = deployment.reportflow.counts()["reportflow"] - before
        return _units(deployment.meter.bill, run.seconds, slots)


def _units(bill: Bill, seconds: Mapping[str, Sequence[float]], slots: int) -> Units:
    invocations = sum(map(len, seconds.values()))
    from_queues = len(seconds["submitter"]) + len(seconds["downloader"])
    by_functions = sum(of for name, of in bill.calls.items() if name.startswith("sqs:"))
    a_job = {
        "calls": sum(bill.calls.values()),
        "sqs": by_functions + JOBS + 2 * from_queues,
        "invocations": invocations,
        "gb_seconds": GIGABYTES * sum(map(sum, seconds.values())),
        "api": len(seconds["webhook"]),
        "record_writes": bill.writes["job"],
        "index_writes": bill.writes["index"],
        "slot_writes": bill.writes["slot"],
        "reads": bill.reads,
        "puts": bill.calls["s3:PUT"],
        "events": bill.calls["events:PutEvents"],
        "slots": slots,
    }
    return Units(**{name: of / JOBS for name, of in a_job.items()})


if __name__ == "__main__":
    for of in (ours, peer):
        print(json.dumps(asdict(units(of, checks=of is ours)), indent=1))
