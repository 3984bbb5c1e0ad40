"""What the emulated service is configured with, and what the real one does not tell."""

from dataclasses import dataclass
from typing import Final

DEFAULT_APP_KEY: Final = "emulator-app-key"
DEFAULT_SECRET_KEY: Final = "emulator-secret-key"  # noqa: S105  # opens nothing but the emulator


@dataclass(frozen=True)
class EmulatorSettings:
    """The account, and one setting for each thing the service's pages leave open.

    Attributes:
        workspace_id: The account's workspace.
        app_key: What the header `AppKey` must carry.
        secret_key: What the header `SecretKey` must carry.
        max_body_bytes: Largest request body; the page says "20MB", taken as 20 MiB.
        max_contents: Most files of one `multiple`. Unknown; the service's newer contract says 100.
        render_seconds: Least and most seconds from the 202 to the finished PDF. Unknown.
        render_workers: PDFs made at the same time.
        not_ready_status: Answer to a download of a PDF still being made. Unknown; a client of
            the service knows the text NOT_READY, and 404 is the least helpful to ours.
        not_ready_message: Its message.
        retention_seconds: How long a PDF can be downloaded; "limited", no number anywhere.
        requests_per_minute: Submissions and downloads answered in any 60 s before 429, or None
            for no limit. Unknown for this contract; the service's newer one allows 100.
        rate_limit_retry_after: Whether a 429 for the rate carries `Retry-After`. Unknown.
        webhook_timeout_seconds: How long the receiver may take. Unknown.
        webhook_retries: Further attempts after a 5xx or no answer. Unknown.
        webhook_backoff_seconds: Wait before the first of them; doubles each time. Unknown.
        webhook_workers: Deliveries made at the same time.
        one_webhook_per_request: Whether a `multiple` is announced once, when all its files are
            made, or file by file. Unknown.
        seed: Decides delays and the faults that have a probability.

    Raises:
        ValueError: A value that the service could not have.
    """

    workspace_id: str = "your-workspace-id"
    app_key: str = DEFAULT_APP_KEY
    secret_key: str = DEFAULT_SECRET_KEY
    max_body_bytes: int = 20 * 1024 * 1024
    max_contents: int = 100
    render_seconds: tuple[float, float] = (0.05, 0.3)
    render_workers: int = 2
    not_ready_status: int = 404
    not_ready_message: str = "NOT_READY"
    retention_seconds: float = 86_400
    requests_per_minute: int | None = None
    rate_limit_retry_after: bool = True
    webhook_timeout_seconds: float = 10
    webhook_retries: int = 3
    webhook_backoff_seconds: float = 0.5
    webhook_workers: int = 8
    one_webhook_per_request: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        least, most = self.render_seconds
        if not 0 <= least <= most:
            raise ValueError(f"render_seconds must be 0 <= least <= most, not {least}, {most}")
        if self.not_ready_status == 200:
            raise ValueError("not_ready_status must not be 200: that is the finished PDF's")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise ValueError("requests_per_minute must be at least 1, or None for no limit")
