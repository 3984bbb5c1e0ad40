"""What `doctor` checks. Each check yields what is wrong; none changes anything."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from cli import secret
from cli.alarms import alarms
from cli.attempts import RECENT, attempts
from cli.dead_letters import DeadLetter, dead_letters, depth, hidden_by_others, read
from cli.error_codes import explain
from cli.failures import aws_code
from cli.findings import DEPLOY_AGAIN, Check, Plan, Result, Severity
from cli.metrics import Metrics, of_function, queue_age
from cli.output import age, duration, several
from cli.probe import probe
from cli.records import Record, Records, moment
from cli.target import Target
from reportflow.jobs import JobStatus

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

MAX_JOBS: Final = 1000
"""The most unfinished jobs of a state that are checked."""

MAX_BATCHES: Final = 100
"""The most batches of dead letters that are read from each queue: ten each, or fewer."""

FORGOTTEN: Final = timedelta(days=1)
"""A rotation that takes longer was not finished."""

LONGEST_WAIT: Final = timedelta(hours=1)
"""The longest time until a message that is put back comes again."""

CHECK_DELAY_SECONDS: Final = "300"
"""The setting's default, for the local system and a function that does not have it."""

ALIAS: Final = "live"
"""The alias of each function that event sources and API call: the version deployed last."""

WEBHOOKS_AT_A_TIME: Final = 10
"""The executions that are kept free for webhooks: one second's worth, if AWS is slow."""

WRONG_TOKEN: Final = "0" * 43
FEW_REFUSALS: Final = 30
"""The refused webhooks in an hour that scanners of the internet cause, and a `doctor` every ten
minutes."""

UNKNOWN_CALLER: Final = "UnknownCaller"
"""The reason that the webhook counts for a wrong token."""

_COUNTED: Final = {
    "Submitted": "submitter",
    "PossibleDuplicates": "submitter",
    "WebhooksReceived": "webhook",
    "WebhooksRefused": "webhook",
    "WebhooksNotStored": "webhook",
    "LostWebhooks": "downloader",
}
"""The functions' own metrics, and the function that emits each."""


def stacks(target: Target, _plan: Plan) -> Result:
    """CloudFormation finished its last change."""
    for name in target.stacks.values():
        [stack] = target.cloudformation.describe_stacks(StackName=name)["Stacks"]
        status = stack["StackStatus"]
        if not status.endswith("COMPLETE") or "ROLLBACK" in status:
            what = f"the stack {name} is {status}"
            yield Severity.WARNING, what, "read its events in CloudFormation, then deploy again"


def functions(target: Target, _plan: Plan) -> Result:
    """The functions are ready, and from one deployment."""
    layers = {}
    for role, name in target.functions.items():
        found = target.lambda_.get_function_configuration(FunctionName=name, Qualifier=ALIAS)
        layers[role] = tuple(layer.get("Arn", "") for layer in found.get("Layers", []))
        if (found.get("State"), found.get("LastUpdateStatus")) != ("Active", "Successful"):
            why = found.get("StateReason") or found.get("LastUpdateStatusReason") or "it changes"
            yield Severity.CRITICAL, f"the {role} is not ready: {why}", DEPLOY_AGAIN
    if len(set(layers.values())) > 1:
        what = "the functions are of different versions: they have different layers"
        yield Severity.WARNING, what, DEPLOY_AGAIN


def event_sources(target: Target, _plan: Plan) -> Result:
    """The queues feed their functions."""
    for role, mappings in _event_sources(target):
        for mapping in mappings:
            if mapping["State"] != "Enabled":
                yield (
                    Severity.CRITICAL,
                    f"the {role}'s queue does not feed it: its event source is {mapping['State']}",
                    f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled",
                )
        if not mappings:
            yield Severity.CRITICAL, f"the {role} has no event source", DEPLOY_AGAIN


def _event_sources(
    target: Target,
) -> Iterator[tuple[str, list["EventSourceMappingConfigurationTypeDef"]]]:
    """Return the event sources of each function that consumes a queue; on AWS only.

    By the function's name, Lambda lists only event sources that call no alias.
    """
    consumed = {"submitter": target.request_queue_url, "downloader": target.download_queue_url}
    for role, url in consumed.items() if target.functions else ():
        attributes = target.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        listed = target.lambda_.list_event_source_mappings(
            EventSourceArn=attributes["Attributes"]["QueueArn"]
        )
        yield (
            role,
            [
                mapping
                for mapping in listed["EventSourceMappings"]
                if mapping["FunctionArn"].partition(":function:")[2].partition(":")[0]
                == target.functions[role]
            ],
        )


def concurrency(target: Target, _plan: Plan) -> Result:
    """The account runs as many functions at a time as the pipeline may need."""
    if not target.functions:
        return
    try:
        settings = target.lambda_.get_account_settings()
    except ClientError as error:
        # An emulated AWS has no limits of an account.
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 405, 501):
            return
        raise
    limit = settings["AccountLimit"]["ConcurrentExecutions"]
    feeding = sum(
        mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0)
        for _, mappings in _event_sources(target)
        for mapping in mappings
    )
    if limit < feeding + WEBHOOKS_AT_A_TIME:
        yield (
            Severity.WARNING,
            (
                f"all functions of this account may run {limit} times at once, and the queues "
                f"alone may take {feeding} of them: webhooks are throttled and PDFs come late"
            ),
            (
                "ask for more: aws service-quotas request-service-quota-increase --service-code "
                "lambda --quota-code L-B99A9384 --desired-value 1000"
            ),
        )


def keys(target: Target, _plan: Plan) -> Result:
    """The secret has the keys, and no rotation is forgotten."""
    stored = secret.read(target)
    if not stored.has_keys(target.contract):
        names = ", or ".join(" and ".join(names) for names in target.contract.credentials)
        what = f"the secret has no {names}: every job waits"
        yield Severity.CRITICAL, what, "reportflow set-keys"
    if stored.is_rotating and stored.age > FORGOTTEN:
        what = (
            "the webhook's previous token is still accepted, "
            f"{duration(stored.age)} after its rotation"
        )
        yield Severity.WARNING, what, "reportflow rotate-webhook-secret --finish"


def webhook(target: Target, _plan: Plan) -> Result:
    """The webhook accepts the right token and no other."""
    stored = secret.read(target)
    right = secret.ask(target, stored)
    silence = "the webhook gave no answer to this machine"
    if right is None:
        yield Severity.UNKNOWN, silence, secret.remedy(stored, None)
        return
    if right != HTTPStatus.OK:
        what = f"the webhook answers {right} to an event with the right token"
        yield Severity.CRITICAL, what, secret.remedy(stored, right)
    refused = Metrics(target, RECENT).by_reason("webhook", "WebhooksRefused", [UNKNOWN_CALLER])
    if UNKNOWN_CALLER in refused:
        # It refuses wrong tokens. So a `doctor` every minute raises no alarm by its own events.
        return
    wrong = probe(target, WRONG_TOKEN)
    if wrong is None:
        yield Severity.UNKNOWN, silence, secret.remedy(stored, None)
    elif wrong != HTTPStatus.NOT_FOUND:
        what = f"the webhook answers {wrong} to a wrong token, and not 404"
        yield Severity.CRITICAL, what, "read the webhook's log; close the route until you know why"


def queues(target: Target, plan: Plan) -> Result:
    """No message waits for too long, whether it is tried or not."""
    for name, url, role in (
        ("request", target.request_queue_url, "submitter"),
        ("download", target.download_queue_url, "downloader"),
    ):
        untouched = queue_age(url)
        oldest = timedelta(seconds=Metrics(target, RECENT).read([untouched])[untouched].value)
        if oldest >= plan.unfinished:
            waiting = depth(target.sqs, url).total
            what = (
                f"the {name} queue's oldest message waits {duration(oldest)}, with {waiting} in all"
            )
            yield Severity.WARNING, what, f"find the reason in the {role}'s log"
        metrics = Metrics(target, max(plan.window, LONGEST_WAIT))
        tried = metrics.of_service(role, "UnfinishedSeconds", "Maximum")
        oldest = timedelta(seconds=metrics.read([tried])[tried].value)
        if oldest >= plan.unfinished:
            what = (
                f"a message of the {name} queue was put back {duration(oldest)} after it was sent"
            )
            remedy = f'the attempts say why, or "will be tried again" in the {role}\'s log'
            yield Severity.WARNING, what, remedy


def dead_letter_queues(target: Target, _plan: Plan) -> Result:
    """There is no dead letter."""
    for queue in dead_letters(target):
        by_reason: dict[str, list[DeadLetter]] = defaultdict(list)
        batches = list(read([queue], MAX_BATCHES))
        least = "at least " if len(batches) == MAX_BATCHES else ""
        for batch in batches:
            for one in batch:
                by_reason[one.reason].append(one)
        for code, those in by_reason.items():
            oldest = min(those, key=lambda one: one.sent_at)
            what = (
                f"{code} in {least}{several(len(those), 'dead letter')} of {queue.name}, the "
                f"oldest for {age(oldest.sent_at)}, of job {oldest.job_id}"
            )
            remedy = explain(code, in_dead_letters=True).remedy
            yield Severity.CRITICAL, what, f"{remedy} (reportflow dlq explain {quote(code)})"
        if hidden := hidden_by_others([queue]):
            what = (
                f"{several(hidden, 'dead letter')} of {queue.name} hidden: another command reads "
                "the queue"
            )
            yield Severity.UNKNOWN, what, "run doctor again in a minute"


def unfinished_jobs(target: Target, plan: Plan) -> Result:
    """Every job finishes in time."""
    records = Records(target)
    advice = {
        JobStatus.SUBMITTING: "find the job in the submitter's log",
        JobStatus.SUBMITTED: "ask ReportFlow for the file, or read the downloader's log",
    }
    now = datetime.now(UTC)
    for status, remedy in advice.items():
        listed = list(islice(records.in_state(status), MAX_JOBS))
        least = "at least " if len(listed) == MAX_JOBS else ""
        # Some have changed their state meanwhile.
        jobs = [job for job in records.detailed(iter(listed)) if job["status"] == status]
        late = [job for job in jobs if now - _begun(job) >= plan.unfinished]
        if late:
            oldest = min(late, key=_begun)
            what = (
                f"{least}{several(len(late), 'job')} late in {status}, {oldest['jobId']} the "
                f"longest: {age(_begun(oldest), now)}"
            )
            yield Severity.WARNING, what, f"{remedy} (reportflow status {oldest['jobId']})"


def _begun(job: Record) -> datetime:
    """Return when the job began; a redriven one begins again."""
    return moment(job, "begunAt" if "begunAt" in job else "createdAt")


def payload_buckets(target: Target, _plan: Plan) -> Result:
    """The buckets of large messages exist."""
    for bucket in target.payload_buckets:
        try:
            target.s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if aws_code(error) != "404":
                raise
            what = f"the payload bucket {bucket} does not exist"
            remedy = "create it, or remove it from payload_buckets and deploy"
            yield Severity.CRITICAL, what, remedy


def counters(target: Target, plan: Plan) -> Result:
    """The functions, and Lambda about them, counted nothing unusual."""
    metrics = Metrics(target, plan.window)
    own = [metrics.of_service(service, name) for name, service in _COUNTED.items()]
    counted = Counter({one.name: int(each.value) for one, each in metrics.read(own).items()})
    span = f"in the last {duration(plan.window)}"
    if counted["WebhooksRefused"] >= FEW_REFUSALS * max(1, plan.window / timedelta(hours=1)):
        yield (
            Severity.WARNING,
            f"{several(counted['WebhooksRefused'], 'webhook')} refused {span}",
            (
                "find the reason in the webhook's log. If the URL has leaked: reportflow "
                "rotate-webhook-secret"
            ),
        )
    if counted["WebhooksNotStored"]:
        what = f"{several(counted['WebhooksNotStored'], 'webhook')} could not be queued {span}"
        yield Severity.WARNING, what, "find the error code in the webhook's log"
    if counted["PossibleDuplicates"]:
        yield (
            Severity.WARNING,
            f"{several(counted['PossibleDuplicates'], 'job')} asked for again, unanswered, {span}",
            (
                "compare ReportFlow's list of files with the jobs that have possibleDuplicates: "
                "reportflow list --newer-than 1d --limit 0 --json"
            ),
        )
    of_lambda = {
        of_function(name, metric): (role, metric)
        for role, name in target.functions.items()
        for metric in ("Errors", "Throttles")
    }
    for asked, reading in metrics.read(list(of_lambda)).items():
        if reading.value:
            role, metric = of_lambda[asked]
            what = f"the {role} had {reading.value:.0f} {metric.lower()} {span}"
            yield Severity.WARNING, what, f"read the {role}'s log"
    came, lost, submitted = (
        counted[name] for name in ("WebhooksReceived", "LostWebhooks", "Submitted")
    )
    if submitted and not came and (lost or _was_submitted_long_ago(target, plan)):
        what = f"{several(submitted, 'job')} submitted {span}, and no webhook came"
        remedy = "put the URL of `reportflow webhook-url` into ReportFlow's settings"
        yield Severity.CRITICAL, what, remedy
    elif lost:
        what = f"{several(lost, 'PDF')} found by the completion check and not by a webhook {span}"
        yield Severity.WARNING, what, "docs/operations.md, WebhooksLost, names the ways to lose one"


def _was_submitted_long_ago(target: Target, plan: Plan) -> bool:
    """Return whether a job was submitted so long ago that its webhook is missing."""
    delay = target.environment("submitter").get("CHECK_DELAY_SECONDS", CHECK_DELAY_SECONDS)
    metrics = Metrics(target, plan.window, but=timedelta(seconds=int(delay)))
    return metrics.total("submitter", "Submitted") > 0


CHECKS: Final[tuple[Check, ...]] = (
    stacks,
    functions,
    event_sources,
    concurrency,
    keys,
    # Before the check of the webhook, which sends an event that is counted as refused.
    counters,
    attempts,
    alarms,
    webhook,
    queues,
    dead_letter_queues,
    unfinished_jobs,
    payload_buckets,
)
