"""The deployment on AWS, found by its stacks; and what a user can get wrong."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest

from cli.checks import ALIAS
from cli.target import Target
from local.system import System
from tests.cli.conftest import Cli
from tests.pipeline.driver import Driver, body, new_id

PREFIX = "Acme"


def template(outputs: Mapping[str, str]) -> str:
    """A stack of nothing but its outputs."""
    return json.dumps(
        {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }
    )


@pytest.fixture(scope="module")
def account(running: System) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",
        region_name=running.state.region,
    )


@pytest.fixture(scope="module")
def functions(running: System, account: boto3.Session) -> Mapping[str, str]:
    """Functions as Lambda knows them; nothing here runs them."""
    endpoint = running.backend.endpoint_url
    role = account.client("iam", endpoint_url=endpoint).create_role(
        RoleName="cli-functions", AssumeRolePolicyDocument="{}"
    )["Role"]["Arn"]
    code = BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "")
    lambda_: Any = account.client("lambda", endpoint_url=endpoint)
    for name in ("submitter", "webhook", "downloader"):
        lambda_.create_function(
            FunctionName=f"acme-{name}",
            Runtime="python3.13",
            Role=role,
            Handler="handler.handler",
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"PAYLOAD_BUCKETS": "acme-payloads"}},
        )
        version = lambda_.publish_version(FunctionName=f"acme-{name}")["Version"]
        lambda_.create_alias(FunctionName=f"acme-{name}", Name=ALIAS, FunctionVersion=version)
    return {name: f"acme-{name}" for name in ("submitter", "webhook", "downloader")}


@pytest.fixture(scope="module")
def stacks(
    running: System, target: Target, account: boto3.Session, functions: Mapping[str, str]
) -> Iterator[None]:
    """The running system's resources as a deployment's outputs."""
    cloudformation: Any = account.client(
        "cloudformation", endpoint_url=running.backend.endpoint_url
    )
    state = running.state
    outputs = {
        "Storage": {
            "JobsTableName": state.jobs_table,
            "ArchiveBucketName": state.archive_bucket,
            "SecretArn": target.secret_id,
        },
        "Pipeline": {
            "RequestQueueUrl": state.request_queue_url,
            "RequestDeadLetterQueueUrl": state.request_dlq_url,
            "DownloadQueueUrl": state.download_queue_url,
            "DownloadDeadLetterQueueUrl": state.download_dlq_url,
            "WebhookBaseUrl": target.webhook_base_url,
            **{f"{role.capitalize()}FunctionName": name for role, name in functions.items()},
        },
    }
    for part, values in outputs.items():
        cloudformation.create_stack(StackName=f"{PREFIX}-{part}", TemplateBody=template(values))
    yield
    for part in outputs:
        cloudformation.delete_stack(StackName=f"{PREFIX}-{part}")


@pytest.fixture
def on_aws(stacks: None, aws_environment: dict[str, str | None]) -> Cli:
    return Cli(["--prefix", PREFIX], aws_environment)


def test_a_deployment_is_found_by_its_prefix(on_aws: Cli, driver: Driver, tmp_path: Path) -> None:
    job_id = new_id("aws")
    (tmp_path / "a.json").write_text(json.dumps(body(job_id)))

    assert on_aws("submit", str(tmp_path / "a.json")).exit_code == 0
    assert on_aws("watch", job_id, "--timeout", "30s").exit_code == 0
    assert on_aws("dlq", "explain", "HTTP_404").exit_code == 0
    url = on_aws("webhook-url").stdout.strip()
    assert url.startswith("http://127.0.0.1:")
    assert on_aws.json("webhook-url") == [{"webhookUrl": url}]


def test_the_payload_bucket_is_the_deployments_own(on_aws: Cli, tmp_path: Path) -> None:
    large = body("large", content={"fileName": "l.pdf", "params": {"x": "x" * 1_100_000}})
    (tmp_path / "a.json").write_text(json.dumps(large))

    result = on_aws("submit", str(tmp_path / "a.json"))

    assert result.exit_code == 2
    assert "acme-payloads" in result.stderr


def test_a_payload_bucket_that_the_functions_do_not_read_is_refused(
    on_aws: Cli, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(body("large")))

    result = on_aws("submit", str(tmp_path / "a.json"), "--payload-bucket", "mine")

    assert result.exit_code == 2
    assert "mine is not among" in result.stderr
    assert "acme-payloads" in result.stderr


def test_doctor_checks_lambda_and_s3_too(on_aws: Cli) -> None:
    """These functions have no event source, and their payload bucket was never made."""
    result = on_aws("doctor", "--json")

    found = {line["what"] for line in map(json.loads, result.stdout.splitlines())}
    assert result.exit_code == 1
    assert "the payload bucket acme-payloads does not exist" in found
    assert {"the submitter has no event source", "the downloader has no event source"} <= found
    assert not {what for what in found if what.startswith("functions could not be checked")}


def test_a_deployment_that_is_not_there_is_named(aws_environment: dict[str, str | None]) -> None:
    result = Cli(["--prefix", "Nowhere"], aws_environment)("list")

    assert result.exit_code == 2
    assert "Nowhere-Storage" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "--region"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "credentials"),
        ({"AWS_PROFILE": "absent"}, "absent"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_what_is_wrong_with_the_way_to_aws_is_reported(
    aws_environment: dict[str, str | None], changes: dict[str, str | None], word: str
) -> None:
    environment = {**aws_environment, "AWS_MAX_ATTEMPTS": "1", **changes}
    result = Cli(["--aws"], environment)("list")

    assert result.exit_code == 2
    assert word in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"aws_endpoint_url": "http://127.0.0.1:9"}',
        '{"aws_endpoint_url": "http://x:y"}',
    ],
)
def test_a_state_file_of_no_running_system_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)

    result = Cli(["--state", str(path)], {})("list")

    assert result.exit_code == 2
    assert "reportflow local up" in result.stderr


@pytest.mark.parametrize(
    "key", ["request_queue_url", "download_dlq_url", "jobs_table", "secret_arn", "webhook_url"]
)
def test_what_a_state_file_lacks_is_named(state_file: Path, tmp_path: Path, key: str) -> None:
    state = json.loads(state_file.read_text())
    del state[key]
    (tmp_path / "state.json").write_text(json.dumps(state))

    result = Cli(["--state", str(tmp_path / "state.json")], {})("list")

    assert result.exit_code == 2
    assert key in result.stderr
    assert "reportflow local up" in result.stderr


def test_a_folder_in_place_of_a_state_file_is_reported(tmp_path: Path) -> None:
    result = Cli(["--state", str(tmp_path)], {})("list")

    assert result.exit_code == 2
    assert f"{tmp_path} cannot be read" in result.stderr
    assert "Errno" not in result.stderr


def test_an_option_counts_more_than_the_environment(
    state_file: Path, aws_environment: dict[str, str | None]
) -> None:
    exported = {**aws_environment, "REPORTFLOW_PREFIX": "Nowhere"}
    here = Cli(["--state", str(state_file)], exported)("list", "--limit", "1")
    assert here.exit_code == 0, here.output

    exported = {**aws_environment, "REPORTFLOW_STATE": str(state_file)}
    for options in (["--aws"], ["--prefix", "Nowhere"], ["--region", "eu-west-1"]):
        there = Cli(options, exported)("list")
        assert there.exit_code == 2
        assert "There is no stack" in there.stderr, options


@pytest.mark.parametrize("here", [["--local"], ["--state", "x.json"]])
@pytest.mark.parametrize(
    "there", [["--aws"], ["--prefix", "Acme"], ["--profile", "x"], ["--region", "eu-west-1"]]
)
def test_options_for_aws_and_for_this_machine_contradict(here: list[str], there: list[str]) -> None:
    result = Cli([*here, *there], {})("list")

    assert result.exit_code == 2
    assert "Use one of the two" in " ".join(result.stderr.split())


def test_an_environment_that_means_both_decides_nothing(
    state_file: Path, aws_environment: dict[str, str | None]
) -> None:
    both = {
        **aws_environment,
        "REPORTFLOW_PREFIX": "Nowhere",
        "REPORTFLOW_STATE": str(state_file),
    }

    refused = Cli([], both)("list", "--limit", "1")
    assert refused.exit_code == 2
    assert "REPORTFLOW_STATE" in refused.stderr
    assert Cli(["--local"], both)("list", "--limit", "1").exit_code == 0
    assert "There is no stack" in Cli(["--aws"], both)("list").stderr


def test_the_target_is_reported_unless_an_option_named_it(
    stacks: None, state_file: Path, aws_environment: dict[str, str | None]
) -> None:
    listing = ("list", "--limit", "1")
    by_environment = {**aws_environment, "REPORTFLOW_PREFIX": PREFIX}

    for options in ([], ["--aws"]):
        result = Cli(options, by_environment)(*listing)
        assert f"On {PREFIX} in " in result.stderr
        assert f"On {PREFIX}" not in result.stdout
    here: dict[str, str | None] = {"REPORTFLOW_STATE": str(state_file)}
    printed = Cli([], here)(*listing)
    assert f"On the local system of {state_file}." in printed.stderr
    for cli in (Cli(["--prefix", PREFIX], aws_environment), Cli(["--state", str(state_file)], {})):
        assert "On " not in cli(*listing).stderr
    assert "On " not in Cli([], here)(*listing, "--json").stderr


def test_a_change_on_aws_prints_the_account(on_aws: Cli) -> None:
    printed = "in ap-northeast-1, account 123456789012."
    nothing = ("--job", "nobodys")

    for arguments in (
        ("dlq", "redrive", *nothing),
        ("dlq", "drop", "--yes", *nothing),
        ("set-keys",),
        ("rotate-webhook-secret", "--finish", "--yes"),
    ):
        assert on_aws(*arguments, stdin="").stderr.count(printed) == 1, arguments
    assert printed not in on_aws("list", "--limit", "1").stderr


@pytest.mark.parametrize("option", ["--prefix", "--profile", "--region"])
def test_an_empty_option_does_not_fall_back_to_the_default(
    stacks: None, aws_environment: dict[str, str | None], option: str
) -> None:
    exported = {**aws_environment, "REPORTFLOW_PREFIX": PREFIX}

    result = Cli([option, ""], exported)("list")

    assert result.exit_code == 2
    assert f"{option} is empty" in " ".join(result.stderr.split())


def test_a_state_file_in_the_folder_selects_the_local_system(
    state_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state.json").write_text(state_file.read_text())

    result = Cli([], {})("list", "--limit", "1")

    assert result.exit_code == 0
    assert "local system" in result.stderr


def test_an_option_for_aws_selects_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state_file: Path, aws_environment: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state.json").write_text(state_file.read_text())

    for options in (["--aws"], ["--region", "eu-west-1"], ["--prefix", "Nowhere"]):
        result = Cli(options, aws_environment)("list")
        assert result.exit_code == 2
        assert "There is no stack" in result.stderr, options


def test_help_names_arguments_plainly_and_fills_its_lines() -> None:
    screen: dict[str, str | None] = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    for command, usage in (("watch", "{JOB}..."), ("submit", "{SOURCE}...")):
        assert f"{command} [OPTIONS] {usage}" in Cli([], screen)(command, "--help").stdout
    assert "explain [OPTIONS] [CODE]..." in Cli([], screen)("dlq", "explain", "--help").stdout
    printed = Cli([], screen)("dlq", "redrive", "--help").stdout
    assert "Interrupted at any point and run again" in printed


def test_help_needs_no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ([], ["submit"], ["dlq", "redrive"], ["doctor"]):
        result = Cli([], {"AWS_REGION": None, "HOME": os.devnull})(*command, "--help")
        assert result.exit_code == 0
