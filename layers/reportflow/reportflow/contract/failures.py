"""ReportFlow's failures as kinds of ours."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from urllib3.exceptions import NewConnectionError

from reportflow.errors import (
    CredentialsRefused,
    OutcomeUnknown,
    Permanent,
    PipelineError,
    Retryable,
    Throttled,
)

MAX_RETRY_AFTER_SECONDS: Final = 3600.0

REQUEST_TIMEOUT: Final = 408
TOO_MANY_REQUESTS: Final = 429
GATEWAY_TIMEOUT: Final = 504

REFUSED_KEYS: Final = frozenset({401, 403, 412})
_PASSING: Final = frozenset({REQUEST_TIMEOUT, 425})


def translate_exception(error: requests.RequestException) -> PipelineError:
    """A request without an answer: its kind depends on whether it can have reached ReportFlow."""
    reason = error.args[0] if error.args else None
    # The failure of a handshake stands behind the error of the connection.
    name = type(getattr(reason, "__cause__", None) or reason or error).__name__
    if isinstance(reason, NewConnectionError):
        return Retryable("SERVICE_UNREACHABLE", f"no connection to ReportFlow ({name})")
    return OutcomeUnknown(
        "ANSWER_LOST", f"the request left, but ReportFlow's answer did not arrive ({name})"
    )


def translate_status(
    status: int, message: str, *, retry_after_seconds: float | None = None
) -> PipelineError:
    """An answer that is not the expected one, as one of our errors.

    `message` is ReportFlow's. It may quote the params, so no log shows it.
    """
    code, answered = f"HTTP_{status}", f"ReportFlow answered {status}"
    said = f"{answered}: {message}" if message else answered
    if status in REFUSED_KEYS:
        return CredentialsRefused(code, said, loggable=answered)
    if status == TOO_MANY_REQUESTS:
        return Throttled(code, said, loggable=answered, delay_seconds=retry_after_seconds)
    if status < 200 or status == GATEWAY_TIMEOUT:
        # No final answer: ReportFlow may still be making the PDF.
        return OutcomeUnknown(code, said, loggable=answered)
    if 400 <= status < 500 and status not in _PASSING:
        return Permanent(code, said, loggable=answered)
    return Retryable(code, said, loggable=answered, delay_seconds=retry_after_seconds)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110 10.2.3), seconds or date; capped."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            seconds = float(value)
        else:
            date = parsedate_to_datetime(value)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
