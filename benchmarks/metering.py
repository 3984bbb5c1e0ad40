"""Counts what AWS would bill: requests, and DynamoDB's units with those of the indexes.

Units by the guide's rules: a write takes one for each KiB of the larger of the item before and
after, refused or not. An index takes one write for an entry that is new, gone or changed, and two
if its key changed. A read takes one for each 4 KiB, half of it if it is eventually consistent.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from threading import Lock
from typing import Any, Final

from local.backend import Backend
from reportflow.jobs_table import BY_STATUS
from reportflow.rate_limiter import ITEM
from tests.pipeline.aws_proxy import AwsProxy, Call, Failure, Operation
from tests.simulation.dynamodb import INDEXES

WRITE_BYTES: Final = 1024
READ_BYTES: Final = 4096
REFUSED: Final = 400

type Item = Mapping[str, Mapping[str, Any]]


@dataclass
class Bill:
    """What has been asked of AWS so far."""

    calls: Counter[str] = field(default_factory=Counter)
    """By service and operation."""

    writes: Counter[str] = field(default_factory=Counter)
    """Write units by what was written: `job`, `index`, `slot`."""

    reads: float = 0.0
    """Read units."""

    partitions: Counter[str] = field(default_factory=Counter)
    """Write units by the status whose partition of `byStatus` takes them."""

    unknown: set[str] = field(default_factory=set)
    """Operations of DynamoDB whose units are not computed here."""


def size(item: Item) -> int:
    """The bytes of an item as DynamoDB counts them, which is a little less for numbers."""
    return sum(
        len(name.encode()) + sum(len(str(of).encode()) for of in value.values())
        for name, value in item.items()
    )


def write_units(before: Item, after: Item) -> int:
    """What a write to the table takes."""
    return max(1, ceil(max(size(before), size(after)) / WRITE_BYTES))


def index_units(before: Item, after: Item) -> Counter[tuple[str, str]]:
    """What the write takes of each index, by its name and the partition's key."""
    units: Counter[tuple[str, str]] = Counter()
    for name, index in INDEXES.items():
        old, new = index.project(before), index.project(after)
        if old == new:
            continue
        keys = [index.hash_key, index.range_key or index.hash_key]
        if old and new and all(old[key] == new[key] for key in keys):
            units[name, new[index.hash_key]["S"]] += write_units(old, new)
            continue
        for entry in (old, new):
            if entry:
                units[name, entry[index.hash_key]["S"]] += write_units(entry, {})
    return units


class Meter:
    """Keeps the bill of the calls that pass a proxy to an emulated AWS.

    `latency` are the seconds that each call of a service takes longer.
    """

    def __init__(self, backend: Backend, latency: Mapping[str, float]) -> None:
        self.bill = Bill()
        self._backend = backend
        self._latency = latency
        self._items: dict[tuple[str, str], Item] = {}
        self._lock = Lock()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run the proxy, and yield its URL."""
        with AwsProxy(self._backend.endpoint_url) as proxy:
            proxy.observe = self._observe
            proxy.mischief = self._wait
            yield proxy.url

    def _wait(self, operation: Operation) -> Failure | None:
        time.sleep(self._latency.get(operation.service, 0.0))
        return None

    def _observe(self, call: Call) -> None:
        with self._lock:
            self.bill.calls[f"{call.operation.service}:{call.operation.name}"] += 1
            if call.operation.service == "dynamodb":
                self._units(call.operation.name, json.loads(call.body), call.status)

    def _units(self, operation: str, asked: Mapping[str, Any], status: int) -> None:
        if operation == "Query":
            # Its result is small here.
            self.bill.reads += 0.5
            return
        if operation not in {"GetItem", "PutItem", "UpdateItem"}:
            self.bill.unknown.add(operation)
            return
        key = asked.get("Key") or _key(asked["Item"])
        name = json.dumps(key)
        if operation == "GetItem":
            half = 1 if asked.get("ConsistentRead") else 0.5
            item = self._items.get((asked["TableName"], name), {})
            self.bill.reads += half * max(1, ceil(size(item) / READ_BYTES))
            return
        before = self._items.get((asked["TableName"], name), {})
        after = before
        if status < REFUSED:
            read = self._backend.client("dynamodb").get_item(
                TableName=asked["TableName"], Key=key, ConsistentRead=True
            )
            after = self._items[asked["TableName"], name] = read.get("Item", {})
        slot = key.get("jobId") == {"S": ITEM}
        self.bill.writes["slot" if slot else "job"] += write_units(before, after)
        if slot:
            return
        for (index, partition), units in index_units(before, after).items():
            self.bill.writes["index"] += units
            if index == BY_STATUS:
                self.bill.partitions[partition] += units


def _key(item: Item) -> Item:
    """The key of an item; Powertools' table of idempotency has `id`."""
    return {name: item[name] for name in ("jobId", "id") if name in item}
