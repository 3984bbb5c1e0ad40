"""`doctor`'s check of the alarms, and of who receives them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cli.findings import DEPLOY_AGAIN, Plan, Result, Severity
from cli.output import age
from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

JOBS_WAIT: Final = ("DeadLetters", "Unfinished", "NotTaken", "KeysRefused")
"""The ends of alarms' names that mean that somebody waits for a PDF."""

_LOOK_FIRST: Final = " Look first at "
_MORE: Final = " More: "
_PENDING: Final = "PendingConfirmation"


def alarms(target: Target, _plan: Plan) -> Result:
    """Report red alarms, and alarms that nobody receives. The local system sends no mail."""
    there = _of_deployment(target)
    for name, alarm in there.items():
        if _is_red(alarm):
            yield _red(alarm, name)
    if not there:
        yield Severity.WARNING, "there are no alarms, so nobody hears of trouble", DEPLOY_AGAIN
    if not target.is_local:
        for topic in sorted({each for one in there.values() for each in one["AlarmActions"]}):
            yield from _unheard(target, topic)


def red_alarms(target: Target) -> list[str]:
    """Return the names of the deployment's red alarms, without its prefix."""
    return sorted(name for name, alarm in _of_deployment(target).items() if _is_red(alarm))


def _is_red(alarm: "MetricAlarmTypeDef") -> bool:
    # CloudWatch is not asked for red ones: moto ignores `StateValue` if a prefix is given.
    return alarm.get("StateValue") == "ALARM"


def _of_deployment(target: Target) -> dict[str, "MetricAlarmTypeDef"]:
    prefix = f"{target.namespace}-"
    pages = target.cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"]
    )
    found = {
        alarm.get("AlarmName", "").removeprefix(prefix): alarm
        for page in pages
        for alarm in page["MetricAlarms"]
    }
    # `ReportFlow-dev-` begins with `ReportFlow-`, and is another deployment.
    return {name: alarm for name, alarm in found.items() if "-" not in name}


def _red(alarm: "MetricAlarmTypeDef", name: str) -> tuple[Severity, str, str]:
    what, _, rest = alarm.get("AlarmDescription", "").partition(_LOOK_FIRST)
    look_first = rest.partition(_MORE)[0]
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    red = f"{name} is red for {age(since or datetime.now(UTC))}"
    severity = Severity.CRITICAL if name.endswith(JOBS_WAIT) else Severity.WARNING
    return severity, f"{red}: {what}", f"look first at {look_first} (docs/operations.md, {name})"


def _unheard(target: Target, topic: str) -> Iterator[tuple[Severity, str, str]]:
    sns: Any = target.clients.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]
    if any(arn.startswith("arn:") for arn in arns):
        return
    # SNS forgets an address that is not confirmed within two days, and one that unsubscribes. A
    # deployment brings it back in neither case.
    subscribe = (
        f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
    )
    if _PENDING in arns:
        why = "the address that they are sent to was never confirmed"
        remedy = f"follow the link in the mail from SNS; for another address: {subscribe}"
    else:
        why = "no address is subscribed to them"
        remedy = f"{subscribe}, then follow the link in its mail"
    yield Severity.WARNING, f"nobody hears of alarms: {why}", remedy
