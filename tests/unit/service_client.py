"""A client of ReportFlow, as a test needs it."""

from collections.abc import Callable, Sequence
from datetime import datetime

from reportflow.contract import WORKSPACE, Contract
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.rate_limiter import NoRateLimit, RateLimiter
from reportflow.secret import SecretStore
from tests.unit.clock import Clock


def client_of(
    url: str,
    secrets: SecretStore,
    files_url: str = "http://127.0.0.1/",
    *,
    contract: Contract = WORKSPACE,
    rate_limiter: RateLimiter | None = None,
    clock: Callable[[], datetime] | None = None,
    token_url: str = "",
    former: Sequence[Endpoint] = (),
) -> ReportFlow:
    return ReportFlow(
        Endpoint(contract, url),
        secrets,
        rate_limiter or NoRateLimit(),
        clock=clock or Clock(),
        files_url=files_url,
        token_url=token_url,
        former=former,
    )
