"""Which calls to AWS does a PDF take, and what of them is billed?

A candidate's three functions take jobs from the message to the archive, in full batches, with the
rate limit on. AWS is moto's server behind a meter, with the resources of the template.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from benchmarks.bench import Bar, Row
from benchmarks.candidates import Candidate, ours, peer
from benchmarks.deployment import deployed
from benchmarks.echo import SMALL_BYTES
from benchmarks.metering import Bill
from benchmarks.running import DOWNLOAD_BATCH, Run, running

STEPS: Final = 3
JOBS: Final = 20
REPORTFLOW_SECONDS: Final = 0.3
GIGABYTES: Final = 0.5
LAMBDAS_LOG_BYTES: Final = 400


@dataclass(frozen=True)
class Units:
    """What one PDF takes of AWS, on average."""

    calls: float
    """By the functions' SDK, of all services."""

    sqs: float
    """Requests: by the functions, by the sender, and Lambda's receives and deletes."""

    invocations: float
    gb_seconds: float
    """Without a wait for the rate limit."""

    api: float
    record_writes: float
    index_writes: float
    hot_writes: float
    """Of the busiest partition of an index."""

    slot_writes: float
    reads: float
    puts: float
    events: float
    log_bytes: float
    slots: float
    """Requests to ReportFlow."""

    @property
    def writes(self) -> float:
        """All write units."""
        return self.record_writes + self.index_writes + self.slot_writes


def measured(step: Callable[[str], None]) -> dict[str, Units]:
    """What a PDF takes of each candidate."""
    step("AWS calls: ours")
    mine = units(ours)
    step("AWS calls: ours, without the rate limit")
    unlimited = units(ours, {"reportflow_requests_per_minute": "0"})
    step("AWS calls: peer")
    # It has no index, and makes no completion checks.
    other = units(peer, checks=False)
    return {
        "ours": replace(mine, gb_seconds=unlimited.gb_seconds),
        "peer": replace(other, index_writes=0.0, hot_writes=0.0),
    }


def rows(units: Mapping[str, Units]) -> Iterator[Row]:
    """What is counted, as rows of the table."""
    mine, other = units["ours"], units["peer"]

    def row(what: str, value: Callable[[Units], float], unit: str = "") -> Row:
        return Row(what, unit, [value(mine)], [value(other)])

    calls = row("AWS calls a PDF, batches of 10 and 5", lambda each: each.calls)
    yield replace(calls, bar=9, kind=Bar.MOST)
    yield row("write units a PDF, indexes included", lambda each: each.writes)
    yield Row(
        "writes for a slot of the rate limit, batches of 10 and 5",
        "",
        [mine.slot_writes / mine.slots],
        floor=[(1 / 10 + 1 / 5) / 2],
        bar=0.6,
        kind=Bar.MOST,
    )
    yield row("read units a PDF", lambda each: each.reads)
    yield row("SQS requests a PDF", lambda each: each.sqs)
    invocations = row("invocations a PDF, full batches", lambda each: each.invocations)
    yield replace(invocations, floor=[1.2], bar=1.3, kind=Bar.MOST)
    yield row("function time a PDF", lambda each: each.gb_seconds, "GB-s")
    yield row("log a PDF", lambda each: each.log_bytes / 1000, "KB")


def units(
    candidate: Callable[[str], Candidate],
    settings: Mapping[str, str] | None = None,
    *,
    checks: bool = True,
) -> Units:
    """What a PDF takes with these deployment settings, and with completion checks if there are."""
    with (
        deployed(reportflow_seconds=REPORTFLOW_SECONDS, settings=settings) as deployment,
        running(candidate, deployment) as run,
    ):
        _work(run, 1, "first", checks=checks)
        run.seconds.clear()
        deployment.meter.bill = Bill()
        slots, logged = deployment.reportflow.counts()["reportflow"], run.log_bytes()
        _work(run, JOBS, "job", checks=checks)
        slots = deployment.reportflow.counts()["reportflow"] - slots
        logged = run.log_bytes() - logged
        return _units(deployment.meter.bill, run.seconds, slots, logged)


def _work(run: Run, jobs: int, name: str, *, checks: bool) -> None:
    """Bring jobs from the message to the archive."""
    due = run.submit(jobs, name)
    run.batches("downloader", run.report(name, SMALL_BYTES), DOWNLOAD_BATCH)
    if checks:
        run.batches("downloader", due, DOWNLOAD_BATCH)


def _units(bill: Bill, seconds: Mapping[str, Sequence[float]], slots: int, logged: int) -> Units:
    if bill.unknown:
        raise RuntimeError(f"the meter has no rule for {', '.join(sorted(bill.unknown))}: add one")
    invocations = sum(map(len, seconds.values()))
    from_queues = len(seconds["submitter"]) + len(seconds["downloader"])
    by_functions = sum(of for name, of in bill.calls.items() if name.startswith("sqs:"))
    together = Units(
        calls=sum(bill.calls.values()),
        sqs=by_functions + JOBS + 2 * from_queues,
        invocations=invocations,
        gb_seconds=GIGABYTES * sum(map(sum, seconds.values())),
        api=len(seconds["webhook"]),
        record_writes=bill.writes["job"],
        index_writes=bill.writes["index"],
        hot_writes=max(bill.partitions.values(), default=0),
        slot_writes=bill.writes["slot"],
        reads=bill.reads,
        puts=bill.calls["s3:PUT"],
        events=bill.calls["events:PutEvents"],
        # Lambda's own lines, START, END and REPORT, are about as long.
        log_bytes=logged + LAMBDAS_LOG_BYTES * invocations,
        slots=slots,
    )
    return Units(**{name: of / JOBS for name, of in asdict(together).items()})


if __name__ == "__main__":
    counted = measured(print)
    for name, of in counted.items():
        print(name, json.dumps(asdict(of), indent=1))
