"""The emulator's settings, with one for each thing that ReportFlow does not document."""

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from string import ascii_letters, digits
from typing import Final
from uuid import uuid4

DEFAULT_APP_KEY: Final = "ak_emulator"
DEFAULT_SECRET_KEY: Final = "emulator-secret-key"  # noqa: S105  # opens nothing but the emulator
DEFAULT_CLIENT_SECRET: Final = "emulator-client-secret"  # noqa: S105  # the same

UNLIMITED: Final = sys.maxsize
"""A rate limit that no test reaches."""

_MEBIBYTE: Final = 1024 * 1024


class Contract(StrEnum):
    """The two forms of the service's API."""

    WORKSPACE = "workspace"
    CENTRAL = "central"


class Ids(StrEnum):
    """The form of the ids of files and requests. The service's pages show all three."""

    PREFIXED = "prefixed"
    UUID = "uuid"
    SHORT = "short"

    def make(self, prefix: str) -> str:
        """Return a new id; only `PREFIXED` ones begin with `prefix`."""
        match self:
            case Ids.PREFIXED:
                return f"{prefix}_{uuid4().hex}"
            case Ids.UUID:
                return str(uuid4())
            case Ids.SHORT:
                return "".join(secrets.choice(ascii_letters + digits) for _ in range(16))


class UrlForm(StrEnum):
    """The meaning of `url` in the 202 of `central`. The service's pages describe all three.

    `REQUEST` is the ZIP of the request, `FILE` the first file, `PAGE` a web page for people.
    """

    REQUEST = "request"
    FILE = "file"
    PAGE = "page"


@dataclass(frozen=True)
class Limits:
    """The sizes, rates, times and ids that a contract's pages state.

    None is a rate without a limit.
    """

    max_body_bytes: int
    requests_per_minute: int | None
    sync_requests_per_minute: int | None
    sync_timeout_seconds: float
    ids: Ids


DOCUMENTED: Final[Mapping[Contract, Limits]] = {
    Contract.WORKSPACE: Limits(20 * _MEBIBYTE, None, None, 30, Ids.PREFIXED),
    Contract.CENTRAL: Limits(50 * _MEBIBYTE, 100, 30, 120, Ids.UUID),
}
"""The pages say "20MB" and "50MB"."""


@dataclass(frozen=True)
class EmulatorSettings:
    """The account, and one setting for each thing that the service's pages leave open.

    Attributes:
        contract: The API to serve.
        workspace_id: The account's workspace.
        app_key: What the header `AppKey` must carry.
        secret_key: What the header `SecretKey` must carry; `workspace` only.
        client_id: The client that may ask for an access token; `central` only.
        client_secret: The client's secret.
        token_path: Path of the token endpoint. The real service has it on another host.
        token_seconds: How long an access token is accepted.
        max_body_bytes: Largest request body. None is the documented one.
        accepted_status: Status of an accepted asynchronous request: 200, 201 or 202.
        ids: Form of the ids of files and requests. None is the one on the contract's pages.
        url_form: Meaning of `url` in the 202 of `central`.
        render_seconds: Least and most seconds from the 202 to the finished PDF. Unknown.
        render_workers: PDFs made at the same time.
        sync_timeout_seconds: How long a synchronous call waits for its PDFs before it answers 504.
            None is the documented time.
        not_ready_status: Answer to a download of a PDF still being made. Unknown. A client of
            the service knows the text NOT_READY, and 404 helps ours least.
        not_ready_message: Its message.
        unknown_status: Answer to a download of a file or request that does not exist.
        unknown_message: Its message.
        expired_status: Answer to a download after the retention time.
        expired_message: Its message.
        retention_seconds: How long a PDF can be downloaded; "limited", no number anywhere.
        requests_per_minute: Asynchronous submissions and downloads, counted together, answered in
            any 60 s before 429. None is the documented number: no limit for `workspace`, 100 for
            `central`. `UNLIMITED` switches the limit off.
        sync_requests_per_minute: The same for synchronous calls. `central` documents 30.
        rate_limit_counts_refused: Whether a request that is answered 429 counts too, so that a
            caller that never pauses gets only 429. Unknown.
        rate_limit_retry_after: Whether a 429 for the rate carries `Retry-After`. Unknown.
        webhook_timeout_seconds: How long the receiver may take. Unknown.
        webhook_retries: Further attempts after a 5xx or no answer. Unknown.
        webhook_backoff_seconds: Wait before the first of them; doubles each time. Unknown.
        webhook_workers: Deliveries made at the same time.
        one_webhook_per_request: Whether a request of several files has one webhook, sent when all
            its files are made, or one for each file. Unknown.
        seed: Decides delays and the faults that have a probability.

    Raises:
        ValueError: A value that is not possible.
    """

    contract: Contract = Contract.WORKSPACE
    workspace_id: str = "your-workspace-id"
    app_key: str = DEFAULT_APP_KEY
    secret_key: str = DEFAULT_SECRET_KEY
    client_id: str = "emulator-client"
    client_secret: str = DEFAULT_CLIENT_SECRET
    token_path: str = "/oauth/token"  # noqa: S105  # a path
    token_seconds: float = 3600
    max_body_bytes: int | None = None
    accepted_status: int = 202
    ids: Ids | None = None
    url_form: UrlForm = UrlForm.REQUEST
    render_seconds: tuple[float, float] = (0.05, 0.3)
    render_workers: int = 2
    sync_timeout_seconds: float | None = None
    not_ready_status: int = 404
    not_ready_message: str = "NOT_READY"
    unknown_status: int = 404
    unknown_message: str = "ファイルが見つかりません"
    expired_status: int = 404
    expired_message: str = "ファイルの保存期間が終了しました"
    retention_seconds: float = 86_400
    requests_per_minute: int | None = None
    sync_requests_per_minute: int | None = None
    rate_limit_counts_refused: bool = False
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
        for name in ("not_ready_status", "unknown_status", "expired_status"):
            if getattr(self, name) == 200:
                raise ValueError(f"{name} must not be 200: that is the finished PDF's")
        if self.accepted_status not in {200, 201, 202}:
            raise ValueError(f"accepted_status must be 200, 201 or 202, not {self.accepted_status}")
        for name in ("requests_per_minute", "sync_requests_per_minute"):
            rate = getattr(self, name)
            if rate is not None and rate < 1:
                raise ValueError(f"{name} must be at least 1, or None for the documented limit")

    @property
    def limits(self) -> Limits:
        """The documented limits of the contract, with those that are set here in their place."""
        own = {field.name: getattr(self, field.name) for field in fields(Limits)}
        changed = {name: value for name, value in own.items() if value is not None}
        return replace(DOCUMENTED[self.contract], **changed)


def harshest(contract: Contract) -> EmulatorSettings:
    """Return settings that answer every open question in the way that helps a client least."""
    return EmulatorSettings(
        contract=contract,
        accepted_status=200,
        ids=Ids.SHORT,
        url_form=UrlForm.PAGE,
        not_ready_message="Not Found",
        unknown_message="Not Found",
        expired_message="Not Found",
        rate_limit_counts_refused=True,
        rate_limit_retry_after=False,
        webhook_retries=0,
        one_webhook_per_request=False,
    )
