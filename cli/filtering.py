"""Which jobs `list` means, beyond their state and age: what only their records tell."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from cli.records import Record


@dataclass(frozen=True)
class Filter:
    """What a job must have; what is empty does not narrow the list down."""

    job_prefix: str = ""
    design: str = ""
    errors: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that have it all."""
        return filter(self._has, records)

    def _has(self, record: Record) -> bool:
        return (
            record["jobId"].startswith(self.job_prefix)
            and (not self.design or record.get("designId") == self.design)
            and (not self.errors or record.get("errorCode") in self.errors)
            and (not self.metadata or self.metadata.items() <= _texts(record).items())
        )


def _texts(record: Record) -> dict[str, str]:
    """The metadata's top-level values: a string itself, anything else as its JSON."""
    try:
        members = msgspec.json.decode(record.get("metadata", b"{}"), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, TypeError):
        return {}
    return {name: _text(bytes(value)) for name, value in members.items()}


def _text(value: bytes) -> str:
    return msgspec.json.decode(value, type=str) if value.startswith(b'"') else value.decode()
