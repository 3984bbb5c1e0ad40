"""The settings of one deployment: read from the CDK context, typed, and checked all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import ceil
from typing import Self

from stacks import arns, rules
from stacks.conflicts import conflicts
from stacks.context import InvalidSettings, Rule, parse
from stacks.quotas import (
    LOG_RETENTION_DAYS,
    SQS_MAXIMUM_RECEIVES,
    SQS_MAXIMUM_RETENTION_DAYS,
    STORAGE_CLASSES,
    TMP_MAXIMUM_MB,
    TMP_MINIMUM_MB,
)

SPARE_RECEIVES = 10
"""Deliveries for ending a message with its reason, should that crash or fail as well."""

VISIBILITY_PER_TIMEOUT = 6
"""AWS's own advice: visibility of six function time-outs lets Lambda retry a throttled batch."""

WEBHOOK_REQUESTS_PER_SECOND = 10
"""The least that is let through; whoever sends more than there are PDFs only costs money."""

UNLIMITED_REQUESTS_PER_MINUTE = 3000
"""What the webhooks are reckoned with where the deployment sets no rate limit of its own."""

_LAST_HOURS = 3
"""Of a message's retention: the longest wait between two deliveries is an hour, and the longest
visibility timeout an hour and a half."""

_TMP_SLACK_MB = 64

_REPORTFLOW_URL = "https://{workspace_id}.re-port-flow.com/v1"


def _setting(doc: str, rule: Rule) -> dict[str, object]:
    return {"doc": doc, "rule": rule}


# Of shorter ones nothing would be left for ReportFlow's answer beside storing it.
_TIMEOUT = rules.Integer(4, 900)
# An HTTP API gives its integration 30 seconds and no more. Of less than 8 nothing would be left for
# one patient call of the queue (`reportflow.aws.PROMPT_SECONDS`).
_WEBHOOK_TIMEOUT = rules.Integer(8, 29)
_MEMORY = rules.Integer(128, 10_240)
# A request costs one write of the schedule's item, two after a quiet moment, and DynamoDB takes
# 1,000 of an item a second.
_REQUESTS_PER_MINUTE = rules.Integer(0, 1000 // 2 * 60)
# More than ten a batch needs a batching window, and a window is a wait for every message.
_BATCH = rules.Integer(1, 10)
_CONCURRENCY = rules.Integer(2, 1000)
_DAYS_OR_NEVER = rules.Integer(0, 36_500)


@dataclass(frozen=True, kw_only=True)
class DeploymentSettings:
    """What a deployment may choose. `from_context` is the checked way to make one.

    Each field's metadata holds `doc` (meaning and unit) and `rule` (`rule.allowed`: the values).
    """

    workspace_id: str = field(
        metadata=_setting(
            "The ReportFlow workspace; webhooks of any other are ignored.",
            rules.Text(
                r"(?![-_])[A-Za-z0-9_-]{1,63}(?<![-_])",
                "a sub-domain: 1 to 63 letters, digits, inner hyphens and underscores",
            ),
        ),
    )
    reportflow_url: str = field(
        metadata=_setting(
            "Base URL of the ReportFlow API, with its /v1. Default: "
            + _REPORTFLOW_URL.format(workspace_id="{workspace_id}"),
            rules.BaseUrl(),
        ),
    )
    reportflow_files_url: str = field(
        default="https://re-port-flow.com",
        metadata=_setting(
            "What the PDF's URL in ReportFlow's answer begins with. When no webhook comes, the "
            "PDF is looked for there, and nowhere else.",
            rules.BaseUrl(),
        ),
    )
    reportflow_requests_per_minute: int = field(
        default=100,
        metadata=_setting(
            "ReportFlow's rate limit of the workspace, submissions and downloads together. So many "
            "are made in any minute, and no more; 0 leaves it to ReportFlow to refuse them.",
            _REQUESTS_PER_MINUTE,
        ),
    )
    reportflow_burst: int = field(
        default=5,
        metadata=_setting(
            "How many of these may be made at the same moment, after a pause. The rest of the "
            "limit is what goes on steadily.",
            rules.Integer(1, 100_000),
        ),
    )
    environment: str = field(
        default="",
        metadata=_setting(
            'Which of "environments" in cdk.json is deployed; none of them if empty.',
            rules.Text(r"([a-z][a-z0-9-]{0,30})?", "the name of an environment, or nothing"),
        ),
    )
    tags: tuple[str, ...] = field(
        default=(),
        metadata=_setting(
            "Tags of everything that AWS can tag, beside those that tell application, "
            "environment and deployment.",
            rules.Tags(),
        ),
    )
    stack_prefix: str = field(
        default="ReportFlow",
        metadata=_setting(
            "Begins the names of stacks, alarms and dashboard, and names the event bus and the "
            "metrics' namespace, so that several deployments share an account.",
            rules.Text(
                r"[A-Za-z][A-Za-z0-9-]{0,99}",
                "a letter, then up to 99 letters, digits and hyphens",
            ),
        ),
    )
    removal_policy: str = field(
        default="retain",
        metadata=_setting(
            "What becomes of table, bucket, secret, queues and logs when their stack is deleted. "
            "Where they are retained, stacks and table are protected from deletion as well.",
            rules.OneOf(("retain", "destroy")),
        ),
    )
    payload_buckets: tuple[str, ...] = field(
        default=(),
        metadata=_setting(
            "Buckets that may hold the payload of messages too large for SQS.",
            arns.BUCKETS,
        ),
    )
    payload_key_arns: tuple[str, ...] = field(
        default=(),
        metadata=_setting(
            "KMS keys that these buckets are encrypted with, for the submitter to read them. Each "
            "key's own policy has to let it, too.",
            arns.KEYS,
        ),
    )
    request_senders: tuple[str, ...] = field(
        default=(),
        metadata=_setting(
            "Who may send to the request queue, beside those whom this account's IAM lets: other "
            "accounts, or some of their roles and users; SNS topics; EventBridge rules.",
            arns.SENDERS,
        ),
    )
    submitter_timeout_seconds: int = field(
        default=30, metadata=_setting("Time-out of the submitter, in seconds.", _TIMEOUT)
    )
    webhook_timeout_seconds: int = field(
        default=10, metadata=_setting("Time-out of the webhook, in seconds.", _WEBHOOK_TIMEOUT)
    )
    downloader_timeout_seconds: int = field(
        default=60, metadata=_setting("Time-out of the downloader, in seconds.", _TIMEOUT)
    )
    webhook_signature: str = field(
        default="off",
        metadata=_setting(
            "Whether webhooks must be signed in the Standard Webhooks form, by a relay in front. "
            "Its whsec_ secrets stand in the secret, as the list webhookSigningSecrets.",
            rules.OneOf(("off", "required")),
        ),
    )
    submitter_memory_mb: int = field(
        default=512, metadata=_setting("Memory of the submitter, in MiB.", _MEMORY)
    )
    webhook_memory_mb: int = field(
        default=512, metadata=_setting("Memory of the webhook, in MiB.", _MEMORY)
    )
    downloader_memory_mb: int = field(
        default=512, metadata=_setting("Memory of the downloader, in MiB.", _MEMORY)
    )
    request_batch_size: int = field(
        default=10, metadata=_setting("Messages a submitter invocation takes at most.", _BATCH)
    )
    download_batch_size: int = field(
        default=5, metadata=_setting("Messages a downloader invocation takes at most.", _BATCH)
    )
    request_maximum_concurrency: int = field(
        default=2, metadata=_setting("Submitter invocations at a time.", _CONCURRENCY)
    )
    download_maximum_concurrency: int = field(
        default=5, metadata=_setting("Downloader invocations at a time.", _CONCURRENCY)
    )
    max_attempts: int = field(
        default=24,
        metadata=_setting(
            "Failed attempts after which a job is given up. Waiting for a rate limit or for "
            "refused keys is none.",
            rules.Integer(1, 100),
        ),
    )
    max_receive_count: int = field(
        default=SQS_MAXIMUM_RECEIVES - SPARE_RECEIVES,
        metadata=_setting(
            "Deliveries after which a function gives a message up, whatever kept it from its end. "
            f"SQS itself would dead-letter it {SPARE_RECEIVES} deliveries later, without a reason.",
            rules.Integer(2, SQS_MAXIMUM_RECEIVES - SPARE_RECEIVES),
        ),
    )
    message_retention_days: int = field(
        default=SQS_MAXIMUM_RETENTION_DAYS,
        metadata=_setting(
            "Days a message may wait on a queue; dead-letter queues always keep "
            f"{SQS_MAXIMUM_RETENTION_DAYS}.",
            rules.Integer(1, SQS_MAXIMUM_RETENTION_DAYS),
        ),
    )
    max_file_mb: int = field(
        default=50,
        metadata=_setting(
            "Largest PDF that is archived, in MiB. A whole batch of them must fit the downloader's "
            "/tmp.",
            rules.Integer(1, TMP_MAXIMUM_MB),
        ),
    )
    orphan_grace_seconds: int = field(
        default=1800,
        metadata=_setting(
            "How long a webhook for an unknown file is tried again before it is taken for "
            "somebody else's, in seconds.",
            rules.Integer(1, 86_400),
        ),
    )
    outcome_grace_seconds: int = field(
        default=60,
        metadata=_setting(
            "How long a submission whose answer was lost may still be settled by its webhook, "
            "before it is repeated; in seconds.",
            rules.Integer(1, 3600),
        ),
    )
    check_delay_seconds: int = field(
        default=300,
        metadata=_setting(
            "Time from a submission to the first look for a PDF whose webhook did not come, in "
            "seconds. Each further look comes after as long again as the job has waited.",
            rules.Integer(1, 900),
        ),
    )
    completion_deadline_seconds: int = field(
        default=21_600,
        metadata=_setting(
            "Time from a submission until a job without a PDF is given up, in seconds.",
            rules.Integer(60, 604_800),
        ),
    )
    status_ttl_days: int = field(
        default=365,
        metadata=_setting(
            "Days a job's record is kept, and with it the memory that its PDF was made.",
            rules.Integer(1, 3650),
        ),
    )
    archive_transition_days: int = field(
        default=0,
        metadata=_setting(
            "Days after which a PDF moves to a cheaper storage class; never if 0. S3 leaves those "
            "below 128 KiB where they are, since they would cost more there.",
            _DAYS_OR_NEVER,
        ),
    )
    archive_transition_class: str = field(
        default="GLACIER_IR",
        metadata=_setting(
            "The storage class that PDFs move to. Both can be read at once.",
            rules.OneOf(tuple(STORAGE_CLASSES)),
        ),
    )
    archive_expiry_days: int = field(
        default=0,
        metadata=_setting(
            "Days after which a PDF is deleted; never if 0. The law says how long invoices are "
            "kept.",
            _DAYS_OR_NEVER,
        ),
    )
    archive_noncurrent_days: int = field(
        default=0,
        metadata=_setting(
            "Days in which a PDF that was deleted or replaced can still be brought back; for "
            "ever if 0.",
            _DAYS_OR_NEVER,
        ),
    )
    archive_lock_mode: str = field(
        default="off",
        metadata=_setting(
            "S3 Object Lock: nobody can delete a PDF before its time, in the mode governance but "
            "with a permission of its own. Once on, the bucket keeps it for ever.",
            rules.OneOf(("off", "governance", "compliance")),
        ),
    )
    archive_lock_days: int = field(
        default=0,
        metadata=_setting("Days each new PDF is locked; 0 without a lock.", _DAYS_OR_NEVER),
    )
    alarm_email: str = field(
        default="",
        metadata=_setting(
            "Where alarms are sent, once the address has been confirmed; nowhere if empty. "
            "Whatever else shall hear of them subscribes to the topic of the monitoring stack.",
            rules.Text(r"([^@\s]+@[^@\s]+)?", "an e-mail address, or nothing"),
        ),
    )
    unfinished_alarm_seconds: int = field(
        default=3600,
        metadata=_setting(
            "Age of the oldest unfinished job that raises an alarm, in seconds.",
            rules.Integer(60, 604_800),
        ),
    )
    refused_webhooks_alarm: int = field(
        default=10,
        metadata=_setting(
            "Webhooks refused within five minutes that raise an alarm.",
            rules.Integer(1, 100_000),
        ),
    )
    lost_webhooks_alarm: int = field(
        default=1,
        metadata=_setting(
            "PDFs found without their webhook within six hours that raise an alarm.",
            rules.Integer(1, 100_000),
        ),
    )
    log_level: str = field(
        default="INFO",
        metadata=_setting(
            "Least severe log entries that are written.",
            rules.OneOf(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
        ),
    )
    log_retention_days: int = field(
        default=30,
        metadata=_setting("Days logs are kept.", rules.OneOf(LOG_RETENTION_DAYS)),
    )

    @classmethod
    def from_context(cls, context: Mapping[str, object]) -> Self:
        """Read the settings from the CDK context, where `-c` values come as text.

        Raises:
            InvalidSettings: any key is unknown or any value not allowed; it lists all of them.
        """
        rule_of = {each.name: each.metadata["rule"] for each in fields(cls)}
        values, mistakes = parse(context, rule_of)
        if "workspace_id" not in context:
            allowed = rule_of["workspace_id"].allowed
            mistakes["workspace_id"] = f"workspace_id is missing: {allowed}"
        values = {"workspace_id": "", "reportflow_url": "", **values}
        values["reportflow_url"] = values["reportflow_url"] or _REPORTFLOW_URL.format(**values)
        made = cls(**values)
        # A conflict between values of which one is wrong anyway would only mislead.
        at_odds = [text for keys, text in conflicts(made) if keys.isdisjoint(mistakes)]
        if mistakes or at_odds:
            raise InvalidSettings([*(mistakes[key] for key in sorted(mistakes)), *at_odds])
        return made

    @property
    def downloader_tmp_mb(self) -> int:
        """Size of the downloader's /tmp, in MiB: a batch of the largest files, spooled at once."""
        return max(TMP_MINIMUM_MB, self.download_batch_size * self.max_file_mb + _TMP_SLACK_MB)

    @property
    def webhook_requests_per_second(self) -> int:
        """What the webhook's stage lets through: two a job, were all requests submissions."""
        requests = self.reportflow_requests_per_minute or UNLIMITED_REQUESTS_PER_MINUTE
        return max(WEBHOOK_REQUESTS_PER_SECOND, ceil(2 * requests / 60))

    @property
    def stack_tags(self) -> dict[str, str]:
        """What the stacks and all that is in them are tagged with, for who divides the bill."""
        own = {
            "application": "reportflow-pipeline",
            "deployment": self.stack_prefix,
            **({"environment": self.environment} if self.environment else {}),
        }
        return own | dict(tag.split("=") for tag in self.tags)

    @property
    def max_message_age_seconds(self) -> int:
        """When a waiting message is given up: soon enough before its queue drops it."""
        return (24 * self.message_retention_days - _LAST_HOURS) * 3600
