"""Dead letters are sent back in a safe order and at a limited rate."""

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from cli.commands.dlq.redrive import Fate, Handled, RateLimiter, Redrive
from cli.dead_letters import HIDDEN_SECONDS, DeadLetters, Selection, depth
from cli.target import Target
from reportflow.messages import OWN_JOB_ID
from tests.cli.conftest import Alter, Answer, Cli, Send, failed
from tests.pipeline.driver import Driver, body, new_id, until

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef


def reason(job_id: str) -> "dict[str, MessageAttributeValueTypeDef]":
    """The attributes of a dead letter."""
    said = {"jobId": job_id, "errorCode": "HTTP_500"}
    return {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}


def quick() -> RateLimiter:
    return RateLimiter(60_000)


def received(target: Target, url: str) -> list[Any]:
    """All messages of a queue, which are gone then."""
    found: list[Any] = []
    while messages := target.sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        found += messages
    return found


def redrive(
    target: Target, queue: DeadLetters, selection: Selection | None = None, **options: Any
) -> list[Handled]:
    options = {"limiter": quick(), **options}
    return list(Redrive(target, queue, selection or Selection(), **options)())


def test_a_dead_letter_is_sent_back_with_its_body_and_all_attributes(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    send("a")

    [handled] = redrive(still, requests)

    [message] = received(still, still.request_queue_url)
    assert handled.fate is Fate.REDRIVEN
    assert json.loads(message["Body"]) == body("a")
    attributes = message["MessageAttributes"]
    assert attributes["tenant"]["StringValue"] == "acme"
    assert attributes["errorCode"]["StringValue"] == "HTTP_500"
    assert attributes["trace"]["BinaryValue"] == b"\x00\x01"
    assert depth(still.sqs, requests.url).total == 0


def test_only_selected_dead_letters_are_redriven(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    for number in range(12):
        send(f"bad-{number}", "INVALID_MESSAGE")
        send(f"good-{number}", "HTTP_500")

    gone = redrive(still, requests, Selection(reasons=frozenset({"HTTP_500"})))

    assert {handled.dead_letter.job_id for handled in gone} == {f"good-{n}" for n in range(12)}
    assert len(received(still, still.request_queue_url)) == 12
    left = depth(still.sqs, requests.url)
    assert (left.visible, left.hidden) == (12, 0)


def test_a_message_that_named_no_job_keeps_its_own(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """SQS itself moved it: there is no attribute, and the job has the message's id."""
    message_id = send(None, None, json.dumps(body()))

    redrive(still, requests)

    [message] = received(still, still.request_queue_url)
    assert message["MessageAttributes"][OWN_JOB_ID]["StringValue"] == message_id


def test_a_senders_own_attribute_names_no_job(still: Target, requests: DeadLetters) -> None:
    own: MessageAttributeValueTypeDef = {"DataType": "String", "StringValue": "nightly"}
    message_id = still.sqs.send_message(
        QueueUrl=requests.url,
        MessageBody=json.dumps(body()),
        MessageAttributes={"jobId": own},
    )["MessageId"]

    assert [handled.dead_letter.job_id for handled in redrive(still, requests)] == [message_id]
    [message] = received(still, still.request_queue_url)
    assert message["MessageAttributes"][OWN_JOB_ID]["StringValue"] == message_id
    assert message["MessageAttributes"]["jobId"]["StringValue"] == "nightly"


def test_an_unknown_outcome_goes_only_when_it_is_named(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    send("paid", "OUTCOME_UNKNOWN")

    assert not redrive(still, requests)
    assert len(redrive(still, requests, Selection(job_ids=frozenset({"paid"})))) == 1


def test_a_request_whose_pdf_is_made_stays(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    made, failed_before = new_id("made"), new_id("unmade")
    failed(still, made, failedStep="archive", fileId="file_1")
    failed(still, failed_before, failedStep="submit")
    send(made)
    send(failed_before)

    fates = {handled.dead_letter.job_id: handled.fate for handled in redrive(still, requests)}

    assert fates == {made: Fate.HELD, failed_before: Fate.REDRIVEN}
    again = redrive(still, requests, again=True)
    assert [handled.dead_letter.job_id for handled in again] == [made]


def test_a_download_of_such_a_job_goes(still: Target, downloads: DeadLetters) -> None:
    made = new_id("made")
    failed(still, made, failedStep="archive", fileId="file_1")
    still.sqs.send_message(
        QueueUrl=downloads.url,
        MessageBody=json.dumps({"kind": "check", "jobId": made}),
        MessageAttributes=reason(made),
    )

    assert [handled.fate for handled in redrive(still, downloads)] == [Fate.REDRIVEN]


def test_dead_letters_that_ask_for_the_same_go_as_one_message(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Two such requests side by side could make two PDFs, where the first fails at once."""
    send("twice")
    send("twice", "HTTP_502", json.dumps({**body("twice"), "metadata": {"tenant": "acme"}}))

    fates = [handled.fate for handled in redrive(still, requests)]

    assert fates == [Fate.REDRIVEN, Fate.REDRIVEN]
    assert len(received(still, still.request_queue_url)) == 1
    assert depth(still.sqs, requests.url).total == 0


@pytest.mark.parametrize("reasons", [(None, "HTTP_502"), ("HTTP_502", None)])
def test_of_such_dead_letters_one_with_a_reason_is_sent(
    still: Target, requests: DeadLetters, send: Send, reasons: tuple[str | None, ...]
) -> None:
    """By it the functions know a redriven message. A dead letter that SQS itself moved has none."""
    for code in reasons:
        send("twice", code)

    redrive(still, requests)

    [message] = received(still, still.request_queue_url)
    assert message["MessageAttributes"]["errorCode"]["StringValue"] == "HTTP_502"


def test_a_dead_letter_that_was_sent_and_not_deleted_is_counted(
    still_cli: Cli, send: Send, alter: Alter
) -> None:
    send("a")

    def refuse(operation: str, answer: Answer) -> None:
        if operation == "DeleteMessageBatch":
            ids = [one["Id"] for one in answer.pop("Successful")]
            answer["Failed"] = [{"Id": one, "Code": "Odd", "SenderFault": False} for one in ids]

    alter(refuse)
    result = still_cli("dlq", "redrive", "--all", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["fate"] == "undeleted"
    assert "0 redriven, 0 held back, 0 refused by SQS, 1 sent and not deleted." in result.stderr


def test_of_two_documents_of_a_job_one_goes(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    send("twice")
    send("twice", "JOB_ID_REUSED", json.dumps(body("twice", version=2)))

    fates = sorted(handled.fate for handled in redrive(still, requests))

    assert fates == [Fate.HELD, Fate.REDRIVEN]
    assert len(received(still, still.request_queue_url)) == 1


def test_webhook_and_check_of_a_job_go_in_one_run(still: Target, downloads: DeadLetters) -> None:
    bodies = [{"kind": "completed", "fileId": "file_1"}, {"kind": "check", "jobId": "a"}]
    for text in map(json.dumps, bodies):
        still.sqs.send_message(
            QueueUrl=downloads.url,
            MessageBody=text,
            MessageAttributes=reason("a"),
        )

    fates = [handled.fate for handled in redrive(still, downloads)]

    assert fates == [Fate.REDRIVEN, Fate.REDRIVEN]
    sent = [json.loads(message["Body"]) for message in received(still, still.download_queue_url)]
    assert sorted(sent, key=str) == sorted(bodies, key=str)
    assert depth(still.sqs, downloads.url).total == 0


def test_what_was_there_goes_in_later_batches_too_and_what_came_back_does_not(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Both dead letters of a job were there when the run began; a third comes from the first."""
    send("a")
    send("a")
    full_second = int(time.time()) + 1
    until(lambda: time.time() > full_second or None, 60, "a new second of SQS's clock")
    returned: list[str] = []

    def give_up(**_: Any) -> None:
        if not returned:
            returned.append(send("a", "HTTP_503"))

    event = "after-call.sqs.SendMessageBatch"
    still.sqs.meta.events.register(event, give_up)
    try:
        printed = redrive(still, requests, limiter=RateLimiter(2, sleep=lambda _: None))
    finally:
        still.sqs.meta.events.unregister(event, give_up)

    fates = [(handled.dead_letter.reason, handled.fate) for handled in printed]
    redriven = ("HTTP_500", Fate.REDRIVEN)
    assert sorted(fates) == [redriven, redriven, ("HTTP_503", Fate.FAILED_AGAIN)]
    assert depth(still.sqs, requests.url).total == 1


def test_a_request_goes_not_while_its_jobs_outcome_is_unknown(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Its own dead letter is older and says something else."""
    job_id = new_id("unknown")
    failed(still, job_id, failedStep="submit", errorCode="OUTCOME_UNKNOWN")
    send(job_id)

    assert [handled.fate for handled in redrive(still, requests)] == [Fate.HELD]
    named = Selection(job_ids=frozenset({job_id}))
    assert [handled.fate for handled in redrive(still, requests, named)] == [Fate.REDRIVEN]


@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_anywhere_and_run_again_nothing_is_lost(
    still: Target, requests: DeadLetters, send: Send, operation: str, moment: str
) -> None:
    job_ids = {f"job-{n}" for n in range(25)}
    for job_id in job_ids:
        send(job_id)
    calls = 0

    def interrupt(**_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    events = {"before": "before-call", "after": "after-call"}
    event = f"{events[moment]}.sqs.{operation}"
    still.sqs.meta.events.register(event, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            redrive(still, requests)
    finally:
        still.sqs.meta.events.unregister(event, interrupt)
    sent = received(still, still.request_queue_url)
    assert depth(still.sqs, requests.url).hidden == 0

    redrive(still, requests)

    sent += received(still, still.request_queue_url)
    assert {message["MessageAttributes"]["jobId"]["StringValue"] for message in sent} == job_ids
    assert depth(still.sqs, requests.url).total == 0


def test_what_fails_again_meanwhile_waits_for_the_next_time(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """A function as quick as can be gives each message up as soon as it is sent."""
    for number in range(12):
        send(f"job-{number}")

    def give_up(**_: Any) -> None:
        for message in received(still, still.request_queue_url):
            send(message["MessageAttributes"]["jobId"]["StringValue"])

    event = "after-call.sqs.SendMessageBatch"
    still.sqs.meta.events.register(event, give_up)
    try:
        fates = [handled.fate for handled in redrive(still, requests)]
    finally:
        still.sqs.meta.events.unregister(event, give_up)

    assert fates.count(Fate.REDRIVEN) == 12
    assert depth(still.sqs, requests.url).total == 12


@pytest.mark.parametrize("per_minute", [2, 40, 600])
def test_the_rate_is_kept_and_no_dead_letter_waits_hidden_for_long(per_minute: float) -> None:
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    limiter = RateLimiter(per_minute, clock=lambda: now, sleep=sleep)
    sent = 0
    while now < 600:
        limiter.wait()
        sent += 1

    assert per_minute * 10 <= sent <= per_minute * 10 + 1
    assert limiter.batch_size * max(pauses) <= HIDDEN_SECONDS / 2


def test_redrive_of_everything_has_to_be_said(still_cli: Cli, send: Send) -> None:
    send("a")

    assert still_cli("dlq", "redrive").exit_code == 2
    assert still_cli("dlq", "redrive", "--all", "--reason", "HTTP_500").exit_code == 2
    tried = still_cli("dlq", "redrive", "--all", "--dry-run")
    assert tried.exit_code == 0
    assert "1 would be redriven" in tried.stderr
    assert len(still_cli.json("dlq", "list")) == 1


def test_redrive_brings_the_pdf(cli: Cli, driver: Driver) -> None:
    job_id = new_id("fixed")
    # As the functions leave a message whose cause has been fixed since.
    driver.sqs.send_message(
        QueueUrl=driver.state["request_dlq_url"],
        MessageBody=json.dumps(body(job_id)),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in {"jobId": job_id, "errorCode": "HTTP_500"}.items()
        },
    )

    result = cli("dlq", "redrive", "--job", job_id)

    assert result.exit_code == 0, result.output
    assert driver.ended(job_id)["status"] == "ARCHIVED"


def test_a_job_that_fails_again_is_counted_once(still_cli: Cli, send: Send, alter: Alter) -> None:
    send("a")
    full_second = int(time.time()) + 1
    until(lambda: time.time() > full_second or None, 60, "a new second of SQS's clock")
    returned: list[str] = []

    def fail_again(operation: str, _: Answer) -> None:
        if operation == "SendMessageBatch" and not returned:
            returned.append("")
            send("a", "HTTP_503")

    alter(fail_again)
    result = still_cli("dlq", "redrive", "--all")

    assert result.exit_code == 1
    assert "1 redriven, 0 held back, 0 refused by SQS. 1 of them failed again." in result.stderr
