"""Reads each function's settings from its environment variables.

A field has the name of a deployment setting or of a resource in the stacks. The template writes a
variable for each field. A text with a default may be empty. `stacks/settings.py` has the meanings,
bounds and defaults.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import fields


class InvalidEnvironment(Exception):
    """Environment variables are missing or malformed; the message names all of them."""


class ConsumerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that both the submitter and the downloader read."""

    jobs_table: str
    event_bus: str
    download_queue_url: str
    secret_arn: str
    contract: str
    reportflow_url: str
    reportflow_files_url: str
    reportflow_token_url: str
    former_reportflow_url: str = ""
    reportflow_requests_per_minute: int
    reportflow_burst: int
    status_ttl_days: int
    max_attempts: int
    max_receive_count: int
    max_message_age_seconds: int
    check_delay_seconds: int


class SubmitterSettings(ConsumerSettings, frozen=True, kw_only=True):
    """The submitter's settings."""

    submitter_timeout_seconds: int
    request_queue_url: str
    request_dlq_url: str
    payload_buckets: tuple[str, ...]
    outcome_grace_seconds: int


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook's settings. It accepts unsigned requests only if `webhook_signature` is `off`."""

    download_queue_url: str
    secret_arn: str
    workspace_id: str
    webhook_signature: str
    webhook_timeout_seconds: int


class DownloaderSettings(ConsumerSettings, frozen=True, kw_only=True):
    """The downloader's settings."""

    downloader_timeout_seconds: int
    download_dlq_url: str
    archive_bucket: str
    max_file_bytes: int
    orphan_grace_seconds: int
    completion_deadline_seconds: int


type FunctionSettings = SubmitterSettings | WebhookSettings | DownloaderSettings


def load[S: (SubmitterSettings, WebhookSettings, DownloaderSettings)](
    kind: type[S], environment: Mapping[str, str]
) -> S:
    """Read each field from the variable of the same name in upper case.

    Raises:
        InvalidEnvironment: variables are missing or malformed.
    """
    values: dict[str, str | list[str]] = {}
    mistakes: list[str] = []
    for field in fields(kind):
        name = field.name.upper()
        text = environment.get(name)
        if text is None:
            mistakes.append(f"{name} is missing")
        elif field.type is int and not text.isdecimal():
            mistakes.append(f"{name} must be a whole number, not {text!r}")
        elif field.type is str and not text and field.default != "":
            mistakes.append(f"{name} is empty")
        elif field.type in (int, str):
            values[field.name] = text
        else:
            values[field.name] = [part.strip() for part in text.split(",") if part.strip()]
    if mistakes:
        raise InvalidEnvironment(
            f"{kind.__name__}: {'; '.join(mistakes)}. Deploy the stack again to set them."
        )
    return msgspec.convert(values, kind, strict=False)
