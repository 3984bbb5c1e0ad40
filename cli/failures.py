"""What a command's end means, and a user's or AWS's failures in words."""

from enum import IntEnum
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)

from reportflow.errors import PipelineError


class ExitCode(IntEnum):
    """What a program may conclude from a command's end."""

    DONE = 0
    FINDINGS = 1
    UNABLE = 2
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CliError(Exception):
    """Something that the user can mend; the message says how."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.UNABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_NO_KEYS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOError,
    TokenRetrievalError,
)
_NO_ANSWER: Final = (
    EndpointConnectionError,
    ConnectTimeoutError,
    ReadTimeoutError,
    HTTPClientError,
)
_KEYS_REFUSED: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_SIGN_IN: Final = "sign in (`aws sso login`), or name a profile with --profile or AWS_PROFILE"


def explain(error: Exception) -> str | None:
    """What to tell the user of a failure; None for a defect of ours."""
    match error:
        case CliError() | PipelineError():
            return str(error)
        case NoRegionError():
            return "No AWS region: name one with --region or AWS_REGION."
        case ClientError():
            return _refusal(error)
        case BotoCoreError() if isinstance(error, _NO_KEYS):
            return f"No AWS credentials ({error}): {_SIGN_IN}; --local for this machine's system."
        case BotoCoreError() if isinstance(error, _NO_ANSWER):
            return f"AWS does not answer: {error}"
        case BotoCoreError():
            return f"AWS: {error}"
        case OSError():
            return str(error)
    return None


def _refusal(error: ClientError) -> str:
    told = error.response.get("Error", {})
    code = told.get("Code", "Unknown")
    text = f"AWS refused {error.operation_name}: {code}: {told.get('Message', '')}"
    return (
        f"{text} The credentials are not accepted: {_SIGN_IN}." if code in _KEYS_REFUSED else text
    )
