"""The whole of a deployment's life, by the commands of docs/deployment.md, against MiniStack.

One story: the last release is there, with data in it; the account is bootstrapped; production is
upgraded and changed, beside it a second environment is refused, comes and goes; then production is
destroyed, and its archive taken back.

`make test` ends after the upgrade. `make test-all` plays the whole story.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.backend import Backend
from local.paths import REPOSITORY
from tests.deployment.account import RELEASED_PREFIX as PREFIX
from tests.deployment.account import Account
from tests.deployment.cdk import UNATTENDED, WORKSPACE, Cdk

NO_ENVIRONMENT = ""
KEYS = {"appKey": "ak_rehearsal", "secretKey": "sk_rehearsal"}

type Ids = Mapping[str, str]
"""Physical ids by logical id."""


@dataclass
class Upgrade:
    """The last release with data in it, and the deployment of today's app over it."""

    table: str
    bucket: str
    secret: str
    queue: str
    stored: Mapping[str, Any] = field(repr=False)
    released: Ids
    upgraded: Ids


@dataclass
class Story:
    """What is there after each chapter that follows the upgrade."""

    released: Ids
    upgraded: Ids
    changed: Ids
    differences_after_upgrade: str
    log_retention_days: set[int]
    nameless: subprocess.CompletedProcess[str]
    of_nameless: set[str]
    beside: Ids
    left_in_emptied: set[str]
    remaining_beside: set[str]
    refusal: str
    secret: Mapping[str, Any] = field(repr=False)
    pdf: bytes
    job: Mapping[str, Any]
    messages: list[str]
    stacks_left: set[str]
    archive: Ids
    imported: Ids
    deployed_again: Ids


def empty(bucket: str, backend: Backend) -> None:
    """Empty a bucket by the command that docs/deployment.md gives."""
    (line,) = (
        line.strip()
        for line in (REPOSITORY / "docs" / "deployment.md").read_text().splitlines()
        if "object_versions" in line
    )
    python, *arguments = shlex.split(line.replace("BUCKET", bucket))
    assert python == ".venv/bin/python"
    subprocess.run([sys.executable, *arguments], env=dict(backend.environment), check=True)


@pytest.fixture(scope="module")
def upgrade(backend: Backend, cdk: Cdk) -> Upgrade:
    account = Account(backend)
    account.release()
    first = account.ids(PREFIX)
    (table,), (bucket,), (secret,) = (
        account.of(PREFIX, kind)
        for kind in ("DynamoDB::Table", "S3::Bucket", "SecretsManager::Secret")
    )
    # MiniStack runs the functions by itself: what lies on a queue that they consume goes.
    queue = next(url for url in account.of(PREFIX, "SQS::Queue") if "RequestDeadLetter" in url)
    keys, tables = backend.client("secretsmanager"), backend.client("dynamodb")
    stored = json.loads(keys.get_secret_value(SecretId=secret)["SecretString"])
    keys.put_secret_value(SecretId=secret, SecretString=json.dumps(stored | KEYS))
    tables.put_item(TableName=table, Item={"jobId": {"S": "a-job"}, "status": {"S": "ARCHIVED"}})
    backend.client("s3").put_object(Bucket=bucket, Key="a-job", Body=b"%PDF-1.7")
    backend.client("sqs").send_message(QueueUrl=queue, MessageBody="a message")

    cdk("bootstrap", NO_ENVIRONMENT, WORKSPACE)
    cdk("deploy", NO_ENVIRONMENT, UNATTENDED, WORKSPACE)
    return Upgrade(table, bucket, secret, queue, stored, first, account.ids(PREFIX))


@pytest.fixture(scope="module")
def story(backend: Backend, cdk: Cdk, upgrade: Upgrade) -> Story:
    account = Account(backend)
    keys, tables = backend.client("secretsmanager"), backend.client("dynamodb")
    table, bucket, secret = upgrade.table, upgrade.bucket, upgrade.secret
    differences = cdk("diff", NO_ENVIRONMENT, "--fail", WORKSPACE)
    cdk(
        "deploy",
        NO_ENVIRONMENT,
        UNATTENDED,
        WORKSPACE,
        "-c log_retention_days=14",
    )
    changed = account.ids(PREFIX)
    groups = backend.client("logs").describe_log_groups()["logGroups"]
    of_stack = set(account.of(PREFIX, "Logs::LogGroup"))

    nameless = cdk.run("deploy", "dev", UNATTENDED)
    of_nameless = account.stacks("ReportFlow-dev")
    cdk("deploy", "dev", UNATTENDED, WORKSPACE)
    beside = account.ids("ReportFlow-dev")
    (archive,) = account.of("ReportFlow-dev", "S3::Bucket")
    backend.client("s3").put_object(Bucket=archive, Key="a-job", Body=b"%PDF-1.7")
    empty(archive, backend)
    left_in_archive = backend.client("s3").list_object_versions(Bucket=archive)
    cdk("destroy", "dev", "--force")

    refusal = cdk.run("destroy", NO_ENVIRONMENT, "--force", WORKSPACE)
    account.unprotect(PREFIX)
    cdk("destroy", NO_ENVIRONMENT, "--force", WORKSPACE)
    stacks_left = account.stacks(PREFIX)
    # MiniStack gives the next deployment's resources the names of the last one's.
    left_secret = keys.get_secret_value(SecretId=secret)["SecretString"]
    left_job = tables.get_item(TableName=table, Key={"jobId": {"S": "a-job"}})["Item"]
    left_messages = backend.client("sqs").receive_message(QueueUrl=upgrade.queue)["Messages"]

    [archive_id] = (name for name, of in upgrade.upgraded.items() if of == bucket)
    mapping = cdk.folder / "mapping.json"
    mapping.write_text(json.dumps({archive_id: {"BucketName": bucket}}))
    cdk(
        "import",
        NO_ENVIRONMENT,
        WORKSPACE,
        f"--resource-mapping={mapping}",
        f"{PREFIX}-Storage",
    )
    answer = account.cloudformation.describe_stack_resources(StackName=f"{PREFIX}-Storage")
    imported = {
        each["LogicalResourceId"]: each["PhysicalResourceId"] for each in answer["StackResources"]
    }
    cdk("deploy", NO_ENVIRONMENT, UNATTENDED, WORKSPACE)
    return Story(
        released=upgrade.released,
        upgraded=upgrade.upgraded,
        changed=changed,
        differences_after_upgrade=differences,
        log_retention_days={
            group["retentionInDays"] for group in groups if group["logGroupName"] in of_stack
        },
        nameless=nameless,
        of_nameless=of_nameless,
        beside=beside,
        left_in_emptied={"Versions", "DeleteMarkers"} & left_in_archive.keys(),
        remaining_beside=account.stacks("ReportFlow-dev"),
        refusal=refusal.stdout,
        secret=json.loads(left_secret) | {"was": upgrade.stored},
        pdf=backend.client("s3").get_object(Bucket=bucket, Key="a-job")["Body"].read(),
        job=left_job,
        messages=[message["Body"] for message in left_messages],
        stacks_left=stacks_left,
        archive={archive_id: bucket},
        imported=imported,
        deployed_again=account.ids(PREFIX),
    )


def test_an_upgrade_from_the_last_release_replaces_nothing(upgrade: Upgrade) -> None:
    assert upgrade.released
    assert upgrade.upgraded.items() >= upgrade.released.items()
    assert len(upgrade.upgraded) > len(upgrade.released)


@pytest.mark.slow
def test_after_a_deployment_there_are_no_differences(story: Story) -> None:
    assert "Number of stacks with differences: 0" in story.differences_after_upgrade


@pytest.mark.slow
def test_a_changed_setting_arrives_and_replaces_nothing(story: Story) -> None:
    assert story.changed == story.upgraded
    assert story.log_retention_days == {14}


@pytest.mark.slow
def test_an_environment_whose_workspace_nobody_has_named_is_not_deployed(story: Story) -> None:
    assert story.nameless.returncode != 0
    assert "environments.dev.workspace_id" in story.nameless.stdout
    assert story.of_nameless == set()


@pytest.mark.slow
def test_a_second_environment_is_another(story: Story) -> None:
    assert story.beside.keys() >= story.released.keys()
    # A stage's id is its name, within its API.
    assert set(story.beside.values()) & set(story.changed.values()) <= {"$default"}


@pytest.mark.slow
def test_what_may_go_is_gone_once_its_archive_was_emptied(story: Story) -> None:
    assert story.left_in_emptied == set()
    assert story.remaining_beside == set()


@pytest.mark.slow
def test_what_is_retained_is_not_destroyed_by_mistake(story: Story) -> None:
    assert "TerminationProtection" in story.refusal


@pytest.mark.slow
def test_destroyed_stacks_leave_what_holds_data(story: Story) -> None:
    assert story.stacks_left == set()
    assert story.pdf == b"%PDF-1.7"
    assert story.job["status"] == {"S": "ARCHIVED"}
    assert story.messages == ["a message"]


@pytest.mark.slow
def test_an_archive_that_was_left_is_taken_back_into_a_new_deployment(story: Story) -> None:
    """MiniStack imports no secret, and so not the table that depends on it."""
    assert story.imported == story.archive
    assert story.deployed_again.items() >= story.archive.items()
    assert story.deployed_again.keys() >= story.upgraded.keys()


@pytest.mark.slow
def test_the_keys_that_were_filled_in_outlive_everything(story: Story) -> None:
    was = story.secret["was"]
    assert was["webhookToken"]
    assert {key: story.secret[key] for key in (*KEYS, "webhookToken")} == {
        **KEYS,
        "webhookToken": was["webhookToken"],
    }
