"""`doctor` finds what is wrong and says what ends it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import checks
from cli.findings import Check, Finding, Plan, Result, Severity, findings
from cli.metrics import Metrics
from cli.target import Target
from reportflow.jobs_table import BY_STATUS
from tests.cli.conftest import Cli, Send, changed
from tests.pipeline.driver import body, new_id, until

PLAN = Plan(window=timedelta(hours=1), unfinished=timedelta(hours=1))


def found(check: Check, target: Target) -> list[Finding]:
    return findings(check, target, PLAN)


def test_a_healthy_system_has_no_finding(still_cli: Cli) -> None:
    printed = still_cli.json("doctor", "--unfinished", "9d")

    # The alarms are those of the running system, whose queues hold other tests' dead letters.
    assert not [
        one for one in printed if one["severity"] == "critical" and one["check"] != "alarms"
    ], printed


def test_a_dead_letter_is_reported_with_its_remedy(still: Target, still_cli: Cli) -> None:
    still.sqs.send_message(
        QueueUrl=still.download_dlq_url,
        MessageBody="{}",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value}
            for name, value in {"jobId": "a", "errorCode": "NO_COMPLETION"}.items()
        },
    )

    result = still_cli("doctor", "--json")

    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    [one] = [line for line in lines if line["check"] == "dead-letter-queues"]
    assert "NO_COMPLETION" in one["what"]
    assert "Ask ReportFlow" in one["remedy"]
    assert "dlq explain NO_COMPLETION" in one["remedy"]


def test_the_webhook_that_accepts_nothing_is_reported(target: Target) -> None:
    away = replace(target, webhook_base_url=f"{target.webhook_base_url}/elsewhere")

    [finding] = found(checks.webhook, away)

    assert finding.severity is Severity.CRITICAL
    assert "404" in finding.what
    assert not found(checks.webhook, target)


def test_jobs_that_wait_for_too_long_are_reported(target: Target) -> None:
    job_id = new_id("stuck")
    long_ago = (datetime.now(UTC) - timedelta(days=400)).isoformat(timespec="milliseconds")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    # Each attempt changes the record, so its last change says nothing.
    texts = {"jobId": job_id, "status": "SUBMITTING", "createdAt": long_ago, "updatedAt": now}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )
    try:
        [finding] = [one for one in found(checks.unfinished_jobs, target) if job_id in one.what]
    finally:
        target.dynamodb.delete_item(TableName=target.jobs_table, Key={"jobId": {"S": job_id}})
    assert f"reportflow status {job_id}" in finding.remedy


def unfinished(target: Target, job_id: str, **fields: str) -> None:
    """A job that upstream sent long ago."""
    long_ago = (datetime.now(UTC) - timedelta(days=400)).isoformat(timespec="milliseconds")
    texts = {"jobId": job_id, "createdAt": long_ago, "updatedAt": long_ago, **fields}
    target.dynamodb.put_item(
        TableName=target.jobs_table, Item={name: {"S": text} for name, text in texts.items()}
    )


@pytest.fixture
def own_table(target: Target) -> Iterator[Target]:
    """The system with a table that no function knows."""
    own = replace(target, jobs_table=new_id("table"))
    target.dynamodb.create_table(
        TableName=own.jobs_table,
        KeySchema=[{"AttributeName": "jobId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"}
            for name in ("jobId", "status", "updatedAt")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": BY_STATUS,
                "KeySchema": [
                    {"AttributeName": "status", "KeyType": "HASH"},
                    {"AttributeName": "updatedAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    yield own
    target.dynamodb.delete_table(TableName=own.jobs_table)


def test_a_redriven_job_is_late_from_when_it_began_anew(own_table: Target) -> None:
    """It keeps the time at which upstream sent it first."""
    now = datetime.now(UTC)
    begun = {
        "fresh": now.isoformat(timespec="milliseconds"),
        "late": (now - timedelta(hours=3)).isoformat(timespec="milliseconds"),
    }
    for job_id, moment in begun.items():
        unfinished(own_table, job_id, status="SUBMITTED", begunAt=moment)

    [finding] = found(checks.unfinished_jobs, own_table)

    assert "1 job late in SUBMITTED, late the longest: 3h" in finding.what


def test_if_there_are_more_jobs_than_are_checked_the_number_is_a_minimum(
    own_table: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        unfinished(own_table, f"late-{number}", status="SUBMITTED")
    for most, words in ((5, "4 jobs late"), (4, "at least 4 jobs late"), (3, "at least 3 jobs")):
        monkeypatch.setattr(checks, "MAX_JOBS", most)
        [finding] = found(checks.unfinished_jobs, own_table)
        assert finding.what.startswith(words)


def test_if_there_are_more_dead_letters_than_are_read_the_number_is_a_minimum(
    still: Target, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS often fills fewer than ten into a batch."""
    for number in range(7):
        send(f"job-{number}")

    def fill_three(params: dict[str, Any], **_: object) -> None:
        params["MaxNumberOfMessages"] = 3

    events = still.sqs.meta.events
    events.register("provide-client-params.sqs.ReceiveMessage", fill_three)
    try:
        [whole] = found(checks.dead_letter_queues, still)
        monkeypatch.setattr(checks, "MAX_BATCHES", 2)
        [part] = found(checks.dead_letter_queues, still)
    finally:
        events.unregister("provide-client-params.sqs.ReceiveMessage", fill_three)

    assert "in 7 dead letters" in whole.what
    assert "in at least 6 dead letters" in part.what


def test_a_broken_check_hides_neither_what_it_found_nor_the_others(target: Target) -> None:
    def broken(_target: Target, _plan: Plan) -> Result:
        yield Severity.WARNING, "it burns", "call the fire brigade"
        raise KeyError("createdAt")

    first, then = found(broken, target)

    assert first.what == "it burns"
    assert then.severity is Severity.UNKNOWN
    assert then.what.startswith("broken could not be checked: KeyError in test_doctor.py, line ")
    assert "report it" in then.remedy


def test_what_could_not_be_checked_is_shown_to_people_too(state_file: Path, tmp_path: Path) -> None:
    result = Cli(["--state", str(changed(state_file, tmp_path, jobs_table="absent"))], {})("doctor")

    assert result.exit_code in {1, 2}
    assert "unknown unfinished-jobs could not be checked" in result.stdout


def test_the_functions_own_numbers_are_read(cli: Cli, target: Target) -> None:
    job_id = new_id("counted")
    before = Metrics(target, PLAN.window).total("submitter", "Submitted")
    assert cli("submit", "-", stdin=json.dumps(body(job_id))).exit_code == 0

    def submitted() -> bool | None:
        return Metrics(target, PLAN.window).total("submitter", "Submitted") > before or None

    until(submitted, 180, "the submitter's count reaches CloudWatch")


def test_what_cannot_be_checked_is_neither_healthy_nor_hidden(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = replace(target, jobs_table="absent")

    [finding] = found(checks.unfinished_jobs, away)

    assert finding.severity is Severity.UNKNOWN
    assert "ResourceNotFoundException" in finding.what


def test_no_finding_holds_a_secret(cli: Cli, target: Target) -> None:
    answer: Any = target.secretsmanager.get_secret_value(SecretId=target.secret_id)
    secrets = [text for text in json.loads(answer["SecretString"]).values() if text]

    shown = cli("doctor").output + cli("doctor", "--json").output

    assert not [secret for secret in secrets if secret in shown]
