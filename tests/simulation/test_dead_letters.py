"""The archive refuses, as by a bucket's policy: an operator's redrive brings each job to its end
once the archive takes PDFs again, wherever a process dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from reportflow.jobs import JobStatus
from tests.simulation import process
from tests.simulation.faults import Fault
from tests.simulation.run import deliver_calmly
from tests.simulation.scheduler import DAY
from tests.simulation.storage import S3Client
from tests.simulation.test_crash_points import DiesOnce
from tests.simulation.upstream import one_job
from tests.simulation.world import World

JOBS = tuple(one_job(f"job-{number}", number) for number in range(5))
DENIED = ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")


@dataclass
class Policy:
    """The bucket's: denies each PutObject until it is fixed."""

    denies: bool = True


@contextmanager
def denying(policy: Policy) -> Iterator[None]:
    put_object = S3Client.put_object

    def put(self: S3Client, **call: Any) -> Any:
        return self._process.aws("PutObject", refuse) if policy.denies else put_object(self, **call)

    def refuse() -> Any:
        process.current().chaos.note(Fault.AWS_DENIED)
        raise DENIED

    with patch.object(S3Client, "put_object", put):
        yield


def redrive_all(world: World) -> None:
    for letter in list(world.download_dlq.messages.values()):
        world.redrive(letter, world.download_dlq, world.downloads)


@contextmanager
def fixed_on_the_third_day(world: World) -> Iterator[None]:
    """An operator redrives in vain, and again when the policy is fixed."""
    policy = Policy()

    def fix() -> None:
        policy.denies = False
        redrive_all(world)

    world.scheduler.after(2 * DAY, lambda: redrive_all(world))
    world.scheduler.after(3 * DAY, fix)
    with denying(policy):
        yield


def test_wherever_a_process_dies_a_redrive_brings_every_job_to_its_final_state() -> None:
    def run(fates: DiesOnce) -> World:
        return deliver_calmly(JOBS[:1], fates, max_attempts=2, change=fixed_on_the_third_day)

    counting = DiesOnce()
    undisturbed = run(counting)
    assert undisturbed.checker.violations == []
    assert len(counting.points) > 100

    broken: list[object] = []
    for number, point in enumerate(counting.points):
        world = run(DiesOnce(number))
        states = [item["status"]["S"] for item in world.table.items.values()]
        left = len(world.download_dlq.messages)
        if world.checker.violations or states != [JobStatus.ARCHIVED] or left:
            broken.append((number, point, world.checker.violations, states, left))
    assert broken == []
