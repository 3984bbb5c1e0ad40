import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import replace

import pytest

from reportflow.consumer import Invocation, Outcome, consume
from reportflow.contract import CENTRAL
from reportflow.errors import Held, Retryable, Unavailable
from reportflow.jobs import MAX_UNKNOWN_OUTCOMES
from reportflow.queues import Record, SqsQueue
from reportflow.submission import Submission
from tests.unit.clock import Clock
from tests.unit.deliveries import (
    INVOCATION_SECONDS,
    OUTCOME_GRACE,
    PAST_THE_GRACE,
    Killed,
    next_invocation,
    redelivered,
)
from tests.unit.peer import Peer, Received, answer
from tests.unit.queue_pair import QueuePair
from tests.unit.reportflow_answers import accepting
from tests.unit.samples import JOB_ID, message_body

type Items = Callable[[str], dict[str, str]]


def test_the_same_message_twice_is_one_request(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    submission(record, invocation)
    before = item(JOB_ID)

    assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert len(peer.received) == 1
    assert item(JOB_ID) == before


def test_a_message_that_was_put_back_ends_after_a_move_to_the_other_contract(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    """Central adds `.pdf` to a name, and so the same message asks for another document."""
    content = {"fileName": "invoice", "params": {}}
    record = queues.deliver(message_body(content=content))
    peer.respond = lambda _: answer(500)
    with pytest.raises(Retryable):
        submission(record, next_invocation(clock))
    peer.respond = accepting()
    moved = replace(submission, contract=CENTRAL)

    assert moved(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert (job["status"], job["fileName"]) == ("SUBMITTED", "invoice.pdf")
    assert "possibleDuplicates" not in job
    assert queues.dead_letters() == []


def test_the_same_job_many_times_in_one_batch_is_one_request(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    for _ in range(10):
        queues.send(message_body())
    batch = queues.receive()

    response = consume(
        batch, submission, queues.queue, invocation, rng=random.Random(1), clock=clock
    )

    assert len(peer.received) == 1
    again = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
    for record in batch:
        if record.message_id in again:
            assert submission(redelivered(record), invocation) is Outcome.DUPLICATE
    assert len(peer.received) == 1
    assert item(JOB_ID)["status"] == "SUBMITTED"
    assert "possibleDuplicates" not in item(JOB_ID)
    assert queues.dead_letters() == []


@pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"content": {"fileName": "invoice.pdf", "params": {"amount": 10000.01}}}],
    ids=["version", "params"],
)
@pytest.mark.parametrize("state", ["submitting", "submitted"])
def test_a_job_id_used_for_another_document_is_refused_and_the_first_job_untouched(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    invocation: Invocation,
    changes: dict[str, object],
    state: str,
) -> None:
    if state == "submitting":
        peer.respond = lambda _: answer(503)
        with pytest.raises(Retryable):
            submission(queues.deliver(message_body()), invocation)
    else:
        submission(queues.deliver(message_body()), invocation)
    before = item(JOB_ID)
    other = queues.deliver(message_body(**changes))

    assert submission(other, invocation) is Outcome.FAILED

    assert item(JOB_ID) == before
    (letter,) = queues.dead_letters()
    assert letter["Body"] == other.body
    assert letter["MessageAttributes"]["errorCode"]["StringValue"] == "JOB_ID_REUSED"
    assert letter["MessageAttributes"]["jobId"]["StringValue"] == JOB_ID


def test_other_metadata_does_not_make_another_document(
    submission: Submission, queues: QueuePair, invocation: Invocation
) -> None:
    submission(queues.deliver(message_body()), invocation)

    again = queues.deliver(message_body(metadata={"attempt": 2}))
    assert submission(again, invocation) is Outcome.DUPLICATE


def test_a_failed_job_begins_again(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, invocation: Invocation
) -> None:
    peer.respond = lambda _: answer(404)
    submission(queues.deliver(message_body()), invocation)
    assert item(JOB_ID)["status"] == "FAILED"
    peer.respond = accepting()

    # As it comes back from the dead-letter queue: with a new message id.
    redriven = queues.deliver(message_body())

    assert submission(redriven, invocation) is Outcome.SUBMITTED
    assert item(JOB_ID)["status"] == "SUBMITTED"
    assert "errorCode" not in item(JOB_ID)


GRACE = OUTCOME_GRACE.total_seconds()


@pytest.mark.parametrize(
    "seconds",
    [0, INVOCATION_SECONDS, PAST_THE_GRACE - 0.2],
    ids=["in flight", "cut off", "within the grace"],
)
def test_a_job_whose_submitter_may_still_be_running_is_left_alone(
    *,
    submission: Submission,
    dying_submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
    seconds: float,
) -> None:
    record = queues.deliver(message_body())
    with pytest.raises(Killed):
        dying_submission(record, invocation)
    before = item(JOB_ID)
    clock.advance(seconds)

    with pytest.raises(Held, match="BEING_SUBMITTED"):
        submission(redelivered(record), next_invocation(clock))
    assert peer.received == []
    assert item(JOB_ID) == before


@pytest.mark.parametrize("seconds", [0, GRACE - 0.1], ids=["at once", "within the grace"])
def test_a_job_whose_webhook_may_still_reconcile_it_is_left_alone(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
    seconds: float,
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    with pytest.raises(Held):
        submission(record, invocation)
    before = item(JOB_ID)
    clock.advance(seconds)

    with pytest.raises(Held, match="BEING_SUBMITTED"):
        submission(redelivered(record), next_invocation(clock))
    assert len(peer.received) == 1
    assert item(JOB_ID) == before


def test_a_dead_submitters_job_is_taken_over_and_counted(
    submission: Submission,
    dying_submission: Submission,
    queues: QueuePair,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())
    with pytest.raises(Killed):
        dying_submission(record, invocation)
    clock.advance(PAST_THE_GRACE)

    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED
    assert item(JOB_ID)["possibleDuplicates"] == "1"


def test_a_submission_without_an_answer_is_repeated_and_counted(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    with pytest.raises(Held, match="ANSWER_LOST") as held:
        submission(record, invocation)
    assert item(JOB_ID)["status"] == "SUBMITTING"
    peer.respond = accepting()

    assert held.value.delay_seconds is not None
    clock.advance(held.value.delay_seconds)
    assert submission(redelivered(record), next_invocation(clock)) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert (job["status"], job["possibleDuplicates"]) == ("SUBMITTED", "1")


def test_two_deliveries_that_find_a_dead_lease_make_one_request(
    submission: Submission, queues: QueuePair, peer: Peer, clock: Clock, invocation: Invocation
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    with pytest.raises(Held):
        submission(record, invocation)
    peer.respond = accepting()
    clock.advance(PAST_THE_GRACE)

    def attempt(number: int) -> object:
        delivery = replace(record, receipt_handle=f"handle-{number}")
        try:
            return submission(delivery, next_invocation(clock))
        except Held:
            return None

    with ThreadPoolExecutor(5) as pool:
        ended = list(pool.map(attempt, range(5)))

    assert ended.count(Outcome.SUBMITTED) == 1
    assert len(peer.received) == 2  # the lost one, and one more


def test_an_attempt_that_lost_its_lease_does_not_overwrite_the_other(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    invocation: Invocation,
) -> None:
    record = queues.deliver(message_body())

    def overtaken(_: Received) -> list[bytes]:
        peer.respond = accepting()
        clock.advance(PAST_THE_GRACE)
        submission(redelivered(record), next_invocation(clock))
        return answer(202, b'{"fileId": "file_late", "url": "u"}')

    peer.respond = overtaken

    assert submission(record, invocation) is Outcome.DUPLICATE
    assert item(JOB_ID)["fileId"] == "file_1"


def unanswered_to_the_limit(submission: Submission, record: Record, clock: Clock) -> Record:
    """Submits the record as often as its answers may be lost; returns its next delivery."""
    for _ in range(1 + MAX_UNKNOWN_OUTCOMES):
        with pytest.raises(Held, match="ANSWER_LOST"):
            submission(record, next_invocation(clock))
        record = redelivered(record)
        clock.advance(PAST_THE_GRACE)
    return record


def test_after_too_many_unknown_outcomes_a_person_decides(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    record = unanswered_to_the_limit(submission, record, clock)

    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    job = item(JOB_ID)
    assert (job["status"], job["errorCode"]) == ("FAILED", "OUTCOME_UNKNOWN")
    assert int(job["possibleDuplicates"]) == len(peer.received) - 1
    assert queues.dead_letter_reasons()[0]["errorCode"] == "OUTCOME_UNKNOWN"


def test_no_refused_dead_letter_lets_a_job_be_submitted_beyond_its_limit(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    gone = SqsQueue(queues.client, queues.url, f"{queues.dlq_url}-gone")
    no_dead_letters = replace(submission, finisher=replace(submission.finisher, queue=gone))
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    record = unanswered_to_the_limit(no_dead_letters, record, clock)
    asked = len(peer.received)

    for _ in range(3):
        with pytest.raises(Unavailable):
            no_dead_letters(record, next_invocation(clock))
        record = redelivered(record)
        clock.advance(PAST_THE_GRACE)
    assert submission(record, next_invocation(clock)) is Outcome.FAILED

    assert len(peer.received) == asked
    assert item(JOB_ID)["errorCode"] == "OUTCOME_UNKNOWN"


def test_what_a_person_redrives_after_unknown_outcomes_is_submitted(
    submission: Submission, queues: QueuePair, peer: Peer, item: Items, clock: Clock
) -> None:
    record = queues.deliver(message_body())
    peer.respond = lambda _: []
    record = unanswered_to_the_limit(submission, record, clock)
    assert submission(record, next_invocation(clock)) is Outcome.FAILED
    peer.respond = accepting()

    assert submission(queues.redrive(), next_invocation(clock)) is Outcome.SUBMITTED

    job = item(JOB_ID)
    assert job["status"] == "SUBMITTED"
    assert int(job["possibleDuplicates"]) == len(peer.received) - 1


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({}, Outcome.DUPLICATE), ({"version": 2}, Outcome.FAILED)],
    ids=["sent twice", "jobId used twice"],
)
def test_a_first_delivery_finds_the_record_of_an_earlier_message_by_its_claim(
    submission: Submission,
    queues: QueuePair,
    peer: Peer,
    item: Items,
    clock: Clock,
    changes: dict[str, object],
    outcome: Outcome,
) -> None:
    submission(queues.deliver(message_body()), next_invocation(clock))
    before = item(JOB_ID)

    assert submission(queues.deliver(message_body(**changes)), next_invocation(clock)) is outcome

    assert len(peer.received) == 1
    assert item(JOB_ID) == before
