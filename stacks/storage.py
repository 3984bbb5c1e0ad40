"""What holds data: the jobs table, the archive bucket and the secret. Deployed apart and kept."""

import json

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stacks.nag import acknowledge
from stacks.settings import DeploymentSettings


class StorageStack(Stack):
    """The stateful half of the pipeline."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: DeploymentSettings
    ) -> None:
        super().__init__(scope, construct_id, description="ReportFlow pipeline: what holds data")
        self._removal_policy = RemovalPolicy[settings.removal_policy.upper()]
        self.jobs_table = self._jobs_table()
        self.archive_bucket = self._archive_bucket()
        self.secret = self._secret()
        CfnOutput(self, "JobsTableName", value=self.jobs_table.table_name)
        CfnOutput(self, "ArchiveBucketName", value=self.archive_bucket.bucket_name)
        CfnOutput(self, "SecretArn", value=self.secret.secret_arn)

    def _jobs_table(self) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "JobsTable",
            partition_key=_string("jobId"),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expiresAt",
            removal_policy=self._removal_policy,
            deletion_protection=self._removal_policy is RemovalPolicy.RETAIN,
        )
        table.add_global_secondary_index(
            index_name="byFileId",
            partition_key=_string("fileId"),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
        table.add_global_secondary_index(
            index_name="byStatus",
            partition_key=_string("status"),
            sort_key=_string("updatedAt"),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            # A webhook finds the submission that was never answered by its document, a message
            # whose payload is gone the job that it began.
            non_key_attributes=["requestDigest", "messageId"],
        )
        return table

    def _archive_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "ArchiveBucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            removal_policy=self._removal_policy,
        )
        acknowledge(
            bucket,
            "S1",
            "Access logs come late and not all. Who has to prove who read a document records the "
            "bucket's data events in the account's own CloudTrail.",
        )
        return bucket

    def _secret(self) -> secretsmanager.Secret:
        # Careful: whenever this template or length changes, CloudFormation generates the value
        # anew, and the keys that were filled in after the deployment are gone.
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
            "ReportFlow makes its keys, and takes the webhook's URL, by hand only: a schedule "
            "would cut the pipeline off.",
        )
        return secret


def _string(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
