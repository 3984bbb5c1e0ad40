"""Creates the AWS clients once per process, and translates AWS's errors to the pipeline's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from reportflow import tls
from reportflow.errors import PipelineError, Throttled, Unavailable
from reportflow.once import once

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

PROMPT_SECONDS: Final = 6.0
"""The longest time for one AWS call with all its tries, except for S3."""

LONGEST_PAUSE_SECONDS: Final = 1.0
"""The longest pause between two tries in botocore's `legacy` mode.

The newer modes wait as long as the answer's header says, up to 6 seconds.
"""

TWO_TRIES_SECONDS: Final = 3.9
"""A call with less time than this makes one try only: in a function with less than 8 seconds."""

CONNECT_SHARE: Final = 0.25
"""The share of a try for connecting. The TLS handshake, or a second address, may take it again."""

# The pool is for the ten records of a batch, which share one client.
_DEFAULT: Final = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=16,
)


class _Budget:
    """The time that one call may take in this function."""

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
    """Return how long one AWS call may take in a function with this time-out.

    It is half of the time-out, and `PROMPT_SECONDS` at most. The function reserves the same time
    after its last request to ReportFlow, to record the answer.
    """
    return min(PROMPT_SECONDS, timeout_seconds / 2)


def limit_calls(seconds: float) -> None:
    """Limit each call of the clients that are created from now on, except for S3, to `seconds`."""
    _Budget.seconds = seconds


@once
def dynamodb() -> "DynamoDBClient":
    """Return the process's DynamoDB client."""
    return cast("DynamoDBClient", _session().create_client("dynamodb", config=_prompt()))


@once
def events() -> "EventBridgeClient":
    """Return the process's EventBridge client."""
    return cast("EventBridgeClient", _session().create_client("events", config=_prompt()))


@once
def s3() -> "S3Client":
    """Return the process's S3 client. `limit_calls` spares it: storing a large PDF takes long."""
    return cast("S3Client", _session().create_client("s3", config=_DEFAULT))


@once
def secretsmanager() -> "SecretsManagerClient":
    """Return the process's Secrets Manager client."""
    return cast(
        "SecretsManagerClient", _session().create_client("secretsmanager", config=_prompt())
    )


@once
def sqs() -> "SQSClient":
    """Return the process's SQS client."""
    return cast("SQSClient", _session().create_client("sqs", config=_prompt()))


def code_of(error: ClientError) -> str:
    """Return AWS's error code."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def translate(operation: str, error: ClientError | BotoCoreError) -> PipelineError:
    """Translate an AWS error to a retryable one of the pipeline.

    AWS refuses a call because of a permission, a limit or an outage, never because of the message.
    The message waits until that is fixed or its retry budget is used up.
    """
    if not isinstance(error, ClientError):
        return Unavailable("AWS_UNREACHABLE", f"{operation}: {type(error).__name__}")
    code = code_of(error)
    kind = Throttled if code in _THROTTLING else Unavailable
    return kind(f"AWS_{code}", f"{operation} was refused with {code}")


@contextmanager
def translated(operation: str) -> Iterator[None]:
    """Translate the errors of the AWS calls in the block; `operation` names them in the error."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise translate(operation, error) from error


@once
def _session() -> Session:
    # botocore's own session: boto3's adds resources and transfers, which nothing here uses.
    tls.share_with_botocore()
    return Session()


def _prompt() -> Config:
    """Return time-outs with which all tries together end within the budget.

    A budget below `TWO_TRIES_SECONDS` allows one try: two would be too short on a busy processor.
    """
    tries = 2 if _Budget.seconds >= TWO_TRIES_SECONDS else 1
    each = (_Budget.seconds - LONGEST_PAUSE_SECONDS * (tries - 1)) / tries
    return _DEFAULT.merge(
        Config(
            connect_timeout=each * CONNECT_SHARE,
            read_timeout=each * (1 - 2 * CONNECT_SHARE),
            retries={"mode": "legacy", "total_max_attempts": tries},
        )
    )
