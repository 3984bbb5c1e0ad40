"""The deployment that a command is about: one on AWS, or the system on this machine."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.failures import CliError
from cli.isolation import isolated_session
from reportflow.contract import CONTRACTS, WORKSPACE, Contract
from reportflow.jobs import JobStatus

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

STATE_FILE: Final = Path("state.json")
"""Where the README lets `python -m local up` write it."""

STACKS: Final = ("Storage", "Pipeline")

_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=16,
)


class Clients(Protocol):
    """Makes boto3's clients."""

    def client(self, service: str, /) -> Any:  # noqa: ANN401  (boto3 knows which)
        """The client of a service."""


@dataclass(frozen=True)
class Target:
    """A deployment's resources, and the way to them.

    `functions` by their role in the pipeline (`submitter`, …) are empty on this machine, where
    Lambda is played by `local`. `namespace` is that of the functions'
    metrics. `stacks` are the CloudFormation stacks by their part. `local_settings` are the
    environment variables of the local system's functions.
    """

    name: str
    is_local: bool
    request_queue_url: str
    request_dlq_url: str
    download_queue_url: str
    download_dlq_url: str
    jobs_table: str
    archive_bucket: str
    secret_id: str
    webhook_base_url: str
    clients: Clients = field(repr=False)
    namespace: str = "ReportFlow"
    functions: Mapping[str, str] = field(default_factory=dict)
    stacks: Mapping[str, str] = field(default_factory=dict)
    local_settings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def sqs(self) -> "SQSClient":
        """The queues."""
        return cast("SQSClient", self.clients.client("sqs"))

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """The jobs table."""
        return cast("DynamoDBClient", self.clients.client("dynamodb"))

    @cached_property
    def s3(self) -> "S3Client":
        """The archive, and the payloads of large messages."""
        return cast("S3Client", self.clients.client("s3"))

    @cached_property
    def secretsmanager(self) -> "SecretsManagerClient":
        """The secret."""
        return cast("SecretsManagerClient", self.clients.client("secretsmanager"))

    @cached_property
    def cloudwatch(self) -> "CloudWatchClient":
        """The metrics."""
        return cast("CloudWatchClient", self.clients.client("cloudwatch"))

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """The stacks; on AWS only."""
        return cast("CloudFormationClient", self.clients.client("cloudformation"))

    @cached_property
    def lambda_(self) -> "LambdaClient":
        """The functions; on AWS only."""
        return cast("LambdaClient", self.clients.client("lambda"))

    def environment(self, function: str) -> Mapping[str, str]:
        """The environment variables that a function was deployed with."""
        if function not in self.functions:
            return self.local_settings
        answer = self.lambda_.get_function_configuration(FunctionName=self.functions[function])
        return answer.get("Environment", {}).get("Variables", {})

    @cached_property
    def contract(self) -> Contract:
        """The version of ReportFlow's API that the deployment speaks."""
        return CONTRACTS[self.environment("submitter").get("CONTRACT", WORKSPACE.name)]

    @cached_property
    def payload_buckets(self) -> tuple[str, ...]:
        """Where the submitter reads bodies that are too large for SQS."""
        configured = self.environment("submitter").get("PAYLOAD_BUCKETS", "")
        return tuple(bucket for bucket in configured.split(",") if bucket)


@dataclass(frozen=True)
class Choice:
    """Which deployment the user means.

    With neither `aws` nor `local` said, the system on this machine is meant when its state file is
    there.
    """

    prefix: str = "ReportFlow"
    profile: str | None = None
    region: str | None = None
    aws: bool = False
    local: bool = False
    state: Path = STATE_FILE

    def find(self) -> Target:
        """Look the deployment's resources up.

        Raises:
            CliError: it is not there.
        """
        if self.local or (not self.aws and self.state.exists()):
            return _on_this_machine(self.state)
        return _on_aws(self)


class _Session:
    """AWS by the usual credentials, region and profile."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    def client(self, service: str, /) -> Any:  # noqa: ANN401
        return self._session.client(cast("Any", service), config=_CONFIG)


class _Emulated:
    """The emulated AWS of the local system. It cannot reach a real account."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        self._session = boto3.Session(
            botocore_session=isolated_session(),
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106  (opens nothing but the emulator)
        )
        self._endpoint_url = endpoint_url

    def client(self, service: str, /) -> Any:  # noqa: ANN401
        return self._session.client(
            cast("Any", service),
            endpoint_url=self._endpoint_url,
            config=Config(proxies={}, max_pool_connections=16),
        )


def clock_of(answer: Mapping[str, Any]) -> datetime:
    """AWS's own time, to the second, when it gave this answer: its stamps are by that clock."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _on_aws(choice: Choice) -> Target:
    session = boto3.Session(profile_name=choice.profile, region_name=choice.region)
    clients = _Session(session)
    cloudformation = cast("CloudFormationClient", clients.client("cloudformation"))
    stacks = {part: f"{choice.prefix}-{part}" for part in STACKS}
    outputs: dict[str, str] = {}
    for stack in stacks.values():
        outputs |= _outputs(cloudformation, stack)
    try:
        account = outputs["RequestQueueUrl"].split("/")[-2]
        return Target(
            name=f"{choice.prefix} in {cloudformation.meta.region_name}, account {account}",
            is_local=False,
            request_queue_url=outputs["RequestQueueUrl"],
            request_dlq_url=outputs["RequestDeadLetterQueueUrl"],
            download_queue_url=outputs["DownloadQueueUrl"],
            download_dlq_url=outputs["DownloadDeadLetterQueueUrl"],
            jobs_table=outputs["JobsTableName"],
            archive_bucket=outputs["ArchiveBucketName"],
            secret_id=outputs["SecretArn"],
            webhook_base_url=outputs["WebhookBaseUrl"],
            clients=clients,
            namespace=choice.prefix,
            functions={
                name: outputs[f"{name.capitalize()}FunctionName"]
                for name in ("submitter", "webhook", "downloader")
            },
            stacks=stacks,
        )
    except KeyError as error:
        raise CliError(
            f"The stacks of {choice.prefix} have no output {error}: deploy this version of them "
            "(make deploy ENV=…, with the environment of this deployment)."
        ) from error


def _outputs(cloudformation: "CloudFormationClient", stack: str) -> dict[str, str]:
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "ValidationError":
            raise
        region = cloudformation.meta.region_name
        raise CliError(
            f"There is no stack {stack} in {region}: name the deployment with --prefix and its "
            "region with --region, or the system on this machine with --local."
        ) from error
    return {
        output["OutputKey"]: output["OutputValue"]
        for each in found
        for output in each.get("Outputs", [])
        if "OutputKey" in output and "OutputValue" in output
    }


def _on_this_machine(path: Path) -> Target:
    if str(path).upper() in JobStatus.__members__:
        raise CliError(f"--state names a state file. To select jobs, use --status {path}.")
    again = f"start it with `python -m local up --state {path}`, or mean AWS with --aws"
    try:
        state = json.loads(path.read_text())
        endpoint = urlsplit(state["aws_endpoint_url"])
        address = (endpoint.hostname or "", endpoint.port or 80)
        target = Target(
            name=f"the local system of {path}",
            is_local=True,
            request_queue_url=state["request_queue_url"],
            request_dlq_url=state["request_dlq_url"],
            download_queue_url=state["download_queue_url"],
            download_dlq_url=state["download_dlq_url"],
            jobs_table=state["jobs_table"],
            archive_bucket=state["archive_bucket"],
            secret_id=state["secret_arn"],
            webhook_base_url=state["webhook_url"].rpartition("/")[0],
            clients=_Emulated(state["aws_endpoint_url"], state["region"]),
            local_settings=state["settings"],
        )
    except FileNotFoundError as error:
        raise CliError(f"There is no {path}, the local system does not run: {again}.") from error
    except OSError as error:
        raise CliError(f"{path} cannot be read ({error.strerror}): {again}.") from error
    except KeyError as error:
        raise CliError(
            f"{path} is no state file of this version's local system, it lacks {error}: {again}."
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CliError(f"{path} is no state file of the local system: {again}.") from error
    try:
        socket.create_connection(address, 2).close()
    except OSError as error:
        raise CliError(f"The local system of {path} runs no longer: {again}.") from error
    return target
