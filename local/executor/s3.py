"""S3: buckets and their policies."""

import json
from typing import Any, Literal, cast

import msgspec

from local.executor.differences import Difference
from local.executor.resource import (
    Context,
    Created,
    PolicyDocument,
    Properties,
    ResourceType,
    to_api,
)

_TLS_CONDITIONS = {"aws:SecureTransport", "s3:TlsVersion"}


class EncryptionByDefault(Properties):
    """How objects are encrypted that say nothing themselves."""

    algorithm: Literal["AES256"] = msgspec.field(name="SSEAlgorithm")


class EncryptionRule(Properties):
    """A rule of the bucket's encryption."""

    server_side_encryption_by_default: EncryptionByDefault


class BucketEncryption(Properties):
    """The bucket's encryption."""

    server_side_encryption_configuration: tuple[EncryptionRule, ...]


class VersioningConfiguration(Properties):
    """Whether the bucket keeps the versions of an object."""

    status: Literal["Enabled", "Suspended"]


class PublicAccessBlock(Properties):
    """What is refused although an ACL or a policy allows it to the public."""

    block_public_acls: bool = False
    block_public_policy: bool = False
    ignore_public_acls: bool = False
    restrict_public_buckets: bool = False


class OwnershipRule(Properties):
    """Who owns an object, and whether ACLs count."""

    object_ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]


class OwnershipControls(Properties):
    """The bucket's ownership rules."""

    rules: tuple[OwnershipRule, ...]


class AbortIncompleteMultipartUpload(Properties):
    """When the parts of an upload that was never completed are removed."""

    days_after_initiation: int


class NoncurrentVersionExpiration(Properties):
    """When versions that are no longer the current one are removed."""

    noncurrent_days: int
    newer_noncurrent_versions: int | None = None


class Transition(Properties):
    """When objects move to another storage class."""

    storage_class: str
    transition_in_days: int


class LifecycleRule(Properties):
    """A rule about what is moved or removed, and when."""

    status: Literal["Enabled", "Disabled"]
    id: str | None = None
    prefix: str = ""
    expiration_in_days: int | None = None
    expired_object_delete_marker: bool | None = None
    abort_incomplete_multipart_upload: AbortIncompleteMultipartUpload | None = None
    noncurrent_version_expiration: NoncurrentVersionExpiration | None = None
    transitions: tuple[Transition, ...] | None = None


class LifecycleConfiguration(Properties):
    """The bucket's lifecycle rules."""

    rules: tuple[LifecycleRule, ...]


class DefaultRetention(Properties):
    """How long each new object is locked."""

    mode: Literal["COMPLIANCE", "GOVERNANCE"]
    days: int


class ObjectLockRule(Properties):
    """The lock of objects that say nothing themselves."""

    default_retention: DefaultRetention


class ObjectLockConfiguration(Properties):
    """Whether objects can be locked, and how they are."""

    object_lock_enabled: Literal["Enabled"]
    rule: ObjectLockRule | None = None


class Bucket(Properties):
    """AWS::S3::Bucket."""

    bucket_name: str | None = None
    bucket_encryption: BucketEncryption | None = None
    versioning_configuration: VersioningConfiguration | None = None
    public_access_block_configuration: PublicAccessBlock | None = None
    ownership_controls: OwnershipControls | None = None
    lifecycle_configuration: LifecycleConfiguration | None = None
    object_lock_enabled: bool = False
    object_lock_configuration: ObjectLockConfiguration | None = None


class BucketPolicy(Properties):
    """AWS::S3::BucketPolicy."""

    bucket: str
    policy_document: PolicyDocument


def create_bucket(properties: Bucket, context: Context) -> Created:
    """Create a bucket, then set one after another what S3 takes in calls of their own."""
    s3 = context.backend.client("s3")
    bucket = properties.bucket_name or context.name(63).lower()
    s3.create_bucket(
        Bucket=bucket,
        CreateBucketConfiguration=cast("Any", {"LocationConstraint": context.backend.region}),
        ObjectLockEnabledForBucket=properties.object_lock_enabled,
    )
    if encryption := properties.bucket_encryption:
        s3.put_bucket_encryption(
            Bucket=bucket,
            ServerSideEncryptionConfiguration={
                "Rules": [
                    {
                        "ApplyServerSideEncryptionByDefault": {
                            "SSEAlgorithm": rule.server_side_encryption_by_default.algorithm
                        }
                    }
                    for rule in encryption.server_side_encryption_configuration
                ]
            },
        )
    if versioning := properties.versioning_configuration:
        s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": versioning.status}
        )
    if access := properties.public_access_block_configuration:
        s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=cast("Any", to_api(access))
        )
    if ownership := properties.ownership_controls:
        s3.put_bucket_ownership_controls(
            Bucket=bucket, OwnershipControls=cast("Any", to_api(ownership))
        )
    if lifecycle := properties.lifecycle_configuration:
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in lifecycle.rules]},
        )
    if lock := properties.object_lock_configuration:
        s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration=cast("Any", to_api(lock))
        )
    domain = f"{bucket}.s3.{context.backend.region}.amazonaws.com"
    return Created(bucket, {"Arn": f"arn:aws:s3:::{bucket}", "RegionalDomainName": domain})


def _lifecycle_rule(rule: LifecycleRule) -> Any:  # noqa: ANN401  (a TypedDict of the stubs)
    """Spell a rule as S3's own API does, which groups some of the template's properties."""
    made = to_api(rule)
    made["Filter"] = {"Prefix": made.pop("Prefix")}
    if "Id" in made:
        made["ID"] = made.pop("Id")
    for transition in made.get("Transitions", ()):
        transition["Days"] = transition.pop("TransitionInDays")
    expiration = {
        "Days": made.pop("ExpirationInDays", None),
        "ExpiredObjectDeleteMarker": made.pop("ExpiredObjectDeleteMarker", None),
    }
    if given := {key: value for key, value in expiration.items() if value is not None}:
        made["Expiration"] = given
    return made


def create_bucket_policy(properties: BucketPolicy, context: Context) -> Created:
    """Attach a policy to a bucket."""
    policy = properties.policy_document
    statements = policy["Statement"]
    applied = [
        statement
        for statement in statements
        if not (_denies_without_tls(statement) and context.differs(Difference.BUCKET_TLS))
    ]
    if applied:
        context.backend.client("s3").put_bucket_policy(
            Bucket=properties.bucket, Policy=json.dumps({**policy, "Statement": applied})
        )
    return Created(properties.bucket)


def _denies_without_tls(statement: dict[str, Any]) -> bool:
    keys = {key for condition in statement.get("Condition", {}).values() for key in condition}
    return statement["Effect"] == "Deny" and bool(keys) and keys <= _TLS_CONDITIONS


RESOURCE_TYPES = (
    ResourceType("AWS::S3::Bucket", Bucket, create_bucket),
    ResourceType("AWS::S3::BucketPolicy", BucketPolicy, create_bucket_policy),
)
