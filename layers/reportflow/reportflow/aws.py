"""AWS at one place: clients made once, and AWS's failures as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from reportflow.errors import PipelineError, Throttled, Unavailable
from reportflow.once import once

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

# Ten records of a batch share one client.
_CONFIG: Final = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
)

PROMPT_SECONDS: Final = 6.0
"""The longest that one call of a prompt client takes: two tries, and a second between them."""

# The newer retry modes wait as long as an answer's header says, which may be longer than that.
_PROMPT: Final = _CONFIG.merge(
    Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "legacy", "total_max_attempts": 2})
)

_THROTTLING: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


@once
def dynamodb() -> "DynamoDBClient":
    """The process's DynamoDB client."""
    return _session().client("dynamodb", config=_CONFIG)


@once
def events() -> "EventBridgeClient":
    """The process's EventBridge client."""
    return _session().client("events", config=_CONFIG)


@once
def s3() -> "S3Client":
    """The process's S3 client."""
    return _session().client("s3", config=_CONFIG)


@once
def secretsmanager() -> "SecretsManagerClient":
    """The process's Secrets Manager client."""
    return _session().client("secretsmanager", config=_CONFIG)


@once
def sqs() -> "SQSClient":
    """The process's SQS client."""
    return _session().client("sqs", config=_CONFIG)


@once
def prompt_secretsmanager() -> "SecretsManagerClient":
    """A Secrets Manager client for a function that somebody waits for."""
    return _session().client("secretsmanager", config=_PROMPT)


@once
def prompt_sqs() -> "SQSClient":
    """An SQS client for a function that somebody waits for."""
    return _session().client("sqs", config=_PROMPT)


def code_of(error: ClientError) -> str:
    """AWS's name for what went wrong."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def translate(operation: str, error: ClientError | BotoCoreError) -> PipelineError:
    """AWS's failure as one of ours.

    None is permanent: what AWS refuses is never the message's fault but a permission, a limit or
    an outage, and the message waits until that is mended or its retries are used up.
    """
    if not isinstance(error, ClientError):
        return Unavailable("AWS_UNREACHABLE", f"{operation}: {type(error).__name__}")
    code = code_of(error)
    kind = Throttled if code in _THROTTLING else Unavailable
    return kind(f"AWS_{code}", f"{operation} was refused with {code}")


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Run AWS calls with their failures translated; `operation` names them in the error."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(operation, error) from error


@once
def _session() -> boto3.session.Session:
    return boto3.session.Session()
