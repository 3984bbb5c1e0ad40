"""The settings of one deployment, read from the CDK context and checked all at once."""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from msgspec.structs import fields
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reportflow.settings import FunctionSettings
from stacks.conflicts import LAST_HOURS, SPARE_TMP_MB, conflicts
from stacks.context import InvalidSettings, explained, without_cdks_own
from stacks.quotas import (
    SQS_MAXIMUM_RECEIVES,
    SQS_MAXIMUM_RETENTION_DAYS,
    TMP_MAXIMUM_MB,
    TMP_MINIMUM_MB,
    StorageClassName,
)
from stacks.setting_types import (
    BaseUrl,
    BucketNames,
    EmailAddress,
    EnvironmentName,
    KeyArns,
    LogRetention,
    OptionalBaseUrl,
    Senders,
    StackPrefix,
    Tags,
    WorkspaceId,
)

SPARE_RECEIVES: Final = 10
"""Deliveries in reserve, in case a function cannot dead-letter a message at its first try."""

VISIBILITY_PER_TIMEOUT: Final = 6
"""AWS recommends a visibility of six function time-outs: it lets Lambda retry throttled batches."""

WEBHOOK_REQUESTS_PER_SECOND: Final = 10
"""The lowest rate limit of the webhook's API. More than two webhooks per PDF only cost money."""

UNLIMITED_REQUESTS_PER_MINUTE: Final = 3000
"""The request rate from which the webhooks' rate limit derives if the rate limiter is off."""

# Less than 4 seconds are too short to wait for ReportFlow's answer and to store it.
_Timeout = Annotated[int, Field(ge=4, le=900)]
_Memory = Annotated[int, Field(ge=128, le=10_240)]
# A batch of more than ten needs a batching window, which delays every message.
_BatchSize = Annotated[int, Field(ge=1, le=10)]
_Concurrency = Annotated[int, Field(ge=2, le=1000)]
_DaysOrNever = Annotated[int, Field(ge=0, le=36_500)]


def _api(settings: Mapping[str, Any]) -> str:
    if settings["contract"] == "central":
        return "https://api.re-port-flow.com/v1"
    return f"https://{settings['workspace_id']}.re-port-flow.com/v1"


class DeploymentSettings(BaseModel):
    """The settings of a deployment; `from_context` checks all that this class does not.

    A setting is declared only here: its type, bounds and default, and below them its meaning and
    unit. A function receives it if its class in `reportflow.settings` has a field of that name.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, regex_engine="python-re", use_attribute_docstrings=True
    )

    workspace_id: WorkspaceId
    """The ReportFlow workspace. Webhooks of other workspaces are ignored."""

    contract: Literal["workspace", "central"] = "workspace"
    """The version of ReportFlow's API: workspace for an AppKey and a SecretKey, central for one
    key that begins with ak_, or for OAuth."""

    reportflow_url: BaseUrl = Field(default_factory=_api)
    """Base URL of the ReportFlow API, with its /v1."""

    reportflow_token_url: BaseUrl = "https://re-port-flow.com/api/v1/oauth/token"  # noqa: S105 - a URL
    """Where the contract central gets OAuth tokens, if the secret has a clientId."""

    former_reportflow_url: OptionalBaseUrl = ""
    """After a move from one contract to the other: base URL of the former, from which the files of
    older jobs still come. The secret keeps the former keys."""

    reportflow_files_url: BaseUrl = "https://re-port-flow.com"
    """The beginning of each PDF's URL in ReportFlow's answers. If no webhook comes, the downloader
    polls for the PDF under this URL only."""

    # A request costs one write of the rate limiter's item, and two after a quiet moment. DynamoDB
    # allows 1,000 writes of an item per second.
    reportflow_requests_per_minute: int = Field(default=100, ge=0, le=1000 // 2 * 60)
    """ReportFlow's rate limit for the workspace: the functions make at most this many requests in
    any minute, submissions and downloads together. 0 switches the rate limiter off."""

    reportflow_burst: int = Field(default=1, ge=1, le=100_000)
    """Requests that may start at the same moment after a pause. The rate limiter spreads the rest
    of the limit evenly over the minute."""

    environment: EnvironmentName = ""
    """The environment in cdk.json that is deployed; none if empty."""

    tags: Tags = ()
    """Tags for every resource that AWS can tag, besides application, environment and deployment."""

    stack_prefix: StackPrefix = "ReportFlow"
    """Prefix of the names of stacks, alarms and dashboard, and the name of event bus and metrics'
    namespace. With different prefixes, several deployments can share an account."""

    removal_policy: Literal["retain", "destroy"] = "retain"
    """What happens to table, bucket, secret, queues and logs when their stack is deleted. With
    retain, stacks and table are also protected from deletion."""

    payload_buckets: BucketNames = ()
    """Buckets that may hold the payload of messages too large for SQS."""

    payload_key_arns: KeyArns = ()
    """KMS keys that encrypt these buckets. The submitter gets the permission to decrypt with them;
    each key's own policy must allow it, too."""

    request_senders: Senders = ()
    """Who may send to the request queue, besides identities that this account's IAM allows: other
    accounts, or some of their roles and users; SNS topics; EventBridge rules."""

    submitter_timeout_seconds: _Timeout = 30
    """Time-out of the submitter, in seconds."""

    # An HTTP API waits 30 seconds for its integration. A call of SQS takes half of it at most.
    # With less than 8, it has time for one try only (`reportflow.aws.TWO_TRIES_SECONDS`).
    webhook_timeout_seconds: int = Field(default=10, ge=8, le=29)
    """Time-out of the webhook, in seconds."""

    downloader_timeout_seconds: _Timeout = 60
    """Time-out of the downloader, in seconds."""

    webhook_signature: Literal["off", "required"] = "off"
    """Whether a relay in front must sign webhooks in the Standard Webhooks form. The secret's list
    webhookSigningSecrets holds the relay's whsec_ keys."""

    submitter_memory_mb: _Memory = 512
    """Memory of the submitter, in MiB."""

    webhook_memory_mb: _Memory = 512
    """Memory of the webhook, in MiB."""

    downloader_memory_mb: _Memory = 512
    """Memory of the downloader, in MiB."""

    request_batch_size: _BatchSize = 10
    """Maximum number of messages per submitter invocation."""

    download_batch_size: _BatchSize = 5
    """Maximum number of messages per downloader invocation."""

    request_maximum_concurrency: _Concurrency = 2
    """Maximum number of submitter invocations at the same time."""

    download_maximum_concurrency: _Concurrency = 5
    """Maximum number of downloader invocations at the same time."""

    max_attempts: int = Field(default=24, ge=1, le=100)
    """Failed attempts after which a job is given up. Waiting for the rate limit or for new keys is
    not an attempt."""

    max_receive_count: int = Field(
        default=SQS_MAXIMUM_RECEIVES - SPARE_RECEIVES,
        ge=2,
        le=SQS_MAXIMUM_RECEIVES - SPARE_RECEIVES,
    )
    """Deliveries after which a function gives a message up, whatever the cause. SQS itself would
    dead-letter it some deliveries later, without a reason."""

    message_retention_days: int = Field(
        default=SQS_MAXIMUM_RETENTION_DAYS, ge=1, le=SQS_MAXIMUM_RETENTION_DAYS
    )
    """Days a message may wait in a queue. Dead-letter queues always keep messages for 14 days."""

    max_file_mb: int = Field(default=50, ge=1, le=TMP_MAXIMUM_MB)
    """Largest PDF that is archived, in MiB. A whole batch of them must fit the downloader's
    /tmp."""

    orphan_grace_seconds: int = Field(default=1800, ge=1, le=86_400)
    """Time for which a webhook for an unknown file is retried, in seconds. After that, the file
    counts as another system's."""

    outcome_grace_seconds: int = Field(default=60, ge=1, le=3600)
    """Time for which a job whose answer was lost waits for its webhook before it is submitted
    again, in seconds."""

    check_delay_seconds: int = Field(default=300, ge=1, le=900)
    """Time from a submission to the first poll for a PDF whose webhook did not come, in seconds.
    Before each later poll, the job waits as long as it has waited so far, at most 30 minutes."""

    completion_deadline_seconds: int = Field(default=21_600, ge=60, le=604_800)
    """Time from a submission until a job without a PDF is given up, in seconds."""

    status_ttl_days: int = Field(default=365, ge=1, le=3650)
    """Days a job's record is kept. Without its record, a message that comes back makes the PDF
    again."""

    archive_transition_days: _DaysOrNever = 0
    """Days after which a PDF moves to a cheaper storage class; never if 0. S3 does not move objects
    below 128 KiB, because they would cost more there."""

    archive_transition_class: StorageClassName = "GLACIER_IR"
    """The storage class that PDFs move to. Objects in either class can be read at once."""

    archive_expiry_days: _DaysOrNever = 0
    """Days after which a PDF is deleted; never if 0. The law says how long to keep invoices."""

    archive_noncurrent_days: _DaysOrNever = 0
    """Days in which a PDF that was deleted or replaced can still be restored; for ever if 0."""

    archive_lock_mode: Literal["off", "governance", "compliance"] = "off"
    """S3 Object Lock: nobody can delete a PDF before its lock ends. In governance mode, identities
    with the permission s3:BypassGovernanceRetention can. Once on, it cannot be switched off for the
    bucket."""

    archive_lock_days: _DaysOrNever = 0
    """Days each new PDF is locked; 0 without a lock."""

    alarm_email: EmailAddress = ""
    """E-mail address that receives alarms, after its owner has confirmed it; none if empty. Other
    receivers can subscribe to the monitoring stack's topic."""

    unfinished_alarm_seconds: int = Field(default=3600, ge=60, le=604_800)
    """Age of the oldest unfinished job that raises an alarm, in seconds."""

    refused_webhooks_alarm: int = Field(default=10, ge=1, le=100_000)
    """Number of webhooks refused within five minutes that raises an alarm."""

    lost_webhooks_alarm: int = Field(default=1, ge=1, le=100_000)
    """Number of PDFs found without their webhook within six hours that raises an alarm."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """The lowest level of log entries that are written."""

    log_retention_days: LogRetention = 30
    """Days logs are kept."""

    @classmethod
    def from_context(
        cls, context: Mapping[str, object], paths: Mapping[str, str] = MappingProxyType({})
    ) -> Self:
        """Read the settings from the CDK context, where `-c` values come as text.

        `paths` says where cdk.json has a setting, if not beside `environments`.

        Raises:
            InvalidSettings: a key is unknown, a value is not allowed, or values conflict; the
                message lists all mistakes.
        """
        given = without_cdks_own(context)
        mistakes: dict[str, str] = {}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            mistakes = explained(error.errors(), given, cls.model_fields, paths)
            valid = {key: value for key, value in given.items() if key not in mistakes}
            settings = cls.model_validate({"workspace_id": "unknown", **valid})
        # A conflict with a wrong value would mislead, so it is not reported.
        found = [text for names, text in conflicts(settings, paths) if names.isdisjoint(mistakes)]
        if mistakes or found:
            raise InvalidSettings([*(mistakes[key] for key in sorted(mistakes)), *found])
        return settings

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_true_and_false(cls, raw: object) -> object:
        # Pydantic would accept them as 1 and 0.
        if raw is True or raw is False:
            raise ValueError
        return raw

    def variables(
        self, read: type[FunctionSettings], resources: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the environment variables of a function: a resource or a setting for each field.

        `reportflow.settings.load` reads them.
        """
        return {
            each.name.upper(): resources[each.name]
            if each.name in resources
            else _as_text(getattr(self, each.name))
            for each in fields(read)
        }

    @property
    def downloader_tmp_mb(self) -> int:
        """Size of the downloader's /tmp, in MiB: it holds a whole batch of the largest files."""
        return max(TMP_MINIMUM_MB, self.download_batch_size * self.max_file_mb + SPARE_TMP_MB)

    @property
    def max_file_bytes(self) -> int:
        """Largest PDF that is archived, in bytes."""
        return self.max_file_mb * 1024 * 1024

    @property
    def webhook_requests_per_second(self) -> int:
        """Rate limit of the webhook's stage: two webhooks per job, if all requests submit jobs."""
        requests = self.reportflow_requests_per_minute or UNLIMITED_REQUESTS_PER_MINUTE
        return max(WEBHOOK_REQUESTS_PER_SECOND, ceil(2 * requests / 60))

    @property
    def stack_tags(self) -> dict[str, str]:
        """The tags of the stacks and their resources, for cost allocation."""
        own = {
            "application": "reportflow-pipeline",
            "deployment": self.stack_prefix,
            **({"environment": self.environment} if self.environment else {}),
        }
        return own | dict(tag.split("=") for tag in self.tags)

    @property
    def max_message_age_seconds(self) -> int:
        """Age at which a waiting message is given up, before its queue drops it."""
        return (24 * self.message_retention_days - LAST_HOURS) * 3600


def _as_text(value: str | int | tuple[str, ...]) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
