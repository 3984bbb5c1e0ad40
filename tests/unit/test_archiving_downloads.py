import gzip
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import chain, cycle, product

import pytest

from reportflow import http_session
from reportflow.archiving import MEMORY_BYTES, Archiving
from reportflow.consumer import Invocation, Outcome
from reportflow.errors import Retryable
from reportflow.jobs import Job
from reportflow.queues import Record
from tests.unit.clock import Clock
from tests.unit.deliveries import INVOCATION_SECONDS
from tests.unit.peer import Peer, Received, answer, slowly
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import CHUNKED, OPEN_ENDED, chunked
from tests.unit.samples import (
    JOB_ID,
    MAX_FILE_BYTES,
    PDF,
    by_uuid,
    completed_body,
)

type Items = Callable[[str], dict[str, str]]
type Contents = Callable[[], list[bytes]]

CODED = CHUNKED.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
AND_LENGTH = CHUNKED.replace(b"Connection", b"Content-Length: 700\r\nConnection")

LARGE_PDF = PDF[:-20] + b"\n%" + b"x" * (2 * MEMORY_BYTES) + PDF[-20:]


@pytest.fixture
def slow_reads(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The test's clock limits a request, too, and moves on by a second with each read."""

    def read() -> float:
        clock.advance(1)
        return clock().timestamp()

    monkeypatch.setattr(http_session, "monotonic", read)
    return clock


def zipped(content: bytes, coding: str = "gzip") -> list[bytes]:
    return answer(200, gzip.compress(content), Content_Encoding=coding)


@pytest.mark.parametrize("content", [PDF, LARGE_PDF], ids=["small", "spooled to disk"])
@pytest.mark.parametrize(
    "respond",
    [
        lambda content: answer(200, content, Content_Type="application/pdf"),
        lambda content: [OPEN_ENDED, content],
        lambda content: chunked([content[:10], content[10:]]),
        zipped,
        lambda content: [CODED, *list(chunked([gzip.compress(content)]))[1:]],
        lambda content: [AND_LENGTH, *list(chunked([content[:700], content[700:]]))[1:]],
        lambda content: answer(200, content, Content_Length=f"{len(content)}, {len(content)}"),
        lambda content: answer(200, content, Content_Encoding="aws-chunked"),
        lambda content: answer(200, content, Content_Type="text/html"),
    ],
    ids=[
        "of known length",
        "until the end of the connection",
        "chunked",
        "gzip, of known length",
        "gzip, chunked",
        "chunked and of known length",
        "its length twice",
        "an unknown coding",
        "called a page",
    ],
)
def test_a_finished_file_is_archived_byte_for_byte(
    *,
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
    content: bytes,
    respond: Callable[[bytes], Iterable[bytes]],
) -> None:
    peer.respond = lambda _: respond(content)

    assert archiving(record, invocation) is Outcome.ARCHIVED

    kept = item(JOB_ID)
    assert contents() == [content]
    assert (kept["status"], int(kept["size"])) == ("ARCHIVED", len(content))
    assert kept["archiveKey"] == job.key()


def test_the_file_is_asked_for_by_the_webhooks_uuid(
    archiving: Archiving, peer: Peer, job: Job, queues: QueuePair, invocation: Invocation
) -> None:
    archiving(queues.deliver(completed_body(reference=by_uuid("other-uuid"))), invocation)

    assert peer.received[0].target == f"/v1/file/download/other-uuid/{job.file_id}"


@pytest.mark.parametrize(
    ("respond", "code"),
    [
        (lambda: [zipped(PDF)[0], gzip.compress(PDF)[:-9]], "TRUNCATED"),
        (lambda: [CODED, *list(chunked([gzip.compress(PDF)]))[1:-1]], "TRUNCATED"),
        (lambda: answer(200, PDF, Content_Encoding="gzip"), "UNREADABLE_CODING"),
    ],
    ids=["gzip, cut", "gzip in chunks, cut", "not gzip at all"],
)
@pytest.mark.usefixtures("job")
def test_a_coded_file_that_is_not_whole_is_asked_for_again(
    archiving: Archiving,
    peer: Peer,
    record: Record,
    contents: Contents,
    invocation: Invocation,
    respond: Callable[[], list[bytes]],
    code: str,
) -> None:
    peer.respond = lambda _: respond()

    with pytest.raises(Retryable, match=code):
        archiving(record, invocation)
    assert contents() == []


# `test_pdf` has the lengths in between; here each way to send a body meets the boundaries.
# Nothing shows, without a length, that only the end of the body's last line is missing.
CUTS = [
    *product(
        ["of known length", "until the end of the connection", "chunked"],
        [0, 60, len(PDF) - 8],
    ),
    ("of known length", len(PDF) - 1),
    ("chunked", len(PDF) - 1),
]


@pytest.mark.parametrize(("kind", "length"), CUTS)
def test_a_cut_file_is_asked_for_again(
    *,
    archiving: Archiving,
    peer: Peer,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
    kind: str,
    length: int,
) -> None:
    head, _ = answer(200, PDF, Content_Type="application/pdf")
    parts = {
        "of known length": [head, PDF[:length]],
        "until the end of the connection": [OPEN_ENDED, PDF[:length]],
        "chunked": [CHUNKED, f"{len(PDF):x}\r\n".encode(), PDF[:length]],
    }[kind]
    peer.respond = lambda _: parts

    with pytest.raises(Retryable, match="TRUNCATED") as failed:
        archiving(record, invocation)
    assert failed.value.job_id == job.job_id
    assert contents() == []
    assert item(JOB_ID)["status"] == "SUBMITTED"

    peer.respond = lambda _: answer(200, PDF)
    assert archiving(record, invocation) is Outcome.ARCHIVED
    assert contents() == [PDF]


@pytest.mark.usefixtures("job")
def test_chunks_without_an_end_are_a_cut_file(
    archiving: Archiving, peer: Peer, record: Record, invocation: Invocation
) -> None:
    peer.respond = lambda _: list(chunked([PDF]))[:-1]

    with pytest.raises(Retryable, match="TRUNCATED"):
        archiving(record, invocation)


@pytest.mark.usefixtures("job")
def test_a_page_in_place_of_the_file_can_be_gone_the_next_time(
    archiving: Archiving,
    peer: Peer,
    record: Record,
    contents: Contents,
    invocation: Invocation,
) -> None:
    peer.respond = lambda _: answer(200, b"<html>Busy</html>", Content_Type="text/html")

    with pytest.raises(Retryable, match="UNEXPECTED_CONTENT_TYPE"):
        archiving(record, invocation)
    assert contents() == []


@pytest.mark.parametrize(
    ("respond", "code"),
    [
        (lambda _: answer(200, b"<html>", Content_Type="application/pdf"), "NOT_A_PDF"),
        (lambda _: answer(200, b"PK\x03\x04 archive"), "NOT_A_PDF"),
        (lambda _: [OPEN_ENDED, PDF, b"x" * MAX_FILE_BYTES], "FILE_TOO_LARGE"),
    ],
    ids=["HTML", "ZIP", "too long"],
)
def test_a_file_that_will_never_be_right_ends_the_job(
    *,
    archiving: Archiving,
    peer: Peer,
    queues: QueuePair,
    job: Job,
    record: Record,
    item: Items,
    contents: Contents,
    invocation: Invocation,
    respond: Callable[[Received], Iterable[bytes]],
    code: str,
) -> None:
    peer.respond = respond

    assert archiving(record, invocation) is Outcome.FAILED

    failed = item(JOB_ID)
    (letter,) = queues.dead_letters()
    assert letter["Body"] == record.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == failed["errorCode"] == code
    assert letter["MessageAttributes"]["jobId"]["StringValue"] == job.job_id
    assert (failed["status"], failed["failedStep"]) == ("FAILED", "archive")
    assert contents() == []


@pytest.mark.parametrize("kind", ["open-ended", "one chunk"])
@pytest.mark.usefixtures("job")
def test_a_trickle_is_given_up_with_time_left_for_the_archive(
    *,
    archiving: Archiving,
    peer: Peer,
    record: Record,
    contents: Contents,
    slow_reads: Clock,
    invocation: Invocation,
    kind: str,
) -> None:
    """It never ends, so that the reader must."""
    head = {"open-ended": [OPEN_ENDED], "one chunk": [CHUNKED, b"ffffff\r\n"]}[kind]
    peer.respond = lambda _: chain(head, slowly(PDF[:10]), slowly(cycle(b"x")))

    with pytest.raises(Retryable, match="DOWNLOAD_TOO_SLOW"):
        archiving(record, invocation)
    assert slow_reads() < invocation.deadline - timedelta(seconds=INVOCATION_SECONDS / 10)
    assert contents() == []
