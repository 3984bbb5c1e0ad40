"""DynamoDB in memory: one table whose writes are linearizable and whose indexes lag behind."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.simulation import expressions
from tests.simulation.expressions import Item, Value


@dataclass(frozen=True)
class Index:
    """A global secondary index: its keys, and what else of the item it holds."""

    hash_key: str
    range_key: str | None = None
    included: tuple[str, ...] = ()

    def project(self, item: Mapping[str, Value]) -> Item | None:
        """The item as the index shows it; None if it is not in the index."""
        if self.hash_key not in item or (self.range_key and self.range_key not in item):
            return None
        return {name: item[name] for name in self._names if name in item}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        keys = (self.hash_key, self.range_key) if self.range_key else (self.hash_key,)
        return *keys, "jobId", *self.included


INDEXES: Final[Mapping[str, Index]] = {
    "byFileId": Index("fileId"),
    "byLeasedDigest": Index("leasedDigest"),
    "byStatus": Index("status", "updatedAt", ("requestDigest", "messageId")),
}
"""The indexes of `stacks.storage`."""

type Written = Callable[[str, Mapping[str, Value], Mapping[str, Value]], None]
"""Hears of every write: job id, the record before (empty if none), the record after."""


class Replica:
    """What an index knows so far."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._known: dict[str, Item] = {}
        self._by_hash: dict[str, dict[str, Item]] = {}
        self._on_the_way: list[tuple[float, int, str, Item | None]] = []
        self._last: dict[str, tuple[float, Item | None]] = {}
        self._sent = 0

    def send(self, job_id: str, item: Mapping[str, Value], arrives_at: float) -> None:
        """Let the item arrive; what concerns one item arrives in order."""
        projected = self._index.project(item)
        earliest, last = self._last.get(job_id, (0.0, None))
        if projected == last:
            return
        arrives_at = max(arrives_at, earliest)
        self._last[job_id] = arrives_at, projected
        self._sent += 1
        heapq.heappush(self._on_the_way, (arrives_at, self._sent, job_id, projected))

    def query(self, hash_value: str, now: float) -> list[Item]:
        """The items that have arrived under this key."""
        while self._on_the_way and self._on_the_way[0][0] <= now:
            _, _, job_id, item = heapq.heappop(self._on_the_way)
            old = self._known.pop(job_id, None)
            if old is not None:
                del self._by_hash[old[self._index.hash_key]["S"]][job_id]
            if item is not None:
                self._known[job_id] = item
                self._by_hash.setdefault(item[self._index.hash_key]["S"], {})[job_id] = item
        return list(self._by_hash.get(hash_value, {}).values())


class DynamoDB:
    """`boto3`'s client as far as `JobsTable` uses it, on one table with the key `jobId`."""

    def __init__(self, *, monotonic: Callable[[], float], lag: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lag = lag
        self.written: Written | None = None
        self.read: Callable[[str], None] | None = None
        self.items: dict[str, Item] = {}
        self._replicas = {name: Replica(index) for name, index in INDEXES.items()}

    def update_item(self, **call: Any) -> dict[str, Any]:
        """UpdateItem with a condition; answers with the record as it stands."""
        job_id = call["Key"]["jobId"]["S"]
        names = tuple(call.get("ExpressionAttributeNames", {}).items())
        values = call["ExpressionAttributeValues"]
        if self.read is not None:
            self.read(job_id)
        holds, change = expressions.write(
            call["ConditionExpression"], call["UpdateExpression"], names, tuple(values)
        )
        before = self.items.get(job_id, {})
        if not holds(before, values):
            answer: Any = {
                "Error": {"Code": "ConditionalCheckFailedException", "Message": ""},
                **({"Item": dict(before)} if before else {}),
            }
            raise ClientError(answer, "UpdateItem")
        after: Item = dict(before) or {"jobId": {"S": job_id}}
        change(after, values)
        self.items[job_id] = after
        now = self._monotonic()
        for replica in self._replicas.values():
            replica.send(job_id, after, now + self._lag())
        if self.written is not None:
            self.written(job_id, before, after)
        return {"Attributes": dict(after)}

    def get_item(self, **call: Any) -> dict[str, Any]:
        """GetItem; consistent."""
        assert call["ConsistentRead"], "the simulation knows consistent reads of the table only"
        job_id = call["Key"]["jobId"]["S"]
        if self.read is not None:
            self.read(job_id)
        item = self.items.get(job_id)
        return {} if item is None else {"Item": dict(item)}

    def query(self, **call: Any) -> dict[str, Any]:
        """Query of an index by its keys, with an optional filter."""
        index = INDEXES[call["IndexName"]]
        names = tuple(call.get("ExpressionAttributeNames", {}).items())
        values = call["ExpressionAttributeValues"]
        by_hash, _, by_range = call["KeyConditionExpression"].partition(" AND ")
        key, sign, placeholder = by_hash.split(" ")
        assert sign == "=", call
        assert dict(names).get(key, key) == index.hash_key, call
        assert not by_range or by_range.split(" ")[0] == index.range_key, call
        found = self._replicas[call["IndexName"]].query(values[placeholder]["S"], self._monotonic())
        for text in filter(None, (by_range, call.get("FilterExpression"))):
            fits = expressions.condition(text, names)
            found = [item for item in found if fits(item, values)]
        return {"Items": found[: call.get("Limit")]}
