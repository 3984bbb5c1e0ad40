"""What the end of a command means, and failures of the user or of AWS in words."""

import re
from enum import IntEnum
from typing import Final

from botocore import exceptions as aws

from reportflow.errors import PipelineError


class ExitCode(IntEnum):
    """What a program may conclude from the end of a command."""

    DONE = 0
    FINDINGS = 1
    UNABLE = 2
    BROKEN_PIPE = 141


class CliError(Exception):
    """A problem that the user can fix. The message says how."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.UNABLE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_NO_KEYS: Final = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.SSOError,
    aws.TokenRetrievalError,
)
_KEYS_REFUSED: Final = re.compile(
    "ExpiredToken(Exception)?|Invalid(AccessKeyId|ClientTokenId|SignatureException)"
    "|SignatureDoesNotMatch|UnrecognizedClientException"
)
_SIGN_IN: Final = "sign in (`aws sso login`), or name a profile with --profile or AWS_PROFILE"


def explain(error: Exception) -> str | None:
    """Return what to print about a failure; None for a bug of the command line."""
    match error:
        case CliError() | PipelineError():
            return str(error)
        case aws.NoRegionError():
            return "No AWS region: name one with --region or AWS_REGION."
        case aws.ClientError():
            return _refusal(error)
        case aws.BotoCoreError() if isinstance(error, _NO_KEYS):
            return f"No AWS credentials ({error}): {_SIGN_IN}. For the local system, use --local."
        case aws.HTTPClientError() | aws.ConnectionError():
            return f"AWS does not answer: {error}"
        case aws.BotoCoreError():
            return f"AWS: {error}"
        case OSError():
            return str(error)
    return None


def aws_code(error: aws.ClientError) -> str:
    """Return AWS's own code for its refusal."""
    return error.response.get("Error", {}).get("Code", "Unknown")


def _refusal(error: aws.ClientError) -> str:
    message = error.response.get("Error", {}).get("Message", "")
    text = f"AWS refused {error.operation_name}: {aws_code(error)}: {message}"
    refused = _KEYS_REFUSED.fullmatch(aws_code(error))
    return f"{text} The credentials are not accepted: {_SIGN_IN}." if refused else text
