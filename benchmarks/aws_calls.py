"""Which calls to AWS does a PDF take, and what of them is billed?

A candidate's three functions take jobs from the message to the archive, in full batches, with the
rate limit on. AWS is moto's server behind a meter, with the resources of the template.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from benchmarks.candidates import Candidate, ours, peer
from benchmarks.deployment import deployed
from benchmarks.echo import SMALL_BYTES
from benchmarks.metering import Bill
from benchmarks.running import DOWNLOAD_BATCH, Run, running

STEPS: Final = 2
JOBS: Final = 20
REPORTFLOW_SECONDS: Final = 0.3
GIGABYTES: Final = 0.5


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


def units(candidate: Callable[[str], Candidate], *, whole: bool) -> Units:
    """What a PDF takes; `whole` is a candidate whose table has indexes and that handles checks."""
    with (
        deployed(reportflow_seconds=REPORTFLOW_SECONDS) as deployment,
        running(candidate, deployment) as run,
    ):
        _work(run, 1, "first", whole=whole)
        run.seconds.clear()
        deployment.meter.bill = Bill()
        before = deployment.reportflow.counts()["reportflow"]
        _work(run, JOBS, "job", whole=whole)
        slots = deployment.reportflow.counts()["reportflow"] - before
        counted = _units(deployment.meter.bill, run.seconds, slots)
        return counted if whole else replace(counted, index_writes=0.0)


def _work(run: Run, jobs: int, name: str, *, whole: bool) -> None:
    """Bring jobs from the message to the archive."""
    checks = run.submit(jobs, name)
    run.batches("downloader", run.announce(name, SMALL_BYTES), DOWNLOAD_BATCH)
    if whole:
        run.batches("downloader", checks, DOWNLOAD_BATCH)


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
        print(json.dumps(asdict(units(of, whole=of is ours)), indent=1))
