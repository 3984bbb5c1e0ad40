"""The storage stack, deployed apart and kept: jobs table, archive bucket, secret, event bus."""

import json
from typing import cast

from aws_cdk import CfnOutput, CfnResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct, IConstruct

from stacks.nag import acknowledge
from stacks.removal import removal_policy
from stacks.settings import DeploymentSettings

ABANDONED_UPLOAD_DAYS = 7


class StorageStack(Stack):
    """The resources that hold data, and the event bus."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: DeploymentSettings
    ) -> None:
        super().__init__(scope, construct_id, description="ReportFlow pipeline: data")
        self._settings = settings
        self._removal_policy = removal_policy(settings)
        self.jobs_table = self._jobs_table()
        self.archive_bucket = self._archive_bucket()
        self.secret = self._secret()
        # Other systems add rules to the bus. It holds no data, so it is deleted with the stack: a
        # bus that stayed would block the next deployment, which creates one of the same name.
        self.event_bus = events.EventBus(self, "EventBus", event_bus_name=settings.stack_prefix)
        self._make_last(self.jobs_table, self.archive_bucket, self.secret)
        outputs = {
            "JobsTableName": (self.jobs_table.table_name, "The table with one item per job"),
            "ArchiveBucketName": (self.archive_bucket.bucket_name, "The bucket with the PDFs"),
            "EventBusName": (
                self.event_bus.event_bus_name,
                "The bus with PDF Archived and PDF Failed: make your rules on it",
            ),
            "SecretArn": (
                self.secret.secret_arn,
                "The secret with ReportFlow's keys: reportflow set-keys",
            ),
        }
        for name, (value, description) in outputs.items():
            CfnOutput(self, name, value=value, description=description)

    def _make_last(self, table: dynamodb.Table, *others: IConstruct) -> None:
        """Create the table after the other resources with data.

        If a first deployment fails, CloudFormation deletes its resources, but cannot delete the
        protected table. The table depends on neither event bus nor bucket policy: these are deleted
        with the stack, and CloudFormation imports no resource that depends on a missing one.
        """
        for other in others:
            resource = cast("CfnResource", other.node.default_child)
            cast("CfnResource", table.node.default_child).add_resource_dependency(resource)

    def _jobs_table(self) -> dynamodb.Table:
        kept = self._settings.removal_policy == "retain"
        table = dynamodb.Table(
            self,
            "JobsTable",
            partition_key=_string("jobId"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expiresAt",
            # Unlike the others, retained even if its creation is rolled back: a protected table
            # cannot be deleted, so the rollback would fail.
            removal_policy=RemovalPolicy.RETAIN if kept else RemovalPolicy.DESTROY,
            deletion_protection=kept,
        )
        table.add_global_secondary_index(
            index_name="byFileId",
            partition_key=_string("fileId"),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        # A webhook finds the job of a lost 202 by it. Jobs have the attribute only until their 202.
        table.add_global_secondary_index(
            index_name="byLeasedDigest",
            partition_key=_string("leasedDigest"),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        table.add_global_secondary_index(
            index_name="byStatus",
            partition_key=_string("status"),
            sort_key=_string("updatedAt"),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            # Nobody reads them any more, but an index cannot change what it has.
            non_key_attributes=["requestDigest", "messageId"],
        )
        return table

    def _archive_bucket(self) -> s3.Bucket:
        lock = self._lock()
        bucket = s3.Bucket(
            self,
            "ArchiveBucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            lifecycle_rules=self._lifecycle(),
            object_lock_enabled=True if lock else None,
            object_lock_default_retention=lock,
            removal_policy=self._removal_policy,
        )
        acknowledge(
            bucket,
            "S1",
            "S3's access logs are late and incomplete. To prove who read a document, record the "
            "bucket's data events in the account's own CloudTrail.",
        )
        return bucket

    def _lifecycle(self) -> list[s3.LifecycleRule]:
        settings = self._settings
        rules = [
            # The pipeline makes no multipart uploads, but an import of an older archive may.
            s3.LifecycleRule(
                id="AbortUploads",
                abort_incomplete_multipart_upload_after=Duration.days(ABANDONED_UPLOAD_DAYS),
            )
        ]
        if settings.archive_transition_days:
            move = s3.Transition(
                storage_class=s3.StorageClass(settings.archive_transition_class),
                transition_after=Duration.days(settings.archive_transition_days),
            )
            rules.append(s3.LifecycleRule(id="Move", transitions=[move]))
        if settings.archive_expiry_days:
            expiry = Duration.days(settings.archive_expiry_days)
            rules.append(s3.LifecycleRule(id="Expire", expiration=expiry))
        if settings.archive_noncurrent_days:
            kept = Duration.days(settings.archive_noncurrent_days)
            forget = s3.LifecycleRule(
                id="Forget",
                noncurrent_version_expiration=kept,
                # A delete marker without versions is useless. CloudFormation accepts no rule with
                # this alone, and S3 no rule with both this and an expiry.
                expired_object_delete_marker=True,
            )
            rules.append(forget)
        return rules

    def _lock(self) -> s3.ObjectLockRetention | None:
        days = Duration.days(self._settings.archive_lock_days)
        match self._settings.archive_lock_mode:
            case "governance":
                return s3.ObjectLockRetention.governance(days)
            case "compliance":
                return s3.ObjectLockRetention.compliance(days)
        return None

    def _secret(self) -> secretsmanager.Secret:
        # Never change the template or the length: CloudFormation would generate a new value, which
        # overwrites the keys that the operator has filled in.
        unfilled = {"appKey": "", "secretKey": "", "previousWebhookToken": ""}
        secret = secretsmanager.Secret(
            self,
            "Secret",
            description="ReportFlow's appKey and secretKey, and the tokens in the webhook's URL",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps(unfilled),
                generate_string_key="webhookToken",
                password_length=48,
                exclude_punctuation=True,
            ),
            removal_policy=self._removal_policy,
        )
        acknowledge(
            secret,
            "SMG4",
            "ReportFlow's keys and the webhook's URL can be changed by hand only, so an automatic "
            "rotation would stop the pipeline.",
        )
        return secret


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
