"""Red alarms are reported, and alarms that nobody receives."""

import re
from dataclasses import replace
from typing import Any, cast

import pytest

from cli.alarms import JOBS_WAIT, alarms
from cli.findings import Severity
from cli.target import Target
from stacks.packaging import REPOSITORY
from tests.cli.numbers.deployment import found


def make_alarm(either: Target, name: str, topic: str, state: str = "ALARM") -> None:
    either.cloudwatch.put_metric_alarm(
        AlarmName=f"{either.namespace}-{name}",
        AlarmDescription=f"It burns. Look first at the fire. More: docs/operations.md, {name}",
        AlarmActions=[topic],
        Namespace=either.namespace,
        MetricName="Heat",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Statistic="Maximum",
        Threshold=1,
    )
    either.cloudwatch.set_alarm_state(
        AlarmName=f"{either.namespace}-{name}",
        StateValue=cast("Any", state),
        StateReason="as asked",
    )


@pytest.fixture
def topic(either: Target) -> str:
    made: Any = either.clients.client("sns").create_topic(Name=f"{either.namespace}-alarms")
    return str(made["TopicArn"])


def test_a_red_alarm_is_reported_with_its_meaning_and_the_first_thing_to_check(
    either: Target, topic: str
) -> None:
    make_alarm(either, "RequestDeadLetters", topic)
    make_alarm(either, "WebhooksLost", topic)
    make_alarm(either, "SubmitterSlow", topic, "OK")
    make_alarm(either, "dev-WebhooksRefused", topic)

    printed = found(alarms, either)

    said = {finding.severity: re.sub(r" \d+s:", " SECONDS:", finding.what) for finding in printed}
    assert said == {
        Severity.CRITICAL: "RequestDeadLetters is red for SECONDS: It burns.",
        Severity.WARNING: "WebhooksLost is red for SECONDS: It burns.",
    }
    assert {finding.remedy for finding in printed} == {
        "look first at the fire. (docs/operations.md, RequestDeadLetters)",
        "look first at the fire. (docs/operations.md, WebhooksLost)",
    }


def test_a_deployment_without_alarms_is_reported(either: Target) -> None:
    [finding] = found(alarms, either)

    assert "nobody hears of trouble" in finding.what


def test_alarms_without_a_subscriber_are_reported_with_the_command_that_adds_one(
    either: Target, topic: str
) -> None:
    make_alarm(either, "SubmitterSlow", topic, "OK")
    assert not found(alarms, either), "on this machine nobody is sent a mail"

    [finding] = found(alarms, replace(either, is_local=False))

    assert finding.severity is Severity.WARNING
    assert "no address is subscribed" in finding.what
    assert f"aws sns subscribe --topic-arn {topic} --protocol email" in finding.remedy


def test_an_address_that_was_never_confirmed_is_reported(either: Target, topic: str) -> None:
    """The emulated AWS confirms addresses itself; this is what AWS says of one that waits."""
    on_aws = replace(either, is_local=False)
    make_alarm(either, "SubmitterSlow", topic, "OK")
    sns: Any = either.clients.client("sns")
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="night@example.com")
    assert not found(alarms, on_aws)

    def pending(parsed: dict[str, Any], **_: object) -> None:
        for each in parsed["Subscriptions"]:
            each["SubscriptionArn"] = "PendingConfirmation"

    event = "after-call.sns.ListSubscriptionsByTopic"
    sns.meta.events.register(event, pending)
    try:
        [finding] = found(alarms, on_aws)
    finally:
        sns.meta.events.unregister(event, pending)
    assert "never confirmed" in finding.what
    assert f"aws sns subscribe --topic-arn {topic}" in finding.remedy


def test_the_alarms_that_somebody_waits_for_are_there() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    headings = re.findall(r"^### (.+)$", page, flags=re.MULTILINE)
    names = [name for heading in headings for name in heading.split(", ")]
    for end in JOBS_WAIT:
        assert [name for name in names if name.endswith(end)], end
