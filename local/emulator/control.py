"""The paths under `/_emulator/`, for `reportflow local fault` and for tests.

ReportFlow has none.
"""

from collections.abc import Callable

import msgspec

from local.emulator.fault_plan import Fault, FaultPlan
from local.emulator.messages import Answer, Refusal, Request
from local.emulator.webhooks import Webhooks

PREFIX = "/_emulator/"


class Outage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /_emulator/outage`: connections are refused for so many seconds."""

    seconds: float


class Control:
    """Sets the emulator's faults over HTTP."""

    def __init__(
        self,
        plan: FaultPlan,
        webhooks: Webhooks,
        refuse_connections: Callable[[float], None],
        revoke_tokens: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._webhooks = webhooks
        self._refuse_connections = refuse_connections
        self._revoke_tokens = revoke_tokens

    def answer(self, request: Request) -> Answer:
        """Answer a request under `PREFIX`.

        Raises:
            Refusal: 400 for another body, 404 for another path.
        """
        result: object = {}
        match request.method, request.path.removeprefix(PREFIX):
            case "DELETE", "tokens":
                self._revoke_tokens()
            case ("GET" | "PUT" | "POST") as method, "faults":
                if method == "PUT":
                    self._plan.replace(_decoded(request, list[Fault]))
                elif method == "POST":
                    self._plan.add(_decoded(request, Fault))
                result = self._faults()
            case "GET", "webhook":
                result = {"url": self._webhooks.url}
            case "PUT", "outage":
                self._refuse_connections(_decoded(request, Outage).seconds)
            case _:
                raise Refusal(404, f"Cannot {request.method} {request.path}")
        return Answer.json(200, result)

    def _faults(self) -> object:
        return [
            {"happened": happened, **msgspec.to_builtins(fault)}
            for fault, happened in self._plan.counts()
        ]


def _decoded[T](request: Request, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.MsgspecError as error:
        raise Refusal(400, str(error)) from None
