"""The deployment that a command is about: one on AWS, or the local system."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from cli.failures import CliError, aws_code
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
"""Where `reportflow local up` writes it."""

STACKS: Final = ("Storage", "Pipeline")


class Clients(Protocol):
    """Makes boto3's clients."""

    def client(self, service: str, /) -> Any:  # noqa: ANN401  (boto3 knows which)
        """Return the client of a service."""


def _client(service: str) -> "cached_property[Any]":
    return cached_property(lambda target: target.clients.client(service))


class _Aws:
    """The clients of a deployment, each made when it is first used."""

    sqs: "cached_property[SQSClient]" = _client("sqs")
    dynamodb: "cached_property[DynamoDBClient]" = _client("dynamodb")
    s3: "cached_property[S3Client]" = _client("s3")
    secretsmanager: "cached_property[SecretsManagerClient]" = _client("secretsmanager")
    cloudwatch: "cached_property[CloudWatchClient]" = _client("cloudwatch")
    cloudformation: "cached_property[CloudFormationClient]" = _client("cloudformation")
    lambda_: "cached_property[LambdaClient]" = _client("lambda")


@dataclass(frozen=True)
class Target(_Aws):
    """A deployment's resources.

    `functions` are named by their role (`submitter`, …), and `stacks` by their part. Both are empty
    for the local system, which has no Lambda and no CloudFormation. `namespace` is that of the
    functions' metrics. `local_settings` are the environment variables of the local functions.
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

    def environment(self, function: str) -> Mapping[str, str]:
        """Return the environment variables of a deployed function."""
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
        """The buckets from which the submitter reads bodies that are too large for SQS."""
        configured = self.environment("submitter").get("PAYLOAD_BUCKETS", "")
        return tuple(bucket for bucket in configured.split(",") if bucket)


@dataclass(frozen=True)
class Choice:
    """The deployment that the user names.

    Without `aws` and `local` it is the local system if the state file exists, else AWS.
    """

    prefix: str = "ReportFlow"
    profile: str | None = None
    region: str | None = None
    aws: bool = False
    local: bool = False
    state: Path = STATE_FILE

    @property
    def is_local(self) -> bool:
        """Whether it is the local system."""
        return self.local or (not self.aws and self.state.exists())

    def find(self) -> Target:
        """Find the deployment's resources.

        Raises:
            CliError: the deployment does not exist.
        """
        return _local(self.state) if self.is_local else _on_aws(self)

    def asks_for_a_code(self) -> bool:
        """Return whether AWS's SDK asks the user for the code of a second factor."""
        # Imported here, because `--help` does not need it.
        from botocore.session import Session

        return (
            not self.is_local and "mfa_serial" in Session(profile=self.profile).get_scoped_config()
        )


class _Session:
    """Makes clients of a session, all with the same options."""

    def __init__(self, session: Any, **options: Any) -> None:  # noqa: ANN401  (boto3's own)
        self._session = session
        self._options = options

    def client(self, service: str, /) -> Any:  # noqa: ANN401  (boto3 knows which)
        return self._session.client(service, **self._options)


def clock_of(answer: Mapping[str, Any]) -> datetime:
    """Return AWS's own time of an answer, in whole seconds. AWS's stamps are by that clock."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _on_aws(choice: Choice) -> Target:
    # Imported here, because `--help` and the shell's completion need neither.
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=16,
    )
    session = boto3.Session(profile_name=choice.profile, region_name=choice.region)
    clients = _Session(session, config=config)
    cloudformation: CloudFormationClient = clients.client("cloudformation")
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
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if aws_code(error) != "ValidationError":
            raise
        region = cloudformation.meta.region_name
        raise CliError(
            f"There is no stack {stack} in {region}: name the deployment with --prefix and its "
            "region with --region, or the local system with --local."
        ) from error
    outputs = found.get("Outputs", [])
    return {each.get("OutputKey", ""): each.get("OutputValue", "") for each in outputs}


def _local(path: Path) -> Target:
    if str(path).upper() in JobStatus.__members__:
        raise CliError(f"--state names a state file. To select jobs, use --status {path}.")
    again = f"Start it with `reportflow local up --state {path}`, or use --aws."
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
            clients=_emulated(state["aws_endpoint_url"], state["region"]),
            local_settings=state["settings"],
        )
    except FileNotFoundError as error:
        raise CliError(f"There is no {path}: the local system does not run. {again}") from error
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}. {again}") from error
    except KeyError as error:
        raise CliError(
            f"{path} is not a state file of this version's local system: it lacks {error}. {again}"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CliError(f"{path} is not a state file of the local system. {again}") from error
    try:
        socket.create_connection(address, 2).close()
    except OSError as error:
        raise CliError(f"The local system of {path} no longer runs. {again}") from error
    return target


def _emulated(endpoint_url: str, region: str) -> Clients:
    """Return clients of the emulated AWS. They cannot reach a real account."""
    import boto3
    from botocore.config import Config

    from cli.isolation import isolated_session

    session = boto3.Session(
        botocore_session=isolated_session(),
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106  (opens nothing but the emulator)
    )
    config = Config(proxies={}, max_pool_connections=16)
    return _Session(session, endpoint_url=endpoint_url, config=config)
