"""What a job takes of AWS stays below its ceiling, and is counted as AWS bills it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import replace

import pytest

from benchmarks.backlog import Waiting
from benchmarks.cost import FLOOR, Load, Part, bill, in_backlog
from benchmarks.metering import Item, index_units, write_units
from benchmarks.prices import PRICES
from benchmarks.scale import limits
from local.paths import REPOSITORY
from reportflow.jobs_table import BY_FILE_ID, BY_STATUS
from reportflow.rate_limiter import ITEM
from tests.simulation.process import Moment
from tests.simulation.run import deliver_calmly
from tests.simulation.upstream import one_job
from tests.simulation.world import World

REGION = PRICES["us-east-1"]


class Counting:
    """Lets everybody live, and counts units and calls."""

    def __init__(self) -> None:
        self.units: Counter[str] = Counter()
        self.partitions: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[str] = Counter()

    def dies(self, _function: str, call: str, moment: Moment) -> bool:
        if moment is Moment.BEFORE:
            self.calls[call.partition(" ")[0]] += 1
        return False

    @contextmanager
    def watching(self, world: World) -> Iterator[None]:
        check = world.table.written
        assert check is not None

        def written(job_id: str, before: Item, after: Item) -> None:
            check(job_id, before, after)
            if job_id != ITEM:
                self.units["record"] += write_units(before, after)
                self.partitions += index_units(before, after)

        world.table.written = written
        yield


@pytest.fixture(scope="module")
def counted() -> Counting:
    counting = Counting()
    deliver_calmly([one_job("job-1", 1)], counting, seed=2, change=counting.watching)
    return counting


def test_a_jobs_writes_stay_below_their_ceiling(counted: Counting) -> None:
    assert 0 < counted.units["record"] <= 4
    assert 0 < counted.partitions.total() <= 8


def test_no_partition_of_an_index_takes_more_than_three_writes_of_a_job(counted: Counting) -> None:
    assert 0 < max(counted.partitions.values()) <= 3


def test_a_jobs_calls_stay_below_their_ceiling(counted: Counting) -> None:
    assert counted.calls["GetItem"] <= 3
    assert counted.calls["SendMessage"] + counted.calls["SendMessageBatch"] <= 2
    assert counted.calls["PutObject"] == counted.calls["PutEvents"] == 1


def item(**values: str) -> Item:
    return {name: {"S": value} for name, value in values.items()}


def listed(status: str, moment: str, **more: str) -> Item:
    return item(jobId="job-1", status=status, updatedAt=moment, **more)


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        ({}, item(jobId="a"), 1),
        (item(jobId="a", x="y" * 1100), item(jobId="a"), 2),
        (item(jobId="a"), item(jobId="a", x="y" * 2100), 3),
    ],
    ids=["a small item", "a large one before", "a large one after"],
)
def test_a_write_takes_a_unit_for_each_kib_of_the_larger_item(
    before: Item, after: Item, units: int
) -> None:
    assert write_units(before, after) == units


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        ({}, listed("SUBMITTING", "1"), {(BY_STATUS, "SUBMITTING"): 1}),
        (
            listed("SUBMITTING", "1"),
            listed("SUBMITTED", "2", fileId="f"),
            {(BY_STATUS, "SUBMITTING"): 1, (BY_STATUS, "SUBMITTED"): 1, (BY_FILE_ID, "f"): 1},
        ),
        (listed("ARCHIVED", "1"), listed("ARCHIVED", "2"), {(BY_STATUS, "ARCHIVED"): 2}),
        (
            listed("ARCHIVED", "1"),
            listed("ARCHIVED", "1", messageId="m"),
            {(BY_STATUS, "ARCHIVED"): 1},
        ),
        (listed("ARCHIVED", "1"), listed("ARCHIVED", "1", tag="t"), {}),
    ],
    ids=["new", "another key", "another time", "what is projected", "what is not"],
)
def test_an_index_takes_two_writes_if_its_key_changes(
    before: Item, after: Item, units: Mapping[tuple[str, str], int]
) -> None:
    assert index_units(before, after) == units


def test_a_bill_grows_with_what_is_asked() -> None:
    usual = sum(bill(FLOOR, Load(), REGION).values())
    for load in (Load(request_kb=100), Load(size_mb=10)):
        assert sum(bill(FLOOR, load, REGION).values()) > usual
    twice = bill(replace(FLOOR, record_writes=4), Load(), REGION)
    assert twice[Part.WRITES] == 2 * bill(FLOOR, Load(), REGION)[Part.WRITES]


def test_a_share_in_a_backlog_is_billed_as_a_share() -> None:
    waiting = Waiting(gb_seconds=3, slot_writes=5, put_backs=3, invocations=4)
    none, half, whole = (in_backlog(FLOOR, waiting, share) for share in (0, 0.5, 1))
    assert none == FLOOR
    assert whole.gb_seconds == 3
    assert half.gb_seconds == pytest.approx((none.gb_seconds + whole.gb_seconds) / 2)


def test_reportflows_limit_breaks_first() -> None:
    units = replace(FLOOR, slot_writes=4, hot_writes=3)
    first, *others = limits(units)
    assert first.what.startswith("ReportFlow")
    assert first.used(first.jobs_per_second) == pytest.approx(1)
    assert all(first.jobs_per_second < other.jobs_per_second for other in others)


def test_make_cost_takes_a_teams_own_numbers() -> None:
    """A larger volume costs more, and each part is in the table."""

    def total(volume: int) -> float:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.cost", "--volume", str(volume)),
                *("--backlog", "0.3", "--region", "eu-central-1"),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": "layers/reportflow"},
            capture_output=True,
            text=True,
            check=True,
        )
        [line] = [line for line in done.stdout.splitlines() if "Together" in line]
        return float(line.split("$")[1].split(" ")[0].replace(",", ""))

    assert total(500_000) > total(50_000) > 0
