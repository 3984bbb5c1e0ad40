"""Each role allows what its function does, and nothing else."""

import json
from collections.abc import Iterator
from threading import Lock

import pytest

from local.emulator.fault_plan import Call as Point
from local.emulator.faults import CutAfter, Oversize, Status
from tests.pipeline.aws_proxy import Call, Failure, Operation
from tests.pipeline.conftest import FAULT_SETTINGS, PAYLOAD_BUCKET
from tests.pipeline.driver import body, new_id
from tests.pipeline.faulty import FaultySystem, Story, failed, on, run_faulty
from tests.pipeline.privileges import Privilege, granted_to, needed_for

FUNCTIONS = ("submitter", "webhook", "downloader")

BY_LAMBDA = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    *("logs:CreateLogStream", "logs:PutLogEvents"),
}
"""Lambda itself does this in a function's name: its event source, and its log."""

STORIES = {
    "good": Story(),
    # Without it, the downloader puts a message back only if a webhook happens to come early.
    "not-at-once": Story([on(Point.DOWNLOAD, Status(500))]),
    "never-answered": Story([on(Point.SUBMIT, CutAfter())]),
    "too-large": Story(
        [on(Point.DOWNLOAD, Oversize(2 * 1024 * 1024), None)], failed("FILE_TOO_LARGE", pdfs=1)
    ),
}


class StoresAndSaysNothing:
    """S3 stores an object and answers 500, once; the SDK tries again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._struck = False

    def __call__(self, operation: Operation) -> Failure | None:
        with self._lock:
            if self._struck or operation != Operation("s3", "PUT"):
                return None
            self._struck = True
        return Failure(500, "InternalError", forwarded=True)


@pytest.fixture(scope="module")
def system() -> Iterator[FaultySystem]:
    payloads = {"payload_buckets": PAYLOAD_BUCKET, "submitter_memory_mb": "1400"}
    # The webhook of the story that is never answered must come before the grace is over.
    grace = {"outcome_grace_seconds": "30", "orphan_grace_seconds": "60"}
    with run_faulty({**FAULT_SETTINGS, **payloads, **grace}) as running:
        yield running


def pointer(key: str) -> str:
    place = {"s3BucketName": PAYLOAD_BUCKET, "s3Key": key}
    return json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", place])


@pytest.fixture(scope="module")
def calls(system: FaultySystem) -> list[Call]:
    """What the functions ask AWS for when all has happened that their code provides for."""
    seen: list[Call] = []
    system.aws.observe = seen.append
    # What a function asks for before its first event is seen, too.
    for pool in system.system.pools.values():
        pool.configure({})
    system.aws.mischief = StoresAndSaysNothing()
    driver, s3 = system.driver, system.driver.s3
    large, refused = new_id("large"), new_id("refused")
    s3.put_object(Bucket=PAYLOAD_BUCKET, Key="there", Body=json.dumps(body(large)).encode())
    with system.until_idle():
        driver.send(pointer("there"))
        gone = driver.send(pointer("not there"))
        driver.send(body(refused, version=999))
        assert system.endings(STORIES) == {name: story.ending for name, story in STORIES.items()}
        for job_id, status in ((large, "ARCHIVED"), (refused, "FAILED"), (gone, "FAILED")):
            assert driver.ended(job_id)["status"] == status
    return seen


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_it_does_and_nothing_else(
    system: FaultySystem, calls: list[Call], function: str
) -> None:
    granted = granted_to(system.system.backend, function)
    needed: set[Privilege] = set()
    for call in calls:
        if function in call.caller.lower():
            needed |= set(needed_for(call))

    missing = {one for one in needed if not any(grant.covers(one) for grant in granted)}
    unused = {
        grant
        for grant in granted
        if grant.action not in BY_LAMBDA and not any(grant.covers(one) for one in needed)
    }
    assert (missing, unused) == (set(), set())


def test_every_call_is_some_functions(calls: list[Call]) -> None:
    callers = {call.caller for call in calls}

    assert len(callers) == len(FUNCTIONS)
    assert all(any(name in caller.lower() for name in FUNCTIONS) for caller in callers)
