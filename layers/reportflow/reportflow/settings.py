"""What each function is told by its environment: frozen, typed, checked all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import msgspec


class InvalidEnvironment(Exception):
    """The function's environment lacks variables or holds wrong ones; names all of them."""


@dataclass(frozen=True)
class SubmitterSettings:
    """Environment of the submitter."""

    jobs_table: str
    event_bus: str
    request_queue_url: str
    request_dlq_url: str
    download_queue_url: str
    secret_arn: str
    reportflow_url: str
    reportflow_files_url: str
    reportflow_requests_per_minute: int
    reportflow_burst: int
    payload_buckets: tuple[str, ...]
    status_ttl_days: int
    max_attempts: int
    max_receive_count: int
    max_message_age_seconds: int
    outcome_grace_seconds: int
    check_delay_seconds: int


@dataclass(frozen=True)
class WebhookSettings:
    """Environment of the webhook. It takes unsigned requests if `webhook_signature` is `off`."""

    download_queue_url: str
    secret_arn: str
    workspace_id: str
    webhook_signature: str


@dataclass(frozen=True)
class DownloaderSettings:
    """Environment of the downloader."""

    jobs_table: str
    event_bus: str
    download_queue_url: str
    download_dlq_url: str
    secret_arn: str
    reportflow_url: str
    reportflow_files_url: str
    reportflow_requests_per_minute: int
    reportflow_burst: int
    archive_bucket: str
    max_file_bytes: int
    status_ttl_days: int
    max_attempts: int
    max_receive_count: int
    max_message_age_seconds: int
    orphan_grace_seconds: int
    check_delay_seconds: int
    completion_deadline_seconds: int


def load[S: (SubmitterSettings, WebhookSettings, DownloaderSettings)](
    kind: type[S], environment: Mapping[str, str]
) -> S:
    """Read the settings from the variables named like the fields in upper case.

    Raises:
        InvalidEnvironment: naming every variable that is missing or malformed.
    """
    values: dict[str, str | int | tuple[str, ...]] = {}
    mistakes: list[str] = []
    for field in fields(kind):
        name = field.name.upper()
        text = environment.get(name)
        if text is None:
            mistakes.append(f"{name} is missing")
        elif field.type is int:
            if text.isdecimal():
                values[field.name] = int(text)
            else:
                mistakes.append(f"{name} must be a whole number, not {text!r}")
        elif field.type is str:
            if text:
                values[field.name] = text
            else:
                mistakes.append(f"{name} is empty")
        else:
            values[field.name] = tuple(part.strip() for part in text.split(",") if part.strip())
    if mistakes:
        raise InvalidEnvironment(
            f"{kind.__name__}: {'; '.join(mistakes)}. Deploy the stack again to set them."
        )
    return msgspec.convert(values, kind)
