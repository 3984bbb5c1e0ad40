"""Which call gets which fault, and how often. It can be set while the service runs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import sha256
from threading import Lock
from typing import Final

from msgspec import Struct

from local.emulator.faults import (
    AnyDispatchFault,
    AnyHttpFault,
    CutAfter,
    CutBefore,
    DispatchFault,
    EarlyWebhook,
    Html,
    HttpFault,
    Late,
    Lost,
    Oversize,
    Reordered,
    Repeated,
    Slow,
    Status,
    Truncated,
)
from local.emulator.files import Content


class Call(StrEnum):
    """The calls that a fault can happen to."""

    SUBMIT = "submit"
    DOWNLOAD = "download"
    TOKEN = "token"  # noqa: S105  # the name of a call
    RENDER = "render"
    WEBHOOK = "webhook"


FITTING: Final[Mapping[Call, tuple[type[HttpFault] | type[DispatchFault], ...]]] = {
    Call.SUBMIT: (Slow, Status, CutBefore, CutAfter, Truncated, Html, EarlyWebhook),
    Call.DOWNLOAD: (Slow, Status, CutBefore, CutAfter, Truncated, Html, Oversize),
    Call.TOKEN: (Slow, Status, CutBefore, CutAfter, Truncated, Html),
    Call.RENDER: (Lost, Late),
    Call.WEBHOOK: (Lost, Late, Repeated, Reordered),
}


class Fault(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One fault, and the calls that it happens to.

    It happens to a call whose file name and `jobId` parameter begin as given, `times` times at most
    (None: always), and each time with `probability`, which the seed and the file decide.

    Raises:
        ValueError: The kind does not fit the call.
    """

    call: Call
    fault: AnyHttpFault | AnyDispatchFault
    times: int | None = 1
    probability: float = 1
    file_name_prefix: str = ""
    job_id_prefix: str = ""

    def __post_init__(self) -> None:
        if type(self.fault) not in FITTING[self.call]:
            fitting = ", ".join(map(kind_of, FITTING[self.call]))
            raise ValueError(
                f"{kind_of(type(self.fault))} cannot happen to a {self.call}. Use one of {fitting}."
            )

    def matches(self, subjects: Sequence[Content]) -> bool:
        """Whether it can happen to one of the files."""
        if not self.file_name_prefix and not self.job_id_prefix:
            return True
        return any(
            subject.file_name.startswith(self.file_name_prefix)
            and str(subject.params.get("jobId", "")).startswith(self.job_id_prefix)
            for subject in subjects
        )


def kind_of(fault: type[HttpFault] | type[DispatchFault]) -> str:
    """The name of a kind of fault in JSON."""
    return str(fault.__struct_config__.tag)


class FaultPlan:
    """The faults in force. The first that fits a call happens to it."""

    def __init__(self, seed: int, faults: Sequence[Fault] = ()) -> None:
        self._seed = seed
        self._lock = Lock()
        self.replace(faults)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Put other faults in force, and restart the counts."""
        with self._lock:
            self._faults = tuple(faults)
            self._counts: Counter[int] = Counter()
            self._considered: Counter[tuple[int, str]] = Counter()

    def add(self, fault: Fault) -> None:
        """Put one more fault in force, behind the others."""
        with self._lock:
            self._faults = (*self._faults, fault)

    def counts(self) -> list[tuple[Fault, int]]:
        """The faults in force, and how often each has happened."""
        with self._lock:
            return [(fault, self._counts[number]) for number, fault in enumerate(self._faults)]

    def http(self, call: Call, subjects: Callable[[], Sequence[Content]]) -> HttpFault | None:
        """The fault that happens to a request. Calls `subjects` only if there are faults."""
        fault = self._choose(call, subjects)
        return fault if isinstance(fault, HttpFault) else None

    def dispatch(self, call: Call, subjects: Sequence[Content]) -> DispatchFault | None:
        """The fault that happens to a generation or a webhook."""
        fault = self._choose(call, lambda: subjects)
        return fault if isinstance(fault, DispatchFault) else None

    def _choose(
        self, call: Call, subjects: Callable[[], Sequence[Content]]
    ) -> HttpFault | DispatchFault | None:
        if not self._faults:
            return None
        files = subjects()
        with self._lock:
            for number, fault in enumerate(self._faults):
                if fault.call is call and fault.matches(files) and self._happens(number, files):
                    self._counts[number] += 1
                    return fault.fault
        return None

    def _happens(self, number: int, subjects: Sequence[Content]) -> bool:
        fault = self._faults[number]
        if fault.times is not None and self._counts[number] >= fault.times:
            return False
        # Drawn from the file, and not from one sequence, so that the order of threads has no
        # effect.
        name = subjects[0].file_name if subjects else ""
        self._considered[number, name] += 1
        draw = f"{self._seed}/{number}/{name}/{self._considered[number, name]}"
        return _fraction(draw) < fault.probability


def _fraction(text: str) -> float:
    """A number from 0 to 1 that `text` decides."""
    return int.from_bytes(sha256(text.encode()).digest()[:8]) / 2**64
