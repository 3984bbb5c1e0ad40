"""What `doctor` looks at. Each check yields what is wrong; none changes anything."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from cli import rotation
from cli.alarms import alarms
from cli.attempts import RECENT, attempts
from cli.error_codes import explain as explain_code
from cli.findings import DEPLOY_AGAIN, Check, Plan, Result, Severity
from cli.letters import Letter, dead_letters, depth, hidden_by_others
from cli.metrics import Metrics, of_function, queue_age
from cli.output import age, duration, several
from cli.probe import probe
from cli.records import Record, Records, moment
from cli.target import Target
from reportflow.jobs import JobStatus

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

MAX_JOBS: Final = 1000
"""Of unfinished jobs that are looked at one by one."""

MAX_BATCHES: Final = 100
"""Of dead letters in each queue: ten each, of which SQS may fill fewer."""

FORGOTTEN: Final = timedelta(days=1)
"""A rotation that takes longer was not finished."""

LONGEST_WAIT: Final = timedelta(hours=1)
"""Until a message that is tried again comes back."""

CHECK_DELAY_SECONDS: Final = 300
"""From a submission until its PDF is looked for, where no function is there to tell it."""

ALIAS: Final = "live"
"""What event sources and API call of each function: the version that was deployed last."""

WEBHOOKS_AT_A_TIME: Final = 10
"""The executions that are kept free for webhooks: a second's worth, should AWS be slow."""

WRONG_TOKEN: Final = "0" * 43
FEW_REFUSALS: Final = 30
"""Webhooks in an hour that anybody who scans the internet causes, and every ten minutes a
`doctor`."""

STRANGER: Final = "UnknownCaller"
"""The reason that the webhook counts for a wrong token."""


def stacks(target: Target, _plan: Plan) -> Result:
    """CloudFormation left the stacks whole."""
    for name in target.stacks.values():
        [stack] = target.cloudformation.describe_stacks(StackName=name)["Stacks"]
        status = stack["StackStatus"]
        if not status.endswith("COMPLETE") or "ROLLBACK" in status:
            what = f"the stack {name} is {status}"
            yield Severity.WARNING, what, "look at its events in CloudFormation, then deploy again"


def functions(target: Target, _plan: Plan) -> Result:
    """The functions are ready, and of one deployment."""
    layers = {}
    for role, name in target.functions.items():
        told = target.lambda_.get_function_configuration(FunctionName=name, Qualifier=ALIAS)
        layers[role] = tuple(layer.get("Arn", "") for layer in told.get("Layers", []))
        if (told.get("State"), told.get("LastUpdateStatus")) != ("Active", "Successful"):
            why = told.get("StateReason") or told.get("LastUpdateStatusReason") or "still changing"
            yield Severity.CRITICAL, f"the {role} is not ready: {why}", DEPLOY_AGAIN
    if len(set(layers.values())) > 1:
        what = "the functions are of different versions: they have different layers"
        yield Severity.WARNING, what, DEPLOY_AGAIN


def event_sources(target: Target, _plan: Plan) -> Result:
    """The queues feed their functions."""
    for role, url in _consumed(target):
        mappings = _event_sources(target, target.functions[role], url)
        for mapping in mappings:
            if mapping["State"] != "Enabled":
                yield (
                    Severity.CRITICAL,
                    f"the {role}'s queue does not feed it: its event source is {mapping['State']}",
                    f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled",
                )
        if not mappings:
            yield Severity.CRITICAL, f"the {role} has no event source", DEPLOY_AGAIN


def _consumed(target: Target) -> Iterator[tuple[str, str]]:
    """The functions that consume a queue, each with the queue's URL; on AWS only."""
    if target.functions:
        yield "submitter", target.request_queue_url
        yield "downloader", target.download_queue_url


def _event_sources(
    target: Target, function: str, queue_url: str
) -> Sequence["EventSourceMappingConfigurationTypeDef"]:
    """Return the event sources from a queue to a function, whatever alias they call.

    By the function's name, Lambda lists those that call no alias.
    """
    attributes = target.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    listed = target.lambda_.list_event_source_mappings(
        EventSourceArn=attributes["Attributes"]["QueueArn"]
    )
    return [
        mapping
        for mapping in listed["EventSourceMappings"]
        if mapping["FunctionArn"].partition(":function:")[2].partition(":")[0] == function
    ]


def concurrency(target: Target, _plan: Plan) -> Result:
    """The account runs as many functions at a time as the pipeline may need."""
    if not target.functions:
        return
    try:
        settings = target.lambda_.get_account_settings()
    except ClientError as error:
        # An emulated AWS has no accounts that could be short of something.
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 405, 501):
            return
        raise
    limit = settings["AccountLimit"]["ConcurrentExecutions"]
    feeding = sum(
        mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0)
        for role, url in _consumed(target)
        for mapping in _event_sources(target, target.functions[role], url)
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
    """The secret is filled in, and no rotation forgotten."""
    stored = rotation.read(target.secretsmanager, target.secret_id)
    if not stored.has_keys(target.contract):
        names = ", or ".join(" and ".join(names) for names in target.contract.credentials)
        yield (
            Severity.CRITICAL,
            f"the secret has no {names}: every job waits",
            "reportflow set-keys",
        )
    if stored.is_rotating and stored.age > FORGOTTEN:
        since = duration(stored.age)
        what = f"the webhook's previous token is still good, {since} after its rotation"
        yield Severity.WARNING, what, "reportflow rotate-webhook-secret --finish"


def webhook(target: Target, _plan: Plan) -> Result:
    """The webhook lets the right token in and no other."""
    stored = rotation.read(target.secretsmanager, target.secret_id)
    right = rotation.ask(target, stored)
    silence = (
        Severity.UNKNOWN,
        "the webhook gave no answer to this machine",
        rotation.remedy(stored, None),
    )
    if right is None:
        yield silence
        return
    if right != HTTPStatus.OK:
        yield (
            Severity.CRITICAL,
            f"the webhook answers {right} to an event with the right token",
            rotation.remedy(stored, right),
        )
    if Metrics(target, RECENT).by_reason("webhook", "WebhooksRefused", [STRANGER]).get(STRANGER):
        # It refuses wrong tokens, and whoever looks every minute raises no alarm by looking.
        return
    wrong = probe(target, WRONG_TOKEN)
    if wrong is None:
        yield silence
    elif wrong != HTTPStatus.NOT_FOUND:
        yield (
            Severity.CRITICAL,
            f"the webhook answers {wrong} to a wrong token, and not 404",
            "look in the webhook's log; close the route until you know why",
        )


def queues(target: Target, plan: Plan) -> Result:
    """No message waits for too long, whether it is tried or not."""
    for name, url, role in (
        ("request", target.request_queue_url, "submitter"),
        ("download", target.download_queue_url, "downloader"),
    ):
        # For the age it is the last minutes that count.
        untouched = queue_age(url)
        oldest = timedelta(seconds=Metrics(target, RECENT).read([untouched])[untouched].value)
        if oldest >= plan.unfinished:
            waiting = depth(target.sqs, url).total
            what = (
                f"the {name} queue's oldest message waits {duration(oldest)}, with {waiting} in all"
            )
            yield Severity.WARNING, what, f"look in the {role}'s log for what keeps it"
        # A message that is tried again comes back within an hour.
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
    """Nothing was given up."""
    for queue in dead_letters(target).values():
        by_reason: dict[str, list[Letter]] = defaultdict(list)
        least = ""
        with queue.look() as batches:
            for number, batch in enumerate(batches, 1):
                for letter in batch:
                    by_reason[letter.reason].append(letter)
                if number == MAX_BATCHES:
                    least = "at least "
                    break
        for code, letters in by_reason.items():
            oldest = min(letters, key=lambda letter: letter.sent_at)
            what = (
                f"{code} in {least}{several(len(letters), 'dead letter')} of {queue.name}, the "
                f"oldest for {age(oldest.sent_at)}, of job {oldest.job_id}"
            )
            remedy = explain_code(code, in_dead_letters=True).remedy
            yield Severity.CRITICAL, what, f"{remedy} (reportflow dlq explain {quote(code)})"
        if hidden := hidden_by_others([queue]):
            what = f"{several(hidden, 'dead letter')} of {queue.name} hidden: another command looks"
            yield Severity.UNKNOWN, what, "run doctor again in a minute"


def unfinished_jobs(target: Target, plan: Plan) -> Result:
    """Every job comes to its end in time."""
    table = Records(target.dynamodb, target.jobs_table)
    advice = {
        JobStatus.SUBMITTING: "look in the submitter's log for the job",
        JobStatus.SUBMITTED: "ask ReportFlow for the file, or see the downloader's log",
    }
    now = datetime.now(UTC)
    for status, remedy in advice.items():
        listed = list(islice(table.in_state(status), MAX_JOBS))
        least = "at least " if len(listed) == MAX_JOBS else ""
        # By now some have gone on.
        jobs = [job for job in table.detailed(iter(listed)) if job["status"] == status]
        late = [job for job in jobs if now - _begun(job) >= plan.unfinished]
        if late:
            oldest = min(late, key=_begun)
            count = f"{least}{several(len(late), 'job')}"
            since = age(_begun(oldest), now)
            what = f"{count} late in {status}, {oldest['jobId']} the longest: {since}"
            yield Severity.WARNING, what, f"{remedy} (reportflow status {oldest['jobId']})"


def _begun(job: Record) -> datetime:
    """Since when the job has not ended: a redriven one is begun anew."""
    return moment(job, "begunAt" if "begunAt" in job else "createdAt")


def payload_buckets(target: Target, _plan: Plan) -> Result:
    """The buckets of large messages are there."""
    configured = target.environment("submitter").get("PAYLOAD_BUCKETS", "")
    for bucket in filter(None, configured.split(",")):
        try:
            target.s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "404":
                raise
            what = f"the payload bucket {bucket} does not exist"
            yield Severity.CRITICAL, what, "make it, or take it out of payload_buckets and deploy"


def counters(target: Target, plan: Plan) -> Result:
    """What the functions counted, and what Lambda counted of them."""
    metrics = Metrics(target, plan.window)
    counted = metrics.own()
    span = f"in the last {duration(plan.window)}"
    if counted["WebhooksRefused"] >= FEW_REFUSALS * max(1, plan.window / timedelta(hours=1)):
        yield (
            Severity.WARNING,
            f"{several(counted['WebhooksRefused'], 'webhook')} refused {span}",
            (
                "look in the webhook's log for the reason; did the URL leak? "
                "reportflow rotate-webhook-secret"
            ),
        )
    if counted["WebhooksNotStored"]:
        what = f"{several(counted['WebhooksNotStored'], 'webhook')} could not be queued {span}"
        yield Severity.WARNING, what, "look in the webhook's log for the error code"
    if counted["PossibleDuplicates"]:
        yield (
            Severity.WARNING,
            f"{several(counted['PossibleDuplicates'], 'job')} asked for again, unanswered, {span}",
            (
                "compare ReportFlow's list of files with the jobs that say possibleDuplicates: "
                "reportflow list --newer-than 1d --limit 0 --json"
            ),
        )
    of_lambda = {
        of_function(name, metric): (role, metric)
        for role, name in target.functions.items()
        for metric in ("Errors", "Throttles")
    }
    for asked, told in metrics.read(list(of_lambda)).items():
        if told.value:
            role, metric = of_lambda[asked]
            what = f"the {role} had {told.value:.0f} {metric.lower()} {span}"
            yield Severity.WARNING, what, f"look in the {role}'s log"
    yield from _missing_webhooks(target, plan, counted)


def _missing_webhooks(target: Target, plan: Plan, counted: Counter[str]) -> Result:
    span = f"in the last {duration(plan.window)}"
    came, lost, submitted = (
        counted[name] for name in ("WebhooksReceived", "LostWebhooks", "Submitted")
    )
    if submitted and not came and (lost or _submitted_long_ago(target, plan)):
        yield (
            Severity.CRITICAL,
            f"{several(submitted, 'job')} submitted {span}, and no webhook came",
            "put the URL of `reportflow webhook-url` into ReportFlow's settings",
        )
    elif lost:
        what = f"{several(lost, 'PDF')} found by the check and not by a webhook {span}"
        yield Severity.WARNING, what, "docs/operations.md, WebhooksLost, names the ways to lose one"


def _submitted_long_ago(target: Target, plan: Plan) -> bool:
    """Whether a job was submitted so long ago that its webhook is missed."""
    told = target.environment("submitter").get("CHECK_DELAY_SECONDS", CHECK_DELAY_SECONDS)
    metrics = Metrics(target, plan.window, but=timedelta(seconds=int(told)))
    submitted = metrics.of_service("submitter", "Submitted")
    return metrics.read([submitted])[submitted].value > 0


CHECKS: Final[tuple[Check, ...]] = (
    stacks,
    functions,
    event_sources,
    concurrency,
    keys,
    # Before the webhook's own check, of which one event counts as refused.
    counters,
    attempts,
    alarms,
    webhook,
    queues,
    dead_letter_queues,
    unfinished_jobs,
    payload_buckets,
)
