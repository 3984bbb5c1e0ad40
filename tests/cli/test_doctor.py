"""`doctor` finds what is wrong and says what ends it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli import checks
from cli.findings import Check, Finding, Plan, Severity, findings
from cli.metrics import Metrics
from cli.target import Target
from tests.cli.conftest import Cli
from tests.pipeline.driver import body, new_id, until

PLAN = Plan(window=timedelta(hours=1), unfinished=timedelta(hours=1))


def found(check: Check, target: Target) -> list[Finding]:
    return findings(check, target, PLAN)


def test_a_healthy_system_has_no_finding(still_cli: Cli) -> None:
    told = still_cli.json("doctor", "--unfinished", "9d")

    # The alarms are those of the running system, whose queues hold other tests' dead letters.
    assert not [
        one for one in told if one["severity"] == "critical" and one["check"] != "alarms"
    ], told


def test_a_dead_letter_is_told_with_its_remedy(still: Target, still_cli: Cli) -> None:
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
    [letter] = [line for line in lines if line["check"] == "dead-letter-queues"]
    assert "NO_COMPLETION" in letter["what"]
    assert "ask ReportFlow" in letter["remedy"]
    assert "dlq explain NO_COMPLETION" in letter["remedy"]


def test_the_webhook_that_accepts_nothing_is_told(target: Target) -> None:
    away = replace(target, webhook_base_url=f"{target.webhook_base_url}/elsewhere")

    [finding] = found(checks.webhook, away)

    assert finding.severity is Severity.CRITICAL
    assert "404" in finding.what
    assert not found(checks.webhook, target)


def test_jobs_that_wait_for_too_long_are_told(target: Target) -> None:
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
    assert f"cli status {job_id}" in finding.remedy


def test_the_functions_own_numbers_are_read(cli: Cli, target: Target) -> None:
    job_id = new_id("counted")
    before = Metrics(target, PLAN.window).own()["Submitted"]
    assert cli("submit", "-", stdin=json.dumps(body(job_id))).exit_code == 0

    def submitted() -> bool | None:
        return Metrics(target, PLAN.window).own()["Submitted"] > before or None

    until(submitted, 30, "the submitter's count reaches CloudWatch")


def test_what_cannot_be_looked_at_is_neither_healthy_nor_hidden(
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
