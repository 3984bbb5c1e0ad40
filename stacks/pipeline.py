"""The pipeline stack: queues, layers, functions and the HTTP API."""

from typing import TYPE_CHECKING, cast

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from reportflow.settings import DownloaderSettings, SubmitterSettings, WebhookSettings
from stacks.functions import DeployedFunction, FunctionFactory, allow, feed, log_group
from stacks.http_api import http_api
from stacks.nag import acknowledge
from stacks.queues import QueuePair, allow_senders, queue_pair
from stacks.settings import DeploymentSettings
from stacks.storage import StorageStack

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONSUME = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)


class PipelineStack(Stack):
    """The resources without data: queues, functions and the HTTP API."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        storage: StorageStack,
    ) -> None:
        super().__init__(scope, construct_id, description="ReportFlow pipeline: queues, functions")
        self._settings = settings
        self._storage = storage
        requests = queue_pair(
            self,
            "Request",
            settings=settings,
            consumer_timeout_seconds=settings.submitter_timeout_seconds,
        )
        downloads = queue_pair(
            self,
            "Download",
            settings=settings,
            consumer_timeout_seconds=settings.downloader_timeout_seconds,
        )
        allow_senders(requests.queue, settings.request_senders)
        # The keys are fields of the classes in `reportflow.settings`.
        resources = {
            "jobs_table": storage.jobs_table.table_name,
            "archive_bucket": storage.archive_bucket.bucket_name,
            "event_bus": storage.event_bus.event_bus_name,
            "secret_arn": storage.secret.secret_arn,
            "request_queue_url": requests.queue.queue_url,
            "request_dlq_url": requests.dead_letters.queue_url,
            "download_queue_url": downloads.queue.queue_url,
            "download_dlq_url": downloads.dead_letters.queue_url,
        }
        self._factory = FunctionFactory(self, settings, resources)
        submitter = self._submitter(requests, downloads)
        webhook = self._webhook(downloads)
        downloader = self._downloader(downloads)
        access_logs = log_group(self, "AccessLogs", settings=settings)
        self.api = http_api(self, webhook=webhook.alias, access_logs=access_logs, settings=settings)
        self.queues: Mapping[str, QueuePair] = {"Request": requests, "Download": downloads}
        self.functions: Mapping[str, lambda_.Function] = {
            "submitter": submitter.function,
            "webhook": webhook.function,
            "downloader": downloader.function,
        }
        outputs = {
            "RequestQueueUrl": (requests.queue.queue_url, "Send your messages here"),
            "RequestQueueArn": (
                requests.queue.queue_arn,
                "The same queue, for policies, SNS subscriptions and EventBridge rules",
            ),
            "RequestDeadLetterQueueUrl": (
                requests.dead_letters.queue_url,
                "Requests that failed, with their reasons: reportflow dlq list",
            ),
            "DownloadQueueUrl": (
                downloads.queue.queue_url,
                "Finished files and completion checks, for the downloader",
            ),
            "DownloadDeadLetterQueueUrl": (
                downloads.dead_letters.queue_url,
                "Downloads that failed, with their reasons: reportflow dlq list",
            ),
            "WebhookBaseUrl": (
                f"{self.api.api_endpoint}/webhooks",
                "The webhook's URL without its token: reportflow webhook-url prints it in full",
            ),
            "SubmitterFunctionName": (
                submitter.function.function_name,
                "The function that asks ReportFlow for PDFs",
            ),
            "SubmitterRoleArn": (
                cast("iam.Role", submitter.function.role).role_arn,
                "For the policies of payload buckets and of their KMS keys in other accounts",
            ),
            "WebhookFunctionName": (
                webhook.function.function_name,
                "The function that ReportFlow calls when a PDF is finished",
            ),
            "DownloaderFunctionName": (
                downloader.function.function_name,
                "The function that archives PDFs",
            ),
        }
        for name, (value, description) in outputs.items():
            CfnOutput(self, name, value=value, description=description)

    def _submitter(self, requests: QueuePair, downloads: QueuePair) -> DeployedFunction:
        settings = self._settings
        table = self._storage.jobs_table
        statements = [
            allow(_CONSUME, requests.queue.queue_arn),
            allow(["sqs:SendMessage"], requests.dead_letters.queue_arn, downloads.queue.queue_arn),
            allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], table.table_arn),
            allow(["events:PutEvents"], self._storage.event_bus.event_bus_arn),
            allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
        ]
        if settings.payload_buckets:
            buckets = [f"arn:{self.partition}:s3:::{name}" for name in settings.payload_buckets]
            statements.append(allow(["s3:GetObject"], *(f"{bucket}/*" for bucket in buckets)))
            # Without this permission, S3 answers 403 instead of 404 for a missing object.
            statements.append(allow(["s3:ListBucket"], *buckets))
            statements += [self._decrypt_by_s3(key) for key in settings.payload_key_arns]
        deployed = self._factory.function(
            "submitter",
            statements,
            reads=SubmitterSettings,
            timeout_seconds=settings.submitter_timeout_seconds,
            memory_mb=settings.submitter_memory_mb,
        )
        for name in settings.payload_buckets:
            acknowledge(
                cast("iam.Role", deployed.function.role),
                f"IAM5[Resource::arn:<AWS::Partition>:s3:::{name}/*]",
                "The sender's library chooses the key of a payload.",
            )
        feed(
            deployed,
            requests.queue,
            batch_size=settings.request_batch_size,
            maximum_concurrency=settings.request_maximum_concurrency,
        )
        return deployed

    def _decrypt_by_s3(self, key_arn: str) -> iam.PolicyStatement:
        region = key_arn.split(":")[3]
        return iam.PolicyStatement(
            actions=["kms:Decrypt"],
            resources=[key_arn],
            conditions={"StringEquals": {"kms:ViaService": f"s3.{region}.{self.url_suffix}"}},
        )

    def _webhook(self, downloads: QueuePair) -> DeployedFunction:
        settings = self._settings
        return self._factory.function(
            "webhook",
            [
                allow(["sqs:SendMessage"], downloads.queue.queue_arn),
                allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
            ],
            reads=WebhookSettings,
            timeout_seconds=settings.webhook_timeout_seconds,
            memory_mb=settings.webhook_memory_mb,
        )

    def _downloader(self, downloads: QueuePair) -> DeployedFunction:
        settings = self._settings
        table = self._storage.jobs_table
        bucket = self._storage.archive_bucket
        deployed = self._factory.function(
            "downloader",
            [
                allow(_CONSUME, downloads.queue.queue_arn),
                allow(["sqs:SendMessage"], downloads.dead_letters.queue_arn),
                allow(["dynamodb:GetItem", "dynamodb:UpdateItem"], table.table_arn),
                allow(
                    ["dynamodb:Query"],
                    f"{table.table_arn}/index/byFileId",
                    f"{table.table_arn}/index/byLeasedDigest",
                ),
                # GetObject reads the checksum of an object that a crashed attempt has written.
                allow(["s3:GetObject", "s3:PutObject"], bucket.arn_for_objects("*")),
                # Without this permission, S3 answers 403 instead of 404 for a missing object.
                allow(["s3:ListBucket"], bucket.bucket_arn),
                allow(["events:PutEvents"], self._storage.event_bus.event_bus_arn),
                allow(["secretsmanager:GetSecretValue"], self._storage.secret.secret_arn),
            ],
            reads=DownloaderSettings,
            timeout_seconds=settings.downloader_timeout_seconds,
            memory_mb=settings.downloader_memory_mb,
            tmp_mb=settings.downloader_tmp_mb,
        )
        # The finding contains the name under which the storage stack exports the bucket.
        exported = self.resolve(self._storage.export_value(bucket.bucket_arn))["Fn::ImportValue"]
        acknowledge(
            cast("iam.Role", deployed.function.role),
            f"IAM5[Resource::{exported}/*]",
            "The downloader reads and writes any key of the archive, and no other bucket.",
        )
        feed(
            deployed,
            downloads.queue,
            batch_size=settings.download_batch_size,
            maximum_concurrency=settings.download_maximum_concurrency,
        )
        return deployed
