"""The three functions of a candidate, run in an emulated deployment."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from benchmarks.bench import sqs_event, started, webhook
from benchmarks.candidates import FUNCTIONS, Candidate
from benchmarks.deployment import Deployment
from benchmarks.process import FunctionProcess
from tests.unit.samples import content, message_body

REQUEST_BATCH: Final = 10
DOWNLOAD_BATCH: Final = 5
TIMEOUTS: Final[Mapping[str, float]] = {"submitter": 30, "webhook": 10, "downloader": 60}
SHARE_OF_PROCESSOR: Final = 0.29
"""What a function of 512 MB has, so that it computes so much longer."""


class Run:
    """The functions of one candidate, and what their invocations took."""

    def __init__(self, deployment: Deployment, processes: Mapping[str, FunctionProcess]) -> None:
        self._deployment = deployment
        self._processes = processes
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        """How long the invocations of each function would take on a Lambda of 512 MB."""

        self.wall_seconds: defaultdict[str, list[float]] = defaultdict(list)
        """How long they took here."""

    def log_bytes(self) -> int:
        """What all functions have logged."""
        return sum(process.log_bytes() for process in self._processes.values())

    def peak_bytes(self, function: str) -> int:
        """The most memory that a function has occupied."""
        return self._processes[function].peak_bytes()

    def batches(self, function: str, bodies: Sequence[str], size: int) -> None:
        """Have a function work through messages, those that it returns included."""
        waiting = [(body, 1) for body in bodies]
        while waiting:
            batch, waiting = waiting[:size], waiting[size:]
            event = sqs_event([body for body, _ in batch], [receives for _, receives in batch])
            answer = self.invoke(function, event)
            failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
            again = [
                (body, receives + 1)
                for (body, receives), record in zip(batch, event["Records"], strict=True)
                if record["messageId"] in failed
            ]
            if len(again) == len(batch):
                # Their time has not come yet.
                time.sleep(1)
            waiting += again

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401  (JSON)
        """Have a function handle an event."""
        process = self._processes[function]
        begun, computed = time.monotonic(), process.processor_seconds()
        answer = process.invoke(event, TIMEOUTS[function])
        computed = process.processor_seconds() - computed
        took = time.monotonic() - begun
        self.wall_seconds[function].append(took)
        self.seconds[function].append(took + computed * (1 / SHARE_OF_PROCESSOR - 1))
        return answer

    def submit(self, count: int, name: str) -> list[str]:
        """Submit so many jobs, and return the completion checks that they queue."""
        bodies = [message_body(jobId=f"{name}-{number}") for number in range(count)]
        self.batches("submitter", bodies, REQUEST_BATCH)
        return self._deployment.queued("download_queue")

    def report(self, name: str, size: int) -> list[str]:
        """Report the jobs' files, of `size` bytes each, and return what this queues."""
        for file_id in self._submitted(name):
            file = {**content(), "fileId": file_id, "uuid": f"u-{size}"}
            self.invoke("webhook", webhook(files=[file]))
        return self._deployment.queued("download_queue")

    def _submitted(self, name: str) -> list[str]:
        """The files that ReportFlow has promised."""
        table = self._deployment.variables["JOBS_TABLE"]
        items = self._deployment.backend.client("dynamodb").scan(TableName=table)["Items"]
        return [
            item["fileId"]["S"]
            for item in items
            if item["jobId"]["S"].startswith(f"{name}-") and "fileId" in item
        ]


@contextmanager
def running(
    candidate: Callable[[str], Candidate],
    deployment: Deployment,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Start a candidate's functions; `variables` differ from the deployment's."""
    environment = {**deployment.variables, **(variables or {})}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                started(candidate(name), deployment.reportflow, variables=environment)
            )
            for name in FUNCTIONS
        }
        for process in processes.values():
            process.ready()
        yield Run(deployment, processes)
