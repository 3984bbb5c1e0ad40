"""The emulator as a whole."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event
from types import TracebackType
from typing import Final, Self

from local.emulator.api import Api
from local.emulator.central import CentralApi
from local.emulator.control import PREFIX, Control
from local.emulator.designs import CATALOG, Design
from local.emulator.fault_plan import Fault, FaultPlan
from local.emulator.faults import HttpFault
from local.emulator.files import FileRecord, Files
from local.emulator.messages import Answer, Request
from local.emulator.rate_limit import RateCount
from local.emulator.scheduler import Scheduler
from local.emulator.server import Server
from local.emulator.settings import Contract, EmulatorSettings
from local.emulator.webhooks import Webhooks
from local.emulator.workspace import WorkspaceApi

_MOMENT_SECONDS = 0.05
_APIS: Final[Mapping[Contract, type[Api]]] = {
    Contract.WORKSPACE: WorkspaceApi,
    Contract.CENTRAL: CentralApi,
}


class Emulator:
    """ReportFlow on 127.0.0.1, from construction until `close`; a context manager that closes.

    `webhook_url` is the workspace's, and can be set at any time. With None it sends no webhooks.
    `port` 0 takes a free one. `faults` can be replaced at any time.

    Raises:
        OSError: The port is taken.
    """

    def __init__(
        self,
        settings: EmulatorSettings | None = None,
        webhook_url: str | None = None,
        port: int = 0,
        *,
        designs: Sequence[Design] = CATALOG,
        faults: Sequence[Fault] = (),
    ) -> None:
        settings = settings or EmulatorSettings()
        self.faults = FaultPlan(settings.seed, faults)
        self._closing = Event()
        self.settings = settings
        self._files = Files(settings.retention_seconds, settings.limits.ids)
        self._webhooks = Webhooks(settings, self._files, self.faults, webhook_url)
        self._api = _APIS[settings.contract](
            settings, designs, self._files, self.faults, self._webhooks
        )
        self._outages = Scheduler("outage", 1)
        self._control = Control(self.faults, self._webhooks, self._refuse_soon, self.revoke_tokens)
        try:
            self._server = Server(
                self._prepare, port, settings.limits.max_body_bytes, self._files, self._closing
            )
        except OSError:
            self._close_workers()
            raise

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """The API's base URL, with `/v1`."""
        return f"{self.origin}/v1"

    @property
    def token_url(self) -> str:
        """The token endpoint of `central`."""
        return f"{self.origin}{self.settings.token_path}"

    @property
    def webhook_url(self) -> str | None:
        """The URL that webhooks are sent to."""
        return self._webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._webhooks.url = url

    def files(self) -> tuple[FileRecord, ...]:
        """All requested files, in the order of the requests."""
        return self._files.all()

    def rate(self) -> RateCount:
        """How the rate limit of asynchronous submissions and downloads was used."""
        return self._api.rate.count()

    def revoke_tokens(self) -> None:
        """Accept none of the access tokens issued so far. `workspace` has no tokens."""
        if isinstance(self._api, CentralApi):
            self._api.tokens.revoke()

    def refuse_connections(self, seconds: float) -> None:
        """Close all connections, and refuse new ones for some seconds."""
        self._server.close()
        self._outages.post(self._server.listen, seconds)

    def close(self) -> None:
        """End all threads and connections, and drop PDFs and webhooks that have not begun."""
        self._closing.set()
        self._files.close()
        self._close_workers()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self, request: Request) -> tuple[HttpFault | None, Callable[[], Answer]]:
        if request.path.startswith(PREFIX):
            return None, partial(self._control.answer, request)
        operation = self._api.operation(request)
        if operation.call is None:
            return None, operation.run
        return self.faults.http(operation.call, operation.subjects), operation.run

    def _refuse_soon(self, seconds: float) -> None:
        """Refuse connections, after the answer to this request has been sent."""
        self._outages.post(partial(self.refuse_connections, seconds), _MOMENT_SECONDS)

    def _close_workers(self) -> None:
        self._outages.close()
        self._api.close()
        self._webhooks.close()
