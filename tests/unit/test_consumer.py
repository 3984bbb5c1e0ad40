import json
import random
import threading
from collections import Counter
from copy import replace
from datetime import UTC, datetime, timedelta

import pytest

from reportflow.consumer import MAX_DELAY_SECONDS, UNEXPECTED, Invocation, Outcome, Work, consume
from reportflow.errors import CredentialsRefused, Held, OutcomeUnknown, Retryable, Throttled
from reportflow.jobs_table import JobsTable
from reportflow.queues import Record
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import HalfAMinute
from tests.unit.peer import Peer, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.samples import message_body

INVOCATION = Invocation(datetime(2026, 4, 1, tzinfo=UTC))


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def fail(error: Exception) -> Work:
    def work(_record: Record, _invocation: Invocation) -> Outcome:
        raise error

    return work


def test_the_ten_records_of_a_batch_are_in_flight_at_the_same_time(
    submission: Submission,
    jobs: JobsTable,
    queues: QueuePair,
    peer: Peer,
    clock: Clock,
    invocation: Invocation,
    rng: random.Random,
) -> None:
    all_there = threading.Barrier(10)

    def accept(_: object) -> list[bytes]:
        number = all_there.wait(timeout=20)  # Breaks, and no answer goes out, if one is missing.
        return answer(202, json.dumps({"fileId": f"file_{number}", "url": "u"}).encode())

    peer.respond = accept
    for number in range(10):
        queues.send(message_body(jobId=f"job-{number}"))
    batch = queues.receive()
    assert len(batch) == 10

    response = consume(batch, submission, queues.queue, invocation, rng=rng, clock=clock)

    assert response == {"batchItemFailures": []}
    assert all(jobs.find_by_file_id(f"file_{number}") for number in range(10))


def test_one_that_fails_keeps_none_of_the_others_back(
    queues: QueuePair, rng: random.Random
) -> None:
    for body in ("good", "later", "broken", "good"):
        queues.send(body)
    batch = queues.receive()
    done: list[str] = []

    def work(record: Record, _: Invocation) -> Outcome:
        if record.body == "later":
            raise Retryable("CODE", "message")
        if record.body == "broken":
            raise ZeroDivisionError
        done.append(record.message_id)
        return Outcome.SUBMITTED

    response = consume(batch, work, queues.queue, INVOCATION, rng=rng, clock=Clock())

    returned = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
    assert returned == {record.message_id for record in batch if record.body != "good"}
    assert len(done) == 2


def test_an_empty_batch_is_done(queues: QueuePair, rng: random.Random) -> None:
    work = fail(ZeroDivisionError())

    assert consume([], work, queues.queue, INVOCATION, rng=rng, clock=Clock()) == {
        "batchItemFailures": []
    }


@pytest.mark.parametrize(
    ("asked", "given"),
    [(0.0, 0), (7.0, 7), (900.0, 900), (10.0**9, MAX_DELAY_SECONDS)],
)
def test_a_delay_of_our_own_is_kept(
    queues: QueuePair, rng: random.Random, asked: float, given: float
) -> None:
    queues.send("{}")
    error = Held("CODE", "message", delay_seconds=asked)

    with queues.visibility_changes() as changes:
        consume(queues.receive(), fail(error), queues.queue, INVOCATION, rng=rng, clock=Clock())

    assert changes == [given]


@pytest.mark.parametrize("kind", [Retryable, Throttled])
def test_what_reportflow_asks_for_is_the_least_and_still_grows(
    queues: QueuePair, rng: random.Random, kind: type[Retryable]
) -> None:
    """If the answer is "in seven seconds" for days, a message still comes less and less often."""
    record = queues.deliver("{}")
    work = fail(kind("CODE", "message", delay_seconds=7.0))
    longest = []
    for receive_count in (1, 12):
        again = replace(record, receive_count=receive_count)
        with queues.visibility_changes() as changes:
            for _ in range(12):
                consume([again], work, queues.queue, INVOCATION, rng=rng, clock=Clock())
        assert min(changes) >= 7
        longest.append(max(changes))

    assert longest[0] == 7
    assert longest[1] > 64


@pytest.mark.parametrize(
    ("kind", "between"),
    [
        (Retryable, [(0, 2), (2, 64), (64, 900)]),
        (CredentialsRefused, [(2, 60), (600, 1920), (1920, MAX_DELAY_SECONDS)]),
    ],
)
def test_without_one_the_delay_grows_with_the_number_of_receives(
    queues: QueuePair,
    rng: random.Random,
    kind: type[Retryable],
    between: list[tuple[float, float]],
) -> None:
    """A person has to fix refused keys, which takes longer than any outage should."""
    record = queues.deliver("{}")
    longest = []
    for receive_count in (1, 6, 12):
        again = replace(record, receive_count=receive_count)
        with queues.visibility_changes() as changes:
            for _ in range(12):
                work = fail(kind("CODE", "message"))
                consume([again], work, queues.queue, INVOCATION, rng=rng, clock=Clock())
        longest.append(max(changes))

    for seconds, (least, most) in zip(longest, between, strict=True):
        assert least < seconds <= most


def test_a_bug_of_ours_leaves_the_message_to_the_visibility_timeout(
    queues: QueuePair, rng: random.Random
) -> None:
    record = queues.deliver("{}")

    with queues.visibility_changes() as changes:
        response = consume(
            [record], fail(KeyError("x")), queues.queue, INVOCATION, rng=rng, clock=Clock()
        )

    assert changes == []
    assert response["batchItemFailures"] == [{"itemIdentifier": record.message_id}]


def test_a_queue_that_refuses_the_delay_keeps_the_message(
    queues: QueuePair, rng: random.Random
) -> None:
    record = queues.deliver("{}")
    stale = replace(record, receipt_handle="not a handle")

    response = consume(
        [stale], fail(Retryable("C", "m")), queues.queue, INVOCATION, rng=rng, clock=Clock()
    )

    assert response["batchItemFailures"] == [{"itemIdentifier": record.message_id}]


def test_outcomes_are_counted_as_metrics(
    queues: QueuePair, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    for body in ("Archived", "Duplicates", "Archived", "again"):
        queues.send(body)

    def work(record: Record, _: Invocation) -> Outcome:
        if record.body == "again":
            raise Held("CODE", "message", delay_seconds=60)
        return Outcome(record.body)

    consume(queues.receive(), work, queues.queue, INVOCATION, rng=rng, clock=Clock())

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    emitted_as = {
        (name, line.get("reason")): sum(line[name])
        for line in lines
        if "_aws" in line
        for name in ("Archived", "Duplicates", "Returned", "Failed")
        if name in line
    }
    assert emitted_as == {
        ("Archived", None): 2,
        ("Duplicates", None): 1,
        ("Returned", None): 1,
        ("Returned", "CODE"): 1,
    }


def test_what_comes_back_is_counted_once_and_under_its_reason(
    queues: QueuePair, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in ("HTTP_503", "HTTP_429", "HTTP_503", "bug", "not to be retried"):
        queues.send(code)

    def work(record: Record, _: Invocation) -> Outcome:
        if record.body == "bug":
            raise ZeroDivisionError
        if record.body == "not to be retried":
            raise OutcomeUnknown("HTTP_504", "nobody took care of it")
        raise Retryable(record.body, "message")

    consume(queues.receive(), work, queues.queue, INVOCATION, rng=rng, clock=Clock())

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    returned: Counter[str] = Counter()
    for line in lines:
        if "Returned" in line:
            returned[line.get("reason", "in all")] += sum(line["Returned"])
    assert returned == {"in all": 5, "HTTP_503": 2, "HTTP_429": 1, UNEXPECTED: 2}


def emitted(capsys: pytest.CaptureFixture[str], name: str) -> list[float]:
    """The values of a metric, whatever its dimensions."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [value for line in lines if "_aws" in line for value in line.get(name, ())]


def test_refused_keys_are_counted(
    queues: QueuePair, rng: random.Random, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        queues.send("{}")

    work = fail(CredentialsRefused("HTTP_401", "message"))
    consume(queues.receive(), work, queues.queue, INVOCATION, rng=rng, clock=Clock())

    assert emitted(capsys, "CredentialsRefused") == [3]


def test_the_age_of_the_oldest_message_that_is_not_done_is_measured(
    queues: QueuePair, rng: random.Random, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for body in ("again", "again", "Submitted"):
        queues.send(body)
    ages = (7200, 60, 90_000)
    batch = [
        replace(record, sent_at=clock() - timedelta(seconds=age))
        for record, age in zip(
            sorted(queues.receive(), key=lambda one: one.body, reverse=True), ages, strict=True
        )
    ]

    def work(record: Record, _: Invocation) -> Outcome:
        if record.body == "again":
            raise Held("CODE", "message", delay_seconds=60)
        return Outcome(record.body)

    consume(batch, work, queues.queue, INVOCATION, rng=rng, clock=clock)

    assert emitted(capsys, "UnfinishedSeconds") == [7200]


def test_an_invocation_ends_when_lambda_says(clock: Clock) -> None:
    before = datetime.now(UTC)
    invocation = Invocation.of(HalfAMinute())
    after = datetime.now(UTC)

    assert before + timedelta(seconds=30) <= invocation.deadline <= after + timedelta(seconds=30)
    assert clock() != after
