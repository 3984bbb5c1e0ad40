"""Dead letters: found, sent back in a safe order and at a pace, dropped with a copy."""

import ast
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import reasons
from cli.letters import DeadLetters, QueueName, Selection, depth
from cli.records import Records
from cli.redrive import Fate, Handled, Pace, Redrive
from cli.target import Target
from reportflow import errors
from tests.cli.conftest import Cli
from tests.pipeline.driver import Driver, body, new_id, until

type Send = Callable[..., str]


def quick() -> Pace:
    return Pace(60_000)


@pytest.fixture
def downloads(still: Target) -> DeadLetters:
    return DeadLetters(
        still.sqs, QueueName.DOWNLOADS, still.download_dlq_url, still.download_queue_url
    )


@pytest.fixture
def send(still: Target) -> Send:
    """Puts a letter into the dead-letter queue of the requests; its message id."""

    def put(job_id: str | None, code: str | None = "HTTP_500", text: str | None = None) -> str:
        said = {"jobId": job_id, "errorCode": code, "tenant": "acme"}
        attributes: Any = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in said.items()
            if value is not None
        }
        attributes["trace"] = {"DataType": "Binary", "BinaryValue": b"\x00\x01"}
        return still.sqs.send_message(
            QueueUrl=still.request_dlq_url,
            MessageBody=text or json.dumps(body(job_id)),
            MessageAttributes=attributes,
        )["MessageId"]

    return put


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
    records = Records(target.dynamodb, target.jobs_table)
    options = {"pace": quick(), **options}
    return list(Redrive(target.sqs, queue, records, selection or Selection(), **options)())


def failed(target: Target, job_id: str, **fields: str) -> None:
    texts = {"jobId": job_id, "status": "FAILED", **fields}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )


def test_looking_shows_each_letter_once_and_leaves_all(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    sent = {send(f"job-{n}") for n in range(25)}

    with requests.look() as batches:
        seen = [letter.message_id for batch in batches for letter in batch]

    assert sorted(seen) == sorted(sent)
    assert depth(still.sqs, requests.url).visible == len(sent)


def test_list_selects_and_shows_no_body(still_cli: Cli, send: Send) -> None:
    send("a", "NOT_A_PDF")
    send("b", "HTTP_500")

    by_reason = still_cli.json("dlq", "list", "--reason", "HTTP_500")
    by_job = still_cli.json("dlq", "list", "--job", "a")
    by_age = still_cli("dlq", "list", "--older-than", "1h")
    shown = still_cli("dlq", "list")

    assert [letter["jobId"] for letter in by_reason] == ["b"]
    assert [letter["errorCode"] for letter in by_job] == ["NOT_A_PDF"]
    assert by_age.exit_code == 0
    assert shown.exit_code == 1
    assert "customerName" not in shown.output


def test_what_another_command_hides_is_told(
    still: Target, still_cli: Cli, requests: DeadLetters, send: Send
) -> None:
    send("a")
    with requests.look() as batches:
        assert next(batches)
        for arguments in (["list"], ["redrive", "--all"]):
            result = still_cli("dlq", *arguments)
            assert result.stderr.count("1 dead letter hidden") == 1
            assert result.exit_code == (1 if "redrive" in arguments else 0)
        assert any("hidden" in finding["what"] for finding in still_cli.json("doctor"))

    assert len(still_cli.json("dlq", "list")) == 1


def test_a_letter_goes_back_with_its_body_and_all_attributes(
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


def test_only_what_is_meant_goes(still: Target, requests: DeadLetters, send: Send) -> None:
    for number in range(12):
        send(f"bad-{number}", "INVALID_MESSAGE")
        send(f"good-{number}", "HTTP_500")

    gone = redrive(still, requests, Selection(reasons=frozenset({"HTTP_500"})))

    assert {handled.letter.job_id for handled in gone} == {f"good-{n}" for n in range(12)}
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
    assert message["MessageAttributes"]["jobId"]["StringValue"] == message_id


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

    fates = {handled.letter.job_id: handled.fate for handled in redrive(still, requests)}

    assert fates == {made: Fate.HELD, failed_before: Fate.REDRIVEN}
    again = redrive(still, requests, again=True)
    assert [handled.letter.job_id for handled in again] == [made]


def test_a_download_of_such_a_job_goes(still: Target, downloads: DeadLetters) -> None:
    made = new_id("made")
    failed(still, made, failedStep="archive", fileId="file_1")
    still.sqs.send_message(
        QueueUrl=downloads.url,
        MessageBody=json.dumps({"kind": "check", "jobId": made}),
        MessageAttributes={"jobId": {"DataType": "String", "StringValue": made}},
    )

    assert [handled.fate for handled in redrive(still, downloads)] == [Fate.REDRIVEN]


def test_letters_that_ask_for_the_same_go_as_one_message(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Two such requests side by side could make two PDFs, where the first fails at once."""
    send("twice")
    send("twice", "HTTP_502", json.dumps({**body("twice"), "metadata": {"tenant": "acme"}}))

    fates = [handled.fate for handled in redrive(still, requests)]

    assert fates == [Fate.REDRIVEN, Fate.REDRIVEN]
    assert len(received(still, still.request_queue_url)) == 1
    assert depth(still.sqs, requests.url).total == 0


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
            MessageAttributes={"jobId": {"DataType": "String", "StringValue": "a"}},
        )

    fates = [handled.fate for handled in redrive(still, downloads)]

    assert fates == [Fate.REDRIVEN, Fate.REDRIVEN]
    sent = [json.loads(message["Body"]) for message in received(still, still.download_queue_url)]
    assert sorted(sent, key=str) == sorted(bodies, key=str)
    assert depth(still.sqs, downloads.url).total == 0


def test_what_was_there_goes_in_later_batches_too_and_what_came_back_does_not(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Both letters of a job were there when the run began; a third comes from the first."""
    send("a")
    send("a")
    full_second = int(time.time()) + 1
    until(lambda: time.time() > full_second or None, 2, "a new second of SQS's clock")
    returned: list[str] = []

    def give_up(**_: Any) -> None:
        if not returned:
            returned.append(send("a", "HTTP_503"))

    event = "after-call.sqs.SendMessageBatch"
    still.sqs.meta.events.register(event, give_up)
    try:
        told = redrive(still, requests, pace=Pace(2, sleep=lambda _: None))
    finally:
        still.sqs.meta.events.unregister(event, give_up)

    fates = [(handled.letter.reason, handled.fate) for handled in told]
    redriven = ("HTTP_500", Fate.REDRIVEN)
    assert sorted(fates) == [redriven, redriven, ("HTTP_503", Fate.HELD)]
    assert depth(still.sqs, requests.url).total == 1


def test_a_request_goes_not_while_its_jobs_outcome_is_unknown(
    still: Target, requests: DeadLetters, send: Send
) -> None:
    """Its own letter is older and says something else."""
    job_id = new_id("unknown")
    failed(still, job_id, failedStep="submit", errorCode="OUTCOME_UNKNOWN")
    send(job_id)

    assert [handled.fate for handled in redrive(still, requests)] == [Fate.HELD]
    named = Selection(job_ids=frozenset({job_id}))
    assert [handled.fate for handled in redrive(still, requests, named)] == [Fate.REDRIVEN]


def test_letters_of_archived_jobs_are_shown_as_such(
    still: Target, still_cli: Cli, send: Send
) -> None:
    job_id = new_id("archived")
    failed(still, job_id, status="ARCHIVED")
    send(job_id)
    send("never-seen", "NOT_A_PDF")

    listed = {letter["jobId"]: letter["status"] for letter in still_cli.json("dlq", "list")}
    [row] = [line for line in still_cli("dlq", "list").stdout.splitlines() if job_id in line]
    explained = {line["errorCode"]: line["archived"] for line in still_cli.json("dlq", "explain")}

    assert listed == {job_id: "ARCHIVED", "never-seen": None}
    assert "ARCHIVED" in row
    assert explained == {"HTTP_500": 1, "NOT_A_PDF": 0}
    assert "Archived since: the jobs of 1." in still_cli("dlq", "explain").stdout


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
def test_the_pace_is_kept_and_no_letter_waits_hidden_for_long(per_minute: float) -> None:
    now = 0.0
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds

    pace = Pace(per_minute, clock=lambda: now, sleep=sleep)
    sent = 0
    for _ in range(1000):
        pace.wait()
        if now >= 600:
            break
        pace.spend(pace.batch_size)
        sent += pace.batch_size

    assert sent - pace.batch_size <= per_minute * 10 * 1.001 + pace.batch_size
    assert sent >= per_minute * 10
    assert max(pauses) <= 30


def test_redrive_of_everything_has_to_be_said(still_cli: Cli, send: Send) -> None:
    send("a")

    assert still_cli("dlq", "redrive").exit_code == 2
    assert still_cli("dlq", "redrive", "--all", "--reason", "HTTP_500").exit_code == 2
    tried = still_cli("dlq", "redrive", "--all", "--dry-run")
    assert tried.exit_code == 0
    assert "1 would go" in tried.stderr
    assert len(still_cli.json("dlq", "list")) == 1


def test_redrive_brings_the_pdf(cli: Cli, driver: Driver) -> None:
    job_id = new_id("mended")
    # As the functions leave a message whose cause has been mended since.
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


def test_drop_keeps_a_copy_for_its_owner_only(
    still: Target, still_cli: Cli, send: Send, tmp_path: Path
) -> None:
    send("a", "INVALID_MESSAGE")
    send("b", "HTTP_500")
    path = tmp_path / "dropped.jsonl"
    arguments = ("dlq", "drop", "--reason", "INVALID_MESSAGE", "--save-to", str(path))

    assert still_cli(*arguments).exit_code == 2, "nobody can be asked"
    assert still_cli(*arguments, "--yes").exit_code == 0

    [line] = path.read_text().splitlines()
    kept = json.loads(line)
    assert json.loads(kept["body"]) == body("a")
    assert kept["attributes"]["tenant"]["StringValue"] == "acme"
    assert path.stat().st_mode & 0o077 == 0
    assert [letter["jobId"] for letter in still_cli.json("dlq", "list")] == ["b"]


def test_drop_writes_over_no_file(still_cli: Cli, send: Send, tmp_path: Path) -> None:
    send("a")
    path = tmp_path / "dropped.jsonl"
    path.write_text("mine")

    result = still_cli("dlq", "drop", "--all", "--yes", "--save-to", str(path))

    assert result.exit_code == 2
    assert path.read_text() == "mine"
    assert len(still_cli.json("dlq", "list")) == 1


def codes() -> Iterator[str]:
    section = reasons.PAGE.read_text().partition(f"\n## {reasons.HEADING}\n")[2]
    for line in section.splitlines():
        if line.startswith("| `") and "`errorCode`" not in line:
            yield line.split("`")[1].replace("4xx", "422")


@pytest.mark.parametrize("code", [*codes(), "HTTP_500", "TRUNCATED"])
def test_explain_says_what_the_page_says(cli: Cli, code: str) -> None:
    result = cli("dlq", "explain", code)

    page = reasons.PAGE.read_text().replace("`", "")
    reason = reasons.explain(code)
    assert result.exit_code == 0
    assert reason.meaning in page
    assert f"{reason.meaning}." in result.stdout
    assert f"What to do: {reason.remedy}." in result.stdout


def test_a_code_without_a_row_of_its_own_is_a_retryables() -> None:
    assert reasons.explain("HTTP_500") == reasons.explain("TRUNCATED")
    assert reasons.explain("HTTP_500") != reasons.explain("HTTP_422")


def test_explain_offers_no_redrive_of_what_comes_straight_back(cli: Cli) -> None:
    offered = {
        code: "dlq redrive" in cli("dlq", "explain", code).stdout
        for code in ("INVALID_MESSAGE", "JOB_ID_REUSED", "HTTP_404", "HTTP_500", "NO_COMPLETION")
    }

    assert offered == {
        "INVALID_MESSAGE": False,
        "JOB_ID_REUSED": False,
        "HTTP_404": True,
        "HTTP_500": True,
        "NO_COMPLETION": True,
    }
    assert "dlq drop --reason INVALID_MESSAGE" in cli("dlq", "explain", "INVALID_MESSAGE").stdout


def test_explain_takes_a_code_in_any_case_and_no_other(cli: Cli) -> None:
    for text, code in (
        ("invalid_message", "INVALID_MESSAGE"),
        ("Http_404", "HTTP_404"),
        ("aws_AccessDenied", "AWS_AccessDenied"),
        ("truncated", "TRUNCATED"),
    ):
        assert cli.json("dlq", "explain", text)[0]["errorCode"] == code
    unknown = cli("dlq", "explain", "NOPE")
    assert unknown.exit_code == 2
    assert "'NOPE' is not a code of ours" in unknown.stderr


def test_every_code_of_the_functions_is_known() -> None:
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.PipelineError)
    }
    raised: set[str] = set()
    for path in Path(errors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                *kinds,
                "super().__init__",
            }:
                raised |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}

    assert len(raised) > len(reasons.RETRYABLES)
    assert {code: reasons.code_of(code) for code in raised} == {code: code for code in raised}


@pytest.mark.parametrize(
    "command", [("redrive",), ("redrive", "--dry-run"), ("drop", "--yes")], ids=" ".join
)
def test_letters_that_are_not_there_are_no_silent_success(
    still_cli: Cli, send: Send, command: tuple[str, ...]
) -> None:
    send("a", "HTTP_500")
    send("b", "HTTP_500")
    send("c", "NOT_A_PDF")

    for selection in (("--reason", "NOPE"), ("--job", "nope")):
        result = still_cli("dlq", *command, *selection)
        assert result.exit_code == 0
        told = "There are no such dead letters. There are: HTTP_500: 2, NOT_A_PDF: 1."
        assert told in result.stderr
    assert len(still_cli.json("dlq", "list")) == 3


@pytest.mark.parametrize("command", ["list", "redrive", "drop"])
def test_a_queue_that_there_is_not_is_refused_before_anybody_is_asked(command: str) -> None:
    nowhere = {"AWS_REGION": None, "AWS_DEFAULT_REGION": None, "REPORTFLOW_PREFIX": "Nowhere"}

    result = Cli([], nowhere)("dlq", command, "--queue", "foo")

    assert result.exit_code == 2
    assert "neither requests nor downloads" in result.stderr


def test_explain_looks_at_what_is_there(still_cli: Cli, send: Send) -> None:
    assert still_cli("dlq", "explain").exit_code == 0
    send("a", "NOT_A_PDF")

    [told] = still_cli.json("dlq", "explain")

    assert told["errorCode"] == "NOT_A_PDF"
    assert told["letters"] == 1
    assert told["oldest"]["jobId"] == "a"
