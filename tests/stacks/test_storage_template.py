import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from reportflow.jobs_table import BY_FILE_ID, BY_LEASED_DIGEST, BY_STATUS
from stacks.packaging import REPOSITORY
from tests.stacks.template import Template, reference, references

HOLDS_DATA = {
    "AWS::DynamoDB::Table",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SecretsManager::Secret",
    "AWS::SQS::Queue",
}


def removal(template: Template) -> dict[str, tuple[str | None, str | None]]:
    return {
        name: (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
        for name, resource in template.resources.items()
        if resource["Type"] in HOLDS_DATA
    }


def test_what_holds_data_is_retained(storage: Template, pipeline: Template) -> None:
    """But for what a first deployment made that failed."""
    (table,) = storage.of_type("AWS::DynamoDB::Table")
    holds_data = removal(storage) | removal(pipeline)
    # While the table is protected from deletion, a rollback that has to delete it would fail.
    assert holds_data.pop(table) == ("Retain", "Retain")
    assert set(holds_data.values()) == {("RetainExceptOnCreate", "Retain")}


def test_the_table_is_made_after_all_else_that_holds_data(storage: Template) -> None:
    """No rollback deletes the table, so a stack that fails early must not have made it."""
    (table,) = storage.of_type("AWS::DynamoDB::Table")
    assert {*storage.resources[table]["DependsOn"]} == removal(storage).keys() - {table}


def retained(template: Template) -> Mapping[str, Mapping[str, Any]]:
    """The resources that outlive their stack; a function's versions are deleted with it."""
    return {
        name: resource
        for name, resource in template.resources.items()
        if resource.get("DeletionPolicy", "Delete") in ("Retain", "RetainExceptOnCreate")
        and resource["Type"] != "AWS::Lambda::Version"
    }


def needs(resource: Mapping[str, Any]) -> set[str]:
    """The resources that CloudFormation asks for before it makes or imports this one."""
    depends_on = resource.get("DependsOn", [])
    named = [depends_on] if isinstance(depends_on, str) else depends_on
    referred = references(resource.get("Properties", {}))
    return {*named, *(name for name in referred if not name.startswith("AWS::"))}


@pytest.mark.parametrize("stack", ["storage", "pipeline"])
def test_what_is_retained_can_be_imported_into_a_new_stack(
    request: pytest.FixtureRequest, stack: str
) -> None:
    """`cdk import` makes a template of the imported resources alone, as they are defined here."""
    template: Template = request.getfixturevalue(stack)
    kept = retained(template)
    assert kept.keys() == removal(template).keys()
    assert {name: needs(of) - kept.keys() for name, of in kept.items()} == {
        name: set() for name in kept
    }


@pytest.mark.parametrize(
    "tie",
    [
        {"DependsOn": "EventBus"},
        {"DependsOn": ["EventBus"]},
        {"Properties": {"Tags": [{"Key": "bus", "Value": {"Ref": "EventBus"}}]}},
        {"Properties": {"Tags": [{"Key": "bus", "Value": {"Fn::GetAtt": ["EventBus", "Arn"]}}]}},
        {"Properties": {"Tags": [{"Key": "bus", "Value": {"Fn::Sub": "of ${EventBus.Arn}"}}]}},
    ],
)
def test_a_tie_to_what_is_deleted_is_seen(tie: Mapping[str, Any]) -> None:
    assert needs({"Type": "AWS::S3::Bucket", **tie}) == {"EventBus"}


def test_what_holds_data_goes_when_the_deployment_says_so(
    changed_storage: Template, changed_pipeline: Template
) -> None:
    holds_data = removal(changed_storage) | removal(changed_pipeline)
    assert set(holds_data.values()) == {("Delete", "Delete")}


def test_the_table_can_be_deleted_only_where_it_is_not_retained(
    storage: Template, changed_storage: Template
) -> None:
    assert storage.one("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is True
    assert changed_storage.one("AWS::DynamoDB::Table")["DeletionProtectionEnabled"] is False


def test_the_archive_is_private_encrypted_and_versioned(storage: Template) -> None:
    bucket = storage.one("AWS::S3::Bucket")
    assert all(
        bucket["PublicAccessBlockConfiguration"][what]
        for what in (
            "BlockPublicAcls",
            "BlockPublicPolicy",
            "IgnorePublicAcls",
            "RestrictPublicBuckets",
        )
    )
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}


@pytest.mark.parametrize(
    ("stack", "data", "policy", "target"),
    [
        ("storage", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("pipeline", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
    ],
)
def test_bucket_and_queues_refuse_plain_http(
    request: pytest.FixtureRequest, stack: str, data: str, policy: str, target: str
) -> None:
    template: Template = request.getfixturevalue(stack)
    denied = {
        reference(attached[target])
        for attached in template.of_type(policy).values()
        for statement in attached["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and statement["Action"] in ("s3:*", "sqs:*")
        and statement["Principal"] == {"AWS": "*"}
    }
    assert denied == template.of_type(data).keys()


def test_a_job_is_found_by_id_file_status_and_digest(storage: Template) -> None:
    table = storage.one("AWS::DynamoDB::Table")
    keys = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["jobId"]
    assert keys == {
        BY_FILE_ID: ["fileId"],
        BY_LEASED_DIGEST: ["leasedDigest"],
        BY_STATUS: ["status", "updatedAt"],
    }


def test_the_table_forgets_on_time_and_can_be_restored(storage: Template) -> None:
    table = storage.one("AWS::DynamoDB::Table")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_secret_ships_without_keys_and_with_a_token_nobody_knows(storage: Template) -> None:
    secret = storage.one("AWS::SecretsManager::Secret")
    assert "SecretString" not in secret
    generated = secret["GenerateSecretString"]
    assert generated["GenerateStringKey"] == "webhookToken"
    assert json.loads(generated["SecretStringTemplate"]) == {
        "appKey": "",
        "secretKey": "",
        "previousWebhookToken": "",
    }
    # The token is a path segment of the webhook's URL: nothing in it may need an escape.
    assert generated["ExcludePunctuation"] is True
    assert generated["PasswordLength"] >= 32


def test_nothing_reads_the_secret_into_a_template(storage: Template, pipeline: Template) -> None:
    for template in (storage, pipeline):
        assert not re.search(r"\{\{resolve:", json.dumps(template.document))


# Every choice of what happens to PDFs, together with every other.
STORAGE_OF_EACH_RETENTION = """
import itertools, json
import app
app._find_node()
from aws_cdk import App
from stacks.context import InvalidSettings
from stacks.settings import DeploymentSettings
from stacks.storage import StorageStack

made, cdk = {}, App()
choices = {
    "archive_transition_days": (0, 30),
    "archive_expiry_days": (0, 400),
    "archive_noncurrent_days": (0, 7),
    "archive_lock": (("off", 0), ("governance", 300), ("compliance", 300)),
}
for number, values in enumerate(itertools.product(*choices.values())):
    chosen = dict(zip(choices, values))
    mode, days = chosen.pop("archive_lock")
    chosen |= {"archive_lock_mode": mode, "archive_lock_days": days, "workspace_id": "acme"}
    try:
        settings = DeploymentSettings.from_context(chosen)
    except InvalidSettings:
        continue
    StorageStack(cdk, f"Storage-{number}", settings=settings)
print(json.dumps([stack.template for stack in cdk.synth().stacks]))
"""

ACTIONS = {
    *("AbortIncompleteMultipartUpload", "ExpirationDate", "ExpirationInDays"),
    *("NoncurrentVersionExpiration", "NoncurrentVersionTransitions", "Transitions"),
}
"""CloudFormation asks for one of these in each rule; ExpiredObjectDeleteMarker alone is none."""


def test_cloudformation_takes_every_lifecycle_rule_whatever_the_retention() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORAGE_OF_EACH_RETENTION],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    buckets = [Template(each).one("AWS::S3::Bucket") for each in json.loads(done.stdout)]
    assert len(buckets) == 18  # Of 24: an expiry needs the other.
    for bucket in buckets:
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert [rule["Id"] for rule in rules if not rule.keys() & ACTIONS] == []
        tidied = [rule for rule in rules if rule.get("ExpiredObjectDeleteMarker")]
        assert [rule["Id"] for rule in tidied if rule.keys() & {"ExpirationInDays"}] == []
        forgetting = [rule for rule in rules if "NoncurrentVersionExpiration" in rule]
        assert tidied == forgetting
