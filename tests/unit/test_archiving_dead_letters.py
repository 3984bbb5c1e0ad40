"""A job that failed for good has one dead letter, whichever of its messages comes after."""

from collections.abc import Callable
from copy import replace
from typing import Any
from uuid import uuid4

import pytest

from local.backend import Backend
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.consumer import Outcome
from reportflow.errors import Held, Retryable, Unavailable
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    COMPLETION_DEADLINE,
    MAX_ATTEMPTS,
    MAX_RECEIVES,
    ORPHAN_GRACE,
    next_invocation,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import JOB_ID, PDF

type Items = Callable[[str], dict[str, str]]

NOT_A_PDF = b"PK\x03\x04 archive"


@pytest.fixture
def no_bucket(archiving: Archiving, aws: Backend) -> None:
    """The archive takes nothing."""
    archiving.archive = S3Archive(aws.client("s3"), f"missing-{uuid4()}")


def give_up(archiving: Archiving, record: Record, clock: Clock) -> None:
    for _ in range(1, MAX_ATTEMPTS):
        with pytest.raises(Unavailable):
            archiving(record, next_invocation(clock))
    assert archiving(record, next_invocation(clock)) is Outcome.FAILED


def codes(queues: QueuePair) -> list[str]:
    return [reason["errorCode"] for reason in queues.dead_letter_reasons()]


@pytest.mark.usefixtures("job")
def test_another_reason_has_a_dead_letter_of_its_own(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    record: Record,
    check: Record,
    item: Items,
    clock: Clock,
) -> None:
    """The check never saw the file that the webhook now reports."""
    peer.respond = lambda _: answer(404)
    clock.advance(COMPLETION_DEADLINE.total_seconds())
    assert archiving(check, next_invocation(clock)) is Outcome.FAILED
    assert item(JOB_ID)["errorCode"] == "NO_COMPLETION"
    peer.respond = lambda _: answer(200, NOT_A_PDF)

    assert archiving(record, next_invocation(clock)) is Outcome.FAILED

    assert item(JOB_ID)["errorCode"] == "NOT_A_PDF"
    assert sorted(codes(queues)) == ["NOT_A_PDF", "NO_COMPLETION"]


@pytest.mark.usefixtures("job")
def test_a_redriven_dead_letter_whose_file_is_gone_is_dead_lettered_again(
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    record: Record,
    item: Items,
    clock: Clock,
) -> None:
    """Its check ended quietly when the job failed: nothing else is left of the job."""
    peer.respond = lambda _: answer(200, NOT_A_PDF)
    assert archiving(record, next_invocation(clock)) is Outcome.FAILED
    again = replace(queues.redrive(), sent_at=clock())
    peer.respond = lambda _: answer(404)
    with pytest.raises(Held, match="FILE_UNKNOWN"):
        archiving(again, next_invocation(clock))
    clock.advance(ORPHAN_GRACE.total_seconds())

    assert archiving(again, next_invocation(clock)) is Outcome.FAILED

    assert item(JOB_ID)["errorCode"] == "FILE_GONE"
    assert "FILE_GONE" in codes(queues)


@pytest.mark.parametrize("redriven", ["webhook", "check"])
@pytest.mark.usefixtures("job", "no_bucket")
def test_a_redriven_dead_letter_that_fails_again_is_dead_lettered_again(
    archiving: Archiving,
    queues: QueuePair,
    record: Record,
    check: Record,
    item: Items,
    clock: Clock,
    redriven: str,
) -> None:
    give_up(archiving, record if redriven == "webhook" else check, clock)
    again = replace(queues.redrive(), sent_at=clock())

    give_up(archiving, again, clock)

    assert codes(queues) == ["AWS_NoSuchBucket"]
    assert item(JOB_ID)["status"] == "FAILED"


@pytest.mark.usefixtures("job")
def test_a_redriven_dead_letter_is_left_although_another_delivery_failed_the_job_meanwhile(
    archiving: Archiving, peer: Peer, queues: QueuePair, record: Record, clock: Clock
) -> None:
    """Its dead letter was redriven before the record said that the job had failed."""
    redriven = replace(record, attributes={"errorCode": {"stringValue": "X", "dataType": "String"}})

    def overtaken(_: Received) -> list[bytes]:
        peer.respond = lambda _: answer(200, NOT_A_PDF)
        assert archiving(record, next_invocation(clock)) is Outcome.FAILED
        return answer(200, NOT_A_PDF)

    peer.respond = overtaken

    assert archiving(redriven, next_invocation(clock)) is Outcome.FAILED
    assert codes(queues) == ["NOT_A_PDF", "NOT_A_PDF"]


@pytest.mark.usefixtures("job")
def test_a_message_at_its_end_does_not_wait_for_the_archive(
    *,
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    record: Record,
    item: Items,
    clock: Clock,
    listen: Callable[..., Peer],
    client_at: Callable[[str, str], Any],
) -> None:
    """S3 shows nobody what it holds: SQS's own redrive would give no reason."""
    denied = listen(lambda _: answer(403))
    archiving.archive = S3Archive(client_at("s3", denied.url), "archive")
    peer.respond = lambda _: answer(200, PDF)
    with pytest.raises(Retryable):
        archiving(replace(record, receive_count=MAX_RECEIVES - 1), next_invocation(clock))

    last = replace(record, receive_count=MAX_RECEIVES)

    assert archiving(last, next_invocation(clock)) is Outcome.FAILED
    assert codes(queues) == ["RECEIVES_USED_UP"]
    assert item(JOB_ID)["status"] == "FAILED"
