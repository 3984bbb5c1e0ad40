"""The faults of a running emulator, set from another process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import requests

from local.emulator.control import PREFIX
from local.emulator.fault_plan import FITTING, Call, Fault, kind_of

_TIMEOUT_SECONDS = 10


class FaultError(Exception):
    """The fault cannot be set; the message says why."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it can happen to, its fields, and what it imitates."""

    name: str
    calls: Sequence[Call]
    fields: str
    imitates: str


def kinds() -> Iterator[Kind]:
    """All kinds of faults."""
    classes = dict.fromkeys(each for fitting in FITTING.values() for each in fitting)
    for each in classes:
        required = len(each.__struct_fields__) - len(each.__struct_defaults__)
        fields = [
            f"{name}=…" if number < required else f"[{name}=…]"
            for number, name in enumerate(each.__struct_encode_fields__)
        ]
        calls = [call for call, fitting in FITTING.items() if each in fitting]
        imitates = (each.__doc__ or "").partition("\n")[0].rstrip(".")
        yield Kind(kind_of(each), calls, " ".join(fields), imitates)


class FaultClient:
    """A client of the emulator at `reportflow_url`, the API's base URL."""

    def __init__(self, reportflow_url: str) -> None:
        self._base = reportflow_url.removesuffix("/v1") + PREFIX
        self._session = requests.Session()
        self._session.trust_env = False

    def add(self, call: str, kind: str, fields: Mapping[str, str], **limits: object) -> None:
        """Put a fault in force; `limits` are other fields of `Fault`.

        Raises:
            FaultError: there is no such fault, or no emulator.
        """
        value = {"call": call, "fault": {"kind": kind, **fields}, **limits}
        try:
            fault = msgspec.convert(value, Fault, strict=False)
        except msgspec.ValidationError as error:
            raise FaultError(
                f"{call} {kind}: {error}. See `reportflow local fault list`."
            ) from error
        self._ask("POST", "faults", msgspec.to_builtins(fault))

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, each with how often it has happened.

        Raises:
            FaultError: there is no emulator.
        """
        faults: list[dict[str, Any]] = self._ask("GET", "faults")
        return faults

    def clear(self) -> None:
        """End all faults.

        Raises:
            FaultError: there is no emulator.
        """
        self._ask("PUT", "faults", [])

    def refuse_connections(self, seconds: float) -> None:
        """Refuse all connections for some seconds.

        Raises:
            FaultError: there is no emulator.
        """
        self._ask("PUT", "outage", {"seconds": seconds})

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  (JSON)
        try:
            answer = self._session.request(
                method, self._base + path, json=body, timeout=_TIMEOUT_SECONDS
            )
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise FaultError(
                f"No emulator answers at {self._base}: an outage may be in force, or the system "
                "was started with --reportflow-url."
            ) from error
