"""S3 and DynamoDB."""

import json
from typing import Any, Final, Literal

from local.backend import BackendKind
from local.executor.resource import Context, Created, Properties, ResourceType, many, shape

_TLS_CONDITIONS: Final = {"aws:SecureTransport", "s3:TlsVersion"}
_PUBLIC_ACCESS: Final = (
    *("BlockPublicAcls", "BlockPublicPolicy"),
    *("IgnorePublicAcls", "RestrictPublicBuckets"),
)


def _create_bucket(properties: Properties, context: Context) -> Created:
    """Create a bucket, then set what S3 takes in calls of their own."""
    s3 = context.client("s3")
    bucket = properties.get("BucketName") or context.name(63).lower()
    s3.create_bucket(
        Bucket=bucket,
        CreateBucketConfiguration={"LocationConstraint": context.backend.region},
        ObjectLockEnabledForBucket=properties.get("ObjectLockEnabled", False),
    )
    if encryption := properties.get("BucketEncryption"):
        [rule] = encryption["ServerSideEncryptionConfiguration"]
        rules = [{f"Apply{name}": value for name, value in rule.items()}]
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    if versioning := properties.get("VersioningConfiguration"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=versioning)
    if access := properties.get("PublicAccessBlockConfiguration"):
        whole = dict.fromkeys(_PUBLIC_ACCESS, False) | access
        s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=whole)
    if ownership := properties.get("OwnershipControls"):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=ownership)
    if lifecycle := properties.get("LifecycleConfiguration"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket,
            LifecycleConfiguration={"Rules": [_lifecycle_rule(r) for r in lifecycle["Rules"]]},
        )
    if lock := properties.get("ObjectLockConfiguration"):
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=lock)
    domain = f"{bucket}.s3.{context.backend.region}.amazonaws.com"
    return Created(bucket, {"Arn": f"arn:aws:s3:::{bucket}", "RegionalDomainName": domain})


def _lifecycle_rule(rule: Properties) -> dict[str, Any]:
    """Spell a rule as S3's API does, which groups some of the template's properties."""
    made: dict[str, Any] = {"Filter": {"Prefix": ""}}
    for name, value in rule.items():
        match name:
            case "Id":
                made["ID"] = value
            case "Transitions":
                made[name] = [
                    {"StorageClass": each["StorageClass"], "Days": each["TransitionInDays"]}
                    for each in value
                ]
            case "ExpirationInDays":
                made.setdefault("Expiration", {})["Days"] = value
            case "ExpiredObjectDeleteMarker":
                made.setdefault("Expiration", {})[name] = value
            case _:
                made[name] = value
    return made


def _create_bucket_policy(properties: Properties, context: Context) -> Created:
    """Attach a policy, for moto without its denials of plain http: moto answers 403 to all."""
    policy = properties["PolicyDocument"]
    applied = [
        statement
        for statement in policy["Statement"]
        if context.backend.kind is not BackendKind.MOTO or not _denies_without_tls(statement)
    ]
    if applied:
        context.client("s3").put_bucket_policy(
            Bucket=properties["Bucket"], Policy=json.dumps({**policy, "Statement": applied})
        )
    return Created(properties["Bucket"])


def _denies_without_tls(statement: dict[str, Any]) -> bool:
    keys = {key for condition in statement.get("Condition", {}).values() for key in condition}
    return statement["Effect"] == "Deny" and bool(keys) and keys <= _TLS_CONDITIONS


def _create_table(properties: Properties, context: Context) -> Created:
    """Create a table, wait for it, then set what DynamoDB takes in calls of their own."""
    dynamodb = context.client("dynamodb")
    name = properties.pop("TableName", None) or context.name(255)
    ttl = properties.pop("TimeToLiveSpecification", None)
    recovery = properties.pop("PointInTimeRecoverySpecification", None)
    if encryption := properties.get("SSESpecification"):
        properties["SSESpecification"] = {"Enabled": encryption["SSEEnabled"]}
    dynamodb.create_table(**properties, TableName=name)
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    if ttl:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
    if recovery:
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification=recovery
        )
    return Created(name, {"Arn": context.arn("dynamodb", f"table/{name}")})


_KEYS: Final = many(shape({"AttributeName": str, "KeyType": Literal["HASH", "RANGE"]}))

RESOURCE_TYPES: Final = (
    ResourceType(
        "AWS::S3::Bucket",
        shape(
            BucketName=str,
            BucketEncryption=shape(
                {
                    "ServerSideEncryptionConfiguration": many(
                        shape({"ServerSideEncryptionByDefault": shape({"SSEAlgorithm": str})})
                    )
                }
            ),
            VersioningConfiguration=shape({"Status": str}),
            PublicAccessBlockConfiguration=shape(**dict.fromkeys(_PUBLIC_ACCESS, bool)),
            OwnershipControls=shape({"Rules": many(shape({"ObjectOwnership": str}))}),
            LifecycleConfiguration=shape(
                {
                    "Rules": many(
                        shape(
                            {"Status": str},
                            Id=str,
                            ExpirationInDays=int,
                            ExpiredObjectDeleteMarker=bool,
                            AbortIncompleteMultipartUpload=shape({"DaysAfterInitiation": int}),
                            NoncurrentVersionExpiration=shape({"NoncurrentDays": int}),
                            Transitions=many(shape({"StorageClass": str, "TransitionInDays": int})),
                        )
                    )
                }
            ),
            ObjectLockEnabled=bool,
            ObjectLockConfiguration=shape(
                {"ObjectLockEnabled": str},
                Rule=shape({"DefaultRetention": shape({"Mode": str, "Days": int})}),
            ),
        ),
        _create_bucket,
    ),
    ResourceType(
        "AWS::S3::BucketPolicy",
        shape({"Bucket": str, "PolicyDocument": dict[str, Any]}),
        _create_bucket_policy,
    ),
    ResourceType(
        "AWS::DynamoDB::Table",
        shape(
            {
                "AttributeDefinitions": many(shape({"AttributeName": str, "AttributeType": str})),
                "KeySchema": _KEYS,
                "BillingMode": Literal["PAY_PER_REQUEST"],
            },
            DeletionProtectionEnabled=bool,
            GlobalSecondaryIndexes=many(
                shape(
                    {
                        "IndexName": str,
                        "KeySchema": _KEYS,
                        "Projection": shape({"ProjectionType": str}, NonKeyAttributes=many(str)),
                    }
                )
            ),
            PointInTimeRecoverySpecification=shape({"PointInTimeRecoveryEnabled": bool}),
            SSESpecification=shape({"SSEEnabled": bool}),
            TableName=str,
            TimeToLiveSpecification=shape({"AttributeName": str, "Enabled": bool}),
        ),
        _create_table,
    ),
)
