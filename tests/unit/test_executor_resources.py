import base64
import hashlib
import json
import string
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.backend import Backend, BackendKind
from tests.conftest import Backends
from tests.unit.small_templates import deploy_resources, queue

DENY_WITHOUT_TLS: dict[str, Any] = {
    "Effect": "Deny",
    "Principal": {"AWS": "*"},
    "Action": "s3:*",
    "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
ASSUME: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture(scope="module", params=list(BackendKind))
def backend(request: pytest.FixtureRequest, backends: Backends) -> Backend:
    return backends(request.param)


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: str, resource: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def bucket(**properties: object) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "Properties": properties}


def test_queues_have_their_attributes(backend: Backend) -> None:
    _, outputs = deploy_resources(
        backend,
        {
            "Dead": queue(MessageRetentionPeriod=1_209_600, SqsManagedSseEnabled=True),
            "Queue": queue(
                VisibilityTimeout=180,
                DelaySeconds=7,
                MaximumMessageSize=65_536,
                ReceiveMessageWaitTimeSeconds=20,
                SqsManagedSseEnabled=False,
                RedrivePolicy={
                    "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                    "maxReceiveCount": 100,
                },
            ),
        },
        Dead={"Ref": "Dead"},
        DeadArn={"Fn::GetAtt": ["Dead", "Arn"]},
        Queue={"Ref": "Queue"},
    )
    sqs = backend.client("sqs")
    read = sqs.get_queue_attributes(QueueUrl=outputs["Queue"], AttributeNames=["All"])["Attributes"]
    assert read["VisibilityTimeout"] == "180"
    assert read["DelaySeconds"] == "7"
    assert read["MaximumMessageSize"] == "65536"
    assert read["ReceiveMessageWaitTimeSeconds"] == "20"
    assert read["SqsManagedSseEnabled"] == "false"
    redrive = json.loads(read["RedrivePolicy"])
    assert redrive == {"deadLetterTargetArn": outputs["DeadArn"], "maxReceiveCount": 100}
    dead = sqs.get_queue_attributes(QueueUrl=outputs["Dead"], AttributeNames=["All"])["Attributes"]
    assert dead["QueueArn"] == outputs["DeadArn"]
    assert dead["MessageRetentionPeriod"] == "1209600"
    assert dead["SqsManagedSseEnabled"] == "true"


def test_a_queue_has_its_policy_and_still_takes_messages(backend: Backend) -> None:
    deny = {**DENY_WITHOUT_TLS, "Action": "sqs:*", "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}}
    _, outputs = deploy_resources(
        backend,
        {
            "Queue": queue(),
            "Policy": {
                "Type": "AWS::SQS::QueuePolicy",
                "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": policy(deny)},
            },
        },
        Url={"Ref": "Queue"},
        Arn={"Fn::GetAtt": ["Queue", "Arn"]},
    )
    sqs = backend.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=outputs["Url"], AttributeNames=["Policy"])
    (statement,) = json.loads(attributes["Attributes"]["Policy"])["Statement"]
    assert statement == {**deny, "Resource": outputs["Arn"]}
    assert sqs.send_message(QueueUrl=outputs["Url"], MessageBody="x")["MessageId"]


def test_a_bucket_moves_expires_and_locks_what_the_template_says(backend: Backend) -> None:
    _, outputs = deploy_resources(
        backend,
        {
            "Bucket": bucket(
                LifecycleConfiguration={
                    "Rules": [
                        {
                            "Id": "move",
                            "Status": "Enabled",
                            "Transitions": [{"StorageClass": "GLACIER_IR", "TransitionInDays": 30}],
                        },
                        {"Id": "expire", "Status": "Enabled", "ExpirationInDays": 400},
                    ]
                },
                ObjectLockEnabled=True,
                ObjectLockConfiguration={
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 5}},
                },
                VersioningConfiguration={"Status": "Enabled"},
            )
        },
        Name={"Ref": "Bucket"},
    )
    s3, name = backend.client("s3"), outputs["Name"]
    rules = {
        rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    }
    (transition,) = rules["move"]["Transitions"]
    assert transition == {"Days": 30, "StorageClass": "GLACIER_IR"}
    assert rules["expire"]["Expiration"]["Days"] == 400
    lock = s3.get_object_lock_configuration(Bucket=name)["ObjectLockConfiguration"]
    retention = lock["Rule"]["DefaultRetention"]
    assert (retention["Mode"], retention["Days"]) == ("GOVERNANCE", 5)
    # As the downloader writes it: once, with its checksum.
    checksum = base64.b64encode(hashlib.sha256(b"%PDF-").digest()).decode()
    written = s3.put_object(
        Bucket=name,
        Key="a",
        Body=b"%PDF-",
        IfNoneMatch="*",
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256=checksum,
    )
    with pytest.raises(ClientError):
        s3.delete_object(Bucket=name, Key="a", VersionId=written["VersionId"])


def test_a_bucket_is_as_private_and_safe_as_the_template_says(backend: Backend) -> None:
    _, outputs = deploy_resources(
        backend,
        {
            "Bucket": bucket(
                BucketEncryption={
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                    ]
                },
                LifecycleConfiguration={
                    "Rules": [
                        {
                            "Id": "tidy",
                            "Status": "Enabled",
                            "ExpiredObjectDeleteMarker": True,
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
                            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                        }
                    ]
                },
                OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                },
                VersioningConfiguration={"Status": "Enabled"},
            )
        },
        Name={"Ref": "Bucket"},
    )
    s3, name = backend.client("s3"), outputs["Name"]
    (encryption,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"][
        "Rules"
    ]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    ownership = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
    assert ownership == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    access = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert access == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": False,
    }
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert rule["ID"] == "tidy"
    assert rule["Expiration"]["ExpiredObjectDeleteMarker"] is True
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    location = s3.get_bucket_location(Bucket=name)["LocationConstraint"]
    assert location == backend.region


def test_a_bucket_policy_is_applied_but_for_what_the_backend_cannot(backend: Backend) -> None:
    ours = {**allow("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/public/*"}), "Principal": "*"}
    _, outputs = deploy_resources(
        backend,
        {
            "Bucket": bucket(),
            "Policy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {
                    "Bucket": {"Ref": "Bucket"},
                    "PolicyDocument": policy(ours, DENY_WITHOUT_TLS),
                },
            },
        },
        Name={"Ref": "Bucket"},
    )
    s3 = backend.client("s3")
    statements = json.loads(s3.get_bucket_policy(Bucket=outputs["Name"])["Policy"])["Statement"]
    assert statements[0]["Resource"] == f"arn:aws:s3:::{outputs['Name']}/public/*"
    kept = [each for each in statements if each["Effect"] == "Deny"]
    assert bool(kept) == (backend.kind is not BackendKind.MOTO)
    s3.put_object(Bucket=outputs["Name"], Key="key", Body=b"x")


def test_moto_still_needs_the_bucket_policys_exception(aws: Backend) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(
        Bucket="tls-only", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    deny = {**DENY_WITHOUT_TLS, "Resource": "arn:aws:s3:::tls-only/*"}
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps(policy(deny)))
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket="tls-only", Key="key", Body=b"x")


def test_a_table_has_its_indexes_and_safeguards(backend: Backend) -> None:
    keys = [{"AttributeName": "jobId", "KeyType": "HASH"}]
    by_status = {
        "IndexName": "byStatus",
        "KeySchema": [
            {"AttributeName": "status", "KeyType": "HASH"},
            {"AttributeName": "updatedAt", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    _, outputs = deploy_resources(
        backend,
        {
            "Table": {
                "Type": "AWS::DynamoDB::Table",
                "Properties": {
                    "AttributeDefinitions": [
                        {"AttributeName": name, "AttributeType": "S"}
                        for name in ("jobId", "status", "updatedAt")
                    ],
                    "BillingMode": "PAY_PER_REQUEST",
                    "DeletionProtectionEnabled": True,
                    "GlobalSecondaryIndexes": [by_status],
                    "KeySchema": keys,
                    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                    "SSESpecification": {"SSEEnabled": True},
                    "TimeToLiveSpecification": {"AttributeName": "expiresAt", "Enabled": True},
                },
            }
        },
        Name={"Ref": "Table"},
        Arn={"Fn::GetAtt": ["Table", "Arn"]},
    )
    dynamodb, name = backend.client("dynamodb"), outputs["Name"]
    table = dynamodb.describe_table(TableName=name)["Table"]
    assert table["TableArn"] == outputs["Arn"]
    assert table["KeySchema"] == keys
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["DeletionProtectionEnabled"] is True
    assert table["SSEDescription"]["Status"] == "ENABLED"
    (index,) = table["GlobalSecondaryIndexes"]
    assert {key: index.get(key) for key in by_status} == by_status
    ttl = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}
    backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_secret_has_its_template_and_a_password_as_asked_for(backend: Backend) -> None:
    _, outputs = deploy_resources(
        backend,
        {
            "Secret": {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {
                    "Description": "what it is for",
                    "GenerateSecretString": {
                        "SecretStringTemplate": json.dumps({"appKey": ""}),
                        "GenerateStringKey": "token",
                        "PasswordLength": 48,
                        "ExcludePunctuation": True,
                        "ExcludeCharacters": "abcxyz",
                    },
                },
            }
        },
        Arn={"Ref": "Secret"},
    )
    client = backend.client("secretsmanager")
    value = json.loads(client.get_secret_value(SecretId=outputs["Arn"])["SecretString"])
    token = value.pop("token")
    assert value == {"appKey": ""}
    assert len(token) == 48
    assert set(token) <= set(string.ascii_letters + string.digits) - set("abcxyz")
    described = client.describe_secret(SecretId=outputs["Arn"])
    assert described["ARN"] == outputs["Arn"]
    assert described["Description"] == "what it is for"


def test_a_role_has_its_own_its_attached_and_its_managed_policies(backend: Backend) -> None:
    managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    _, outputs = deploy_resources(
        backend,
        {
            "Queue": queue(),
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": ASSUME,
                    "Description": "of a function",
                    "ManagedPolicyArns": [managed],
                    "Policies": [
                        {
                            "PolicyName": "inline",
                            "PolicyDocument": policy(
                                allow("sqs:SendMessage", {"Fn::GetAtt": ["Queue", "Arn"]})
                            ),
                        }
                    ],
                },
            },
            "Policy": {
                "Type": "AWS::IAM::Policy",
                "Properties": {
                    "PolicyName": "attached",
                    "PolicyDocument": policy(allow("s3:GetObject", "*")),
                    "Roles": [{"Ref": "Role"}],
                },
            },
        },
        Name={"Ref": "Role"},
        Arn={"Fn::GetAtt": ["Role", "Arn"]},
        QueueArn={"Fn::GetAtt": ["Queue", "Arn"]},
    )
    iam, name = backend.client("iam"), outputs["Name"]
    role = iam.get_role(RoleName=name)["Role"]
    assert role["Arn"] == outputs["Arn"]
    assert role["Description"] == "of a function"
    assert role["AssumeRolePolicyDocument"] == ASSUME
    inline = iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"]
    assert inline == policy(allow("sqs:SendMessage", outputs["QueueArn"]))
    attached = iam.get_role_policy(RoleName=name, PolicyName="attached")["PolicyDocument"]
    assert attached == policy(allow("s3:GetObject", "*"))
    policies = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [each["PolicyArn"] for each in policies] == [managed]


def test_a_log_group_has_its_retention(backend: Backend) -> None:
    _, outputs = deploy_resources(
        backend,
        {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 30}}},
        Name={"Ref": "Logs"},
        Arn={"Fn::GetAtt": ["Logs", "Arn"]},
    )
    (group,) = backend.client("logs").describe_log_groups(logGroupNamePrefix=outputs["Name"])[
        "logGroups"
    ]
    assert group["retentionInDays"] == 30
    assert group["arn"] == outputs["Arn"]


def test_generated_names_keep_each_services_rules_and_differ(backend: Backend) -> None:
    long = "AVeryLongLogicalIdThatSomebodyChoseToSayAllThatThereIsToSayAboutTheResource"
    resources: dict[str, Any] = {}
    for number in ("1", "2"):
        resources |= {
            f"{long}Queue{number}": queue(),
            f"{long}Bucket{number}": bucket(),
            f"{long}Role{number}": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": ASSUME},
            },
        }
    outputs = {f"Output{index}": {"Ref": name} for index, name in enumerate(resources)}
    _, names = deploy_resources(backend, resources, **outputs)
    assert len(set(names.values())) == len(resources)
