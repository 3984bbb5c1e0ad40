"""What works: queues, layers, functions and the HTTP API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Size, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.http_api import http_api
from stacks.nag import acknowledge
from stacks.packaging import function_package, shared_layer, vendor_layer
from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS, TMP_MINIMUM_MB
from stacks.settings import SPARE_RECEIVES, VISIBILITY_PER_TIMEOUT, DeploymentSettings
from stacks.storage import StorageStack

_CONSUME = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)


@dataclass(frozen=True)
class QueuePair:
    """A queue that a function consumes, and where its messages end that cannot."""

    queue: sqs.Queue
    dead_letters: sqs.Queue


class PipelineStack(Stack):
    """The stateless half of the pipeline."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        storage: StorageStack,
    ) -> None:
        super().__init__(scope, construct_id, description="ReportFlow pipeline: what works")
        self._settings = settings
        self._storage = storage
        self._removal_policy = RemovalPolicy[settings.removal_policy.upper()]
        self._layers = self._build_layers()
        requests, request_dead_letters = self._queue_pair(
            "Request", consumer_timeout_seconds=settings.submitter_timeout_seconds
        )
        downloads, download_dead_letters = self._queue_pair(
            "Download", consumer_timeout_seconds=settings.downloader_timeout_seconds
        )
        submitter = self._submitter(requests, request_dead_letters, downloads)
        webhook = self._webhook(downloads)
        downloader = self._downloader(downloads, download_dead_letters)
        api = http_api(self, webhook=webhook, access_logs=self._log_group("AccessLogs"))
        self.queues: Mapping[str, QueuePair] = {
            "Request": QueuePair(requests, request_dead_letters),
            "Download": QueuePair(downloads, download_dead_letters),
        }
        self.functions: Mapping[str, lambda_.Function] = {
            "submitter": submitter,
            "webhook": webhook,
            "downloader": downloader,
        }
        self.api = api
        for key, value in {
            "RequestQueueUrl": requests.queue_url,
            "RequestDeadLetterQueueUrl": request_dead_letters.queue_url,
            "DownloadQueueUrl": downloads.queue_url,
            "DownloadDeadLetterQueueUrl": download_dead_letters.queue_url,
            "WebhookBaseUrl": f"{api.api_endpoint}/webhooks",
            "SubmitterFunctionName": submitter.function_name,
            "WebhookFunctionName": webhook.function_name,
            "DownloaderFunctionName": downloader.function_name,
        }.items():
            CfnOutput(self, key, value=value)

    def _build_layers(self) -> list[lambda_.ILayerVersion]:
        """The layers of all functions; where two hold the same file, the later one's counts."""
        return [
            lambda_.LayerVersion(
                self,
                "VendorLayer",
                description="Third-party packages, pinned by hash",
                code=lambda_.Code.from_asset(str(vendor_layer("arm64"))),
                compatible_architectures=[lambda_.Architecture.ARM_64],
                compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            ),
            lambda_.LayerVersion(
                self,
                "SharedLayer",
                description="The code that the functions share",
                code=lambda_.Code.from_asset(str(shared_layer())),
                compatible_architectures=[
                    lambda_.Architecture.ARM_64,
                    lambda_.Architecture.X86_64,
                ],
                compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            ),
        ]

    def _queue_pair(
        self, name: str, *, consumer_timeout_seconds: int
    ) -> tuple[sqs.Queue, sqs.Queue]:
        """A queue and its dead-letter queue."""
        dead_letters = sqs.Queue(
            self,
            f"{name}DeadLetterQueue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(SQS_MAXIMUM_RETENTION_DAYS),
            removal_policy=self._removal_policy,
        )
        queue = sqs.Queue(
            self,
            f"{name}Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(VISIBILITY_PER_TIMEOUT * consumer_timeout_seconds),
            retention_period=Duration.days(self._settings.message_retention_days),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=dead_letters,
                max_receive_count=self._settings.max_receive_count + SPARE_RECEIVES,
            ),
            removal_policy=self._removal_policy,
        )
        return queue, dead_letters

    def _submitter(
        self, requests: sqs.Queue, dead_letters: sqs.Queue, downloads: sqs.Queue
    ) -> lambda_.Function:
        settings = self._settings
        table = self._storage.jobs_table
        statements = [
            _allow(_CONSUME, requests.queue_arn),
            _allow(["sqs:SendMessage"], dead_letters.queue_arn, downloads.queue_arn),
            _allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], table.table_arn),
            _allow(["dynamodb:Query"], f"{table.table_arn}/index/byStatus"),
            _allow(["events:PutEvents"], self._storage.event_bus.event_bus_arn),
            _allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
        ]
        if settings.payload_buckets:
            buckets = [f"arn:{self.partition}:s3:::{name}" for name in settings.payload_buckets]
            statements.append(_allow(["s3:GetObject"], *(f"{bucket}/*" for bucket in buckets)))
            # Without it, S3 answers for an object that is not there as for one that is forbidden.
            statements.append(_allow(["s3:ListBucket"], *buckets))
        function = self._function(
            "submitter",
            statements,
            environment={
                "JOBS_TABLE": table.table_name,
                "REQUEST_QUEUE_URL": requests.queue_url,
                "REQUEST_DLQ_URL": dead_letters.queue_url,
                "DOWNLOAD_QUEUE_URL": downloads.queue_url,
                "PAYLOAD_BUCKETS": ",".join(settings.payload_buckets),
                "OUTCOME_GRACE_SECONDS": str(settings.outcome_grace_seconds),
                **self._of_both_consumers(),
            },
            timeout_seconds=settings.submitter_timeout_seconds,
            memory_mb=settings.submitter_memory_mb,
        )
        for name in settings.payload_buckets:
            acknowledge(
                cast("iam.Role", function.role),
                f"IAM5[Resource::arn:<AWS::Partition>:s3:::{name}/*]",
                "The sender's library names a payload as it likes.",
            )
        self._feed(
            function,
            requests,
            batch_size=settings.request_batch_size,
            maximum_concurrency=settings.request_maximum_concurrency,
        )
        return function

    def _webhook(self, downloads: sqs.Queue) -> lambda_.Function:
        settings = self._settings
        return self._function(
            "webhook",
            [
                _allow(["sqs:SendMessage"], downloads.queue_arn),
                _allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
            ],
            environment={
                "DOWNLOAD_QUEUE_URL": downloads.queue_url,
                "SECRET_ARN": self._storage.secret.secret_arn,
                "WORKSPACE_ID": settings.workspace_id,
                "WEBHOOK_SIGNATURE": settings.webhook_signature,
            },
            timeout_seconds=settings.webhook_timeout_seconds,
            memory_mb=settings.webhook_memory_mb,
        )

    def _downloader(self, downloads: sqs.Queue, dead_letters: sqs.Queue) -> lambda_.Function:
        settings = self._settings
        table = self._storage.jobs_table
        bucket = self._storage.archive_bucket
        function = self._function(
            "downloader",
            [
                _allow(_CONSUME, downloads.queue_arn),
                _allow(["sqs:SendMessage"], dead_letters.queue_arn),
                _allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], table.table_arn),
                _allow(
                    ["dynamodb:Query"],
                    f"{table.table_arn}/index/byFileId",
                    f"{table.table_arn}/index/byStatus",
                ),
                # Reading is for the checksum of an object that an attempt which died has written.
                _allow(["s3:GetObject", "s3:PutObject"], bucket.arn_for_objects("*")),
                # Without it S3 says 403 of an object that is not there.
                _allow(["s3:ListBucket"], bucket.bucket_arn),
                _allow(["events:PutEvents"], self._storage.event_bus.event_bus_arn),
                _allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
            ],
            environment={
                "JOBS_TABLE": table.table_name,
                "DOWNLOAD_QUEUE_URL": downloads.queue_url,
                "DOWNLOAD_DLQ_URL": dead_letters.queue_url,
                "ARCHIVE_BUCKET": bucket.bucket_name,
                "MAX_FILE_BYTES": str(settings.max_file_mb * 1024 * 1024),
                "ORPHAN_GRACE_SECONDS": str(settings.orphan_grace_seconds),
                "COMPLETION_DEADLINE_SECONDS": str(settings.completion_deadline_seconds),
                **self._of_both_consumers(),
            },
            timeout_seconds=settings.downloader_timeout_seconds,
            memory_mb=settings.downloader_memory_mb,
            tmp_mb=settings.downloader_tmp_mb,
        )
        # The name under which the other stack exports the bucket stands in the rule's finding.
        exported = self.resolve(self._storage.export_value(bucket.bucket_arn))["Fn::ImportValue"]
        acknowledge(
            cast("iam.Role", function.role),
            f"IAM5[Resource::{exported}/*]",
            "The downloader reads and writes any key of the archive, and no other bucket.",
        )
        self._feed(
            function,
            downloads,
            batch_size=settings.download_batch_size,
            maximum_concurrency=settings.download_maximum_concurrency,
        )
        return function

    def _of_both_consumers(self) -> Mapping[str, str]:
        """The environment that submitter and downloader have in common."""
        settings = self._settings
        return {
            "EVENT_BUS": self._storage.event_bus.event_bus_name,
            "SECRET_ARN": self._storage.secret.secret_arn,
            "REPORTFLOW_URL": settings.reportflow_url,
            "REPORTFLOW_FILES_URL": settings.reportflow_files_url,
            "STATUS_TTL_DAYS": str(settings.status_ttl_days),
            "MAX_ATTEMPTS": str(settings.max_attempts),
            "MAX_RECEIVE_COUNT": str(settings.max_receive_count),
            "MAX_MESSAGE_AGE_SECONDS": str(settings.max_message_age_seconds),
            "CHECK_DELAY_SECONDS": str(settings.check_delay_seconds),
        }

    def _function(
        self,
        name: str,
        statements: Sequence[iam.PolicyStatement],
        *,
        environment: Mapping[str, str],
        timeout_seconds: int,
        memory_mb: int,
        tmp_mb: int = TMP_MINIMUM_MB,
    ) -> lambda_.Function:
        """The function of `functions/{name}` with its own log group and role.

        The role is written out: the grants of the constructs, and the managed policy that CDK
        would give, allow more than a function needs.
        """
        log_group = self._log_group(f"{name.capitalize()}Logs")
        role = iam.Role(
            self,
            f"{name.capitalize()}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={
                "Function": iam.PolicyDocument(
                    statements=[
                        *statements,
                        _allow(
                            ["logs:CreateLogStream", "logs:PutLogEvents"],
                            log_group.log_group_arn,
                        ),
                    ]
                )
            },
        )
        function = lambda_.Function(
            self,
            name.capitalize(),
            code=lambda_.Code.from_asset(str(function_package(name))),
            handler="handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            layers=self._layers,
            role=role,
            log_group=log_group,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": self._settings.stack_prefix,
                "POWERTOOLS_LOG_LEVEL": self._settings.log_level,
                **environment,
            },
            timeout=Duration.seconds(timeout_seconds),
            memory_size=memory_mb,
            ephemeral_storage_size=Size.mebibytes(tmp_mb),
        )
        acknowledge(
            function,
            "L1",
            "The layers are compiled for this Python, and it is the one that every test runs on.",
        )
        return function

    def _feed(
        self,
        function: lambda_.Function,
        queue: sqs.Queue,
        *,
        batch_size: int,
        maximum_concurrency: int,
    ) -> None:
        """Let the queue call the function; it names the messages that must come again.

        Reserved concurrency would throttle instead, and throttled messages use up their receives.
        """
        lambda_.EventSourceMapping(
            self,
            f"{function.node.id}Source",
            target=function,
            event_source_arn=queue.queue_arn,
            batch_size=batch_size,
            max_concurrency=maximum_concurrency,
            report_batch_item_failures=True,
        )

    def _log_group(self, construct_id: str) -> logs.LogGroup:
        group = logs.LogGroup(self, construct_id, removal_policy=self._removal_policy)
        # The construct knows retentions by name only, the resource in days.
        resource = cast("logs.CfnLogGroup", group.node.default_child)
        resource.retention_in_days = self._settings.log_retention_days
        return group


def _allow(actions: Sequence[str], *resources: str) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(resources))
