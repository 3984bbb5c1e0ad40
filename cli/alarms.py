"""`doctor`'s look at the alarms, and at who hears of them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cli.findings import DEPLOY_AGAIN, Plan, Result, Severity
from cli.output import age
from cli.target import Target

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

JOBS_WAIT: Final = ("DeadLetters", "Unfinished", "NotTaken", "KeysRefused")
"""What the names of alarms end with that somebody waits for a PDF of."""

_LOOK_FIRST: Final = " Look first at "
_MORE: Final = " More: "
_PENDING: Final = "PendingConfirmation"


def alarms(target: Target, _plan: Plan) -> Result:
    """No alarm is red, and somebody would hear of one; on this machine nobody is sent a mail."""
    prefix = f"{target.namespace}-"
    there = list(_of_deployment(target, prefix))
    for alarm in there:
        if _is_red(alarm):
            yield _red(alarm, alarm.get("AlarmName", "").removeprefix(prefix))
    if not there:
        yield (
            Severity.WARNING,
            "there are no alarms, so nobody is told of trouble",
            DEPLOY_AGAIN,
        )
    if target.is_local:
        return
    for topic in sorted({topic for alarm in there for topic in alarm.get("AlarmActions", [])}):
        yield from _unheard(target, topic)


def red_alarms(target: Target) -> list[str]:
    """The names of the deployment's red alarms, without its prefix."""
    prefix = f"{target.namespace}-"
    return sorted(
        alarm.get("AlarmName", "").removeprefix(prefix)
        for alarm in _of_deployment(target, prefix)
        if _is_red(alarm)
    )


def _is_red(alarm: "MetricAlarmTypeDef") -> bool:
    # Not asked of CloudWatch: moto ignores `StateValue` if a prefix is given.
    return alarm.get("StateValue") == "ALARM"


def _of_deployment(target: Target, prefix: str) -> Iterator["MetricAlarmTypeDef"]:
    pages = target.cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"]
    )
    for page in pages:
        for alarm in page["MetricAlarms"]:
            # `ReportFlow-dev-` begins with `ReportFlow-`, and is another deployment.
            if "-" not in alarm.get("AlarmName", "").removeprefix(prefix):
                yield alarm


def _red(alarm: "MetricAlarmTypeDef", name: str) -> tuple[Severity, str, str]:
    what, _, rest = alarm.get("AlarmDescription", "").partition(_LOOK_FIRST)
    look_first = rest.partition(_MORE)[0]
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    red = f"{name} is red for {age(since or datetime.now(UTC))}"
    severity = Severity.CRITICAL if name.endswith(JOBS_WAIT) else Severity.WARNING
    return severity, f"{red}: {what}", f"look first at {look_first} (docs/operations.md, {name})"


def _unheard(target: Target, topic: str) -> Result:
    sns: Any = target.clients.client("sns")
    pages: Iterable[Any] = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    arns = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]
    if any(arn.startswith("arn:") for arn in arns):
        return
    # SNS forgets an address that is not confirmed within two days, and one that unsubscribes.
    # To deploy again brings it back in neither case.
    subscribe = (
        f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
    )
    if _PENDING in arns:
        yield (
            Severity.WARNING,
            "nobody hears of alarms: the address that they are sent to was never confirmed",
            f"follow the link in the mail that SNS has sent there; for another: {subscribe}",
        )
    else:
        yield (
            Severity.WARNING,
            "nobody hears of alarms: no address is subscribed to them",
            f"{subscribe}, then follow the link in its mail",
        )
