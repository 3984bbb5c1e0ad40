"""A client of ReportFlow by the `workspace` contract, as a test needs it."""

from collections.abc import Callable
from datetime import datetime

from reportflow.contract import WORKSPACE, Contract
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.pacing import Pace, Unpaced
from reportflow.secret import SecretStore
from tests.unit.clock import Clock


def client_of(
    url: str,
    secrets: SecretStore,
    files_url: str = "http://127.0.0.1/",
    *,
    contract: Contract = WORKSPACE,
    pace: Pace | None = None,
    clock: Callable[[], datetime] | None = None,
) -> ReportFlow:
    return ReportFlow(
        Endpoint(contract, url),
        secrets,
        pace or Unpaced(),
        clock=clock or Clock(),
        files_url=files_url,
    )
