"""Each event on the bus is the event of one final state that the table really held."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from reportflow.jobs import JobStatus
from tests.simulation.expressions import Value

type Written = Mapping[str, Value]

_SAME: Final = {
    "jobId": "jobId",
    "designId": "designId",
    "version": "version",
    "fileName": "fileName",
    "metadata": "metadata",
    "passthrough": "passthrough",
    "requestedAt": "createdAt",
    "possibleDuplicates": "possibleDuplicates",
}
_DETAIL: Final = {
    "PDF Archived": {
        **_SAME,
        "archivedAt": "archivedAt",
        "bucket": "archiveBucket",
        "key": "archiveKey",
        "versionId": "archiveVersionId",
        "size": "size",
        "sha256": "sha256",
    },
    "PDF Failed": {
        **_SAME,
        "failedAt": "failedAt",
        "errorCode": "errorCode",
        "errorMessage": "errorMessage",
        "failedStep": "failedStep",
    },
}
"""The fields of each event, and the attribute that each is taken from."""

_FINAL: Final = {JobStatus.ARCHIVED: "PDF Archived", JobStatus.FAILED: "PDF Failed"}
_NUMBERS: Final = frozenset({"version", "possibleDuplicates", "size"})
_OBJECTS: Final = frozenset({"metadata", "passthrough"})


@dataclass(eq=False)
class FinalState:
    """One final state of a job, and the id of its event once it is published."""

    event: str
    item: Written
    event_id: str = ""

    def matches(self, event: str, said: Mapping[str, object]) -> bool:
        """Whether the event has all fields of this state, and no others."""
        return event == self.event and said == self._expected

    @cached_property
    def _expected(self) -> Mapping[str, object]:
        return {
            name: _value_of(name, self.item.get(attribute))
            for name, attribute in _DETAIL[self.event].items()
        }


class Publications:
    """Keeps each final state that a record ever had, and compares each event with them."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self._states: dict[str, list[FinalState]] = defaultdict(list)
        self._by_id: dict[str, FinalState] = {}

    def written(self, job_id: str, before: Written, after: Written) -> None:
        """A record was written; a later life of a job, or a later failure, is another state."""
        status = JobStatus(after["status"]["S"])
        if status in _FINAL and any(
            before.get(name) != after.get(name) for name in ("status", "failedAt", "archivedAt")
        ):
            self._states[job_id].append(FinalState(_FINAL[status], dict(after)))

    def published(self, event: Mapping[str, Any]) -> None:
        """The bus has taken an event."""
        detail = json.loads(event["Detail"])
        job_id, event_id = detail["jobId"], detail["eventId"]
        kind = event["DetailType"]
        said = {name: _read(name, value) for name, value in detail.items() if name != "eventId"}
        state = next((state for state in self._states[job_id] if state.matches(kind, said)), None)
        if state is None:
            self._violated(f"an event says of {job_id} what its record never said: {detail}")
            return
        state.event_id = state.event_id or event_id
        if state.event_id != event_id:
            self._violated(f"one final state of {job_id} was published under two ids")
        if self._by_id.setdefault(event_id, state) is not state:
            self._violated(f"two final states of {job_id} were published under one id")

    def is_published(self, job_id: str) -> bool:
        """Whether the job's last final state is."""
        return bool(self._states[job_id] and self._states[job_id][-1].event_id)


def _value_of(name: str, attribute: Value | None) -> object:
    if attribute is None:
        return 0 if name in _NUMBERS else {} if name in _OBJECTS else ""
    [(kind, text)] = attribute.items()
    if name in _OBJECTS:
        return json.loads(text)
    return int(text) if kind == "N" else _read(name, text)


def _read(name: str, value: object) -> object:
    """Moments are compared as such: the table keeps milliseconds, an event may write more zeros."""
    return (
        datetime.fromisoformat(value) if name.endswith("At") and isinstance(value, str) else value
    )
