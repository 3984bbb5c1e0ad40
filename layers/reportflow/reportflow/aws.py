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

PROMPT_SECONDS: Final = 6.0
"""The longest that one call takes with all its tries, S3's apart."""

LONGEST_PAUSE_SECONDS: Final = 1.0
"""Between the first try and the second, in botocore's `legacy` mode.

The newer modes wait as long as an answer's header says, up to 6 seconds.
"""

TWO_TRIES_SECONDS: Final = 3.9
"""The least time for a call that is shared by two tries: that of a function with 8 seconds."""

CONNECT_SHARE: Final = 0.25
"""Of a try, to reach an address. The TLS handshake, or a second address, may take as long again."""

# Ten records of a batch share one client.
_PATIENT: Final = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
)


class _Budget:
    """What one call may take in this function."""

    seconds = PROMPT_SECONDS


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


def call_seconds(timeout_seconds: float) -> float:
    """How long one call may take in a function with this time-out.

    Half of it, and `PROMPT_SECONDS` at most. The function keeps as much time after its last request
    to ReportFlow, to record the answer.
    """
    return min(PROMPT_SECONDS, timeout_seconds / 2)


def limit_calls(seconds: float) -> None:
    """Make the clients such that one call takes so long at most. S3's takes as long as it needs.

    Clients that were made before keep their time-outs.
    """
    _Budget.seconds = seconds


@once
def dynamodb() -> "DynamoDBClient":
    """The process's DynamoDB client."""
    return _session().client("dynamodb", config=_prompt())


@once
def events() -> "EventBridgeClient":
    """The process's EventBridge client."""
    return _session().client("events", config=_prompt())


@once
def s3() -> "S3Client":
    """The process's S3 client. It is patient, because the PutObject of a large PDF takes long."""
    return _session().client("s3", config=_PATIENT)


@once
def secretsmanager() -> "SecretsManagerClient":
    """The process's Secrets Manager client."""
    return _session().client("secretsmanager", config=_prompt())


@once
def sqs() -> "SQSClient":
    """The process's SQS client."""
    return _session().client("sqs", config=_prompt())


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


def _prompt() -> Config:
    """Time-outs such that all tries together end within the budget.

    A budget below `TWO_TRIES_SECONDS` is spent on one, because two would be too short for a busy
    processor.
    """
    tries = 2 if _Budget.seconds >= TWO_TRIES_SECONDS else 1
    each = (_Budget.seconds - LONGEST_PAUSE_SECONDS * (tries - 1)) / tries
    return _PATIENT.merge(
        Config(
            connect_timeout=each * CONNECT_SHARE,
            read_timeout=each * (1 - 2 * CONNECT_SHARE),
            retries={"mode": "legacy", "total_max_attempts": tries},
        )
    )
