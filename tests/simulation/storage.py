"""S3, Secrets Manager and EventBridge in memory, and DynamoDB's client of one process."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

from tests.simulation.dynamodb import DynamoDB
from tests.simulation.faults import Fault
from tests.simulation.process import Process

ANOTHER_DOCUMENT: Final = b"%PDF-1.7\nanother document\n%%EOF\n"
ITS_METADATA: Final = {"file-id": "file_another", "request-digest": "0" * 64}


@dataclass(frozen=True)
class StoredObject:
    """An object of the archive."""

    content: bytes
    checksum: str
    version: str
    metadata: Mapping[str, str]


class Bucket:
    """A versioned bucket."""

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.on_put: Callable[[str, StoredObject | None, StoredObject], None] | None = None
        self._versions = 0

    def put(self, call: Mapping[str, Any], content: bytes) -> dict[str, Any]:
        """PutObject.

        Raises:
            ClientError: the object is there, or is not what its checksum says.
        """
        key = call["Key"]
        if call.get("IfNoneMatch") == "*" and key in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        checksum = b64encode(hashlib.sha256(content).digest()).decode()
        if call.get("ChecksumSHA256", checksum) != checksum:
            raise ClientError({"Error": {"Code": "BadDigest"}}, "PutObject")
        self._versions += 1
        kept = checksum if "ChecksumSHA256" in call else ""
        stored = StoredObject(content, kept, f"v{self._versions}", _as_headers(call["Metadata"]))
        before = self.objects.get(key)
        self.objects[key] = stored
        if self.on_put is not None:
            self.on_put(key, before, stored)
        return {"VersionId": stored.version}

    def take(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        """Somebody else than the functions puts an object under a free key."""
        if key not in self.objects:
            checksum = b64encode(hashlib.sha256(content).digest()).decode()
            self.objects[key] = StoredObject(content, checksum, "v0", _as_headers(metadata))

    def head(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """HeadObject, with the checksum if the call asks for it and the object has one.

        Raises:
            ClientError: there is none.
        """
        stored = self.objects.get(call["Key"])
        if stored is None:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        asked = call.get("ChecksumMode") == "ENABLED" and stored.checksum
        return {
            **({"ChecksumSHA256": stored.checksum} if asked else {}),
            "VersionId": stored.version,
            "ContentLength": len(stored.content),
            "Metadata": dict(stored.metadata),
        }


def _as_headers(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """As S3 keeps metadata: its names are those of HTTP headers."""
    return {name.lower(): value for name, value in metadata.items()}


class S3Client:
    """`boto3`'s client as far as the functions use it, in one process."""

    def __init__(self, process: Process, archive: Bucket, payloads: Mapping[str, bytes]) -> None:
        self._process = process
        self._archive = archive
        self._payloads = payloads

    def put_object(self, **call: Any) -> dict[str, Any]:
        """PutObject to the archive; each try reads the body from where it stood at the call."""
        body = call["Body"]
        start = body.tell()

        def put() -> dict[str, Any]:
            body.seek(start)
            return self._archive.put(call, body.read())

        if self._process.chaos.strikes(Fault.KEY_TAKEN):
            self._archive.take(call["Key"], ANOTHER_DOCUMENT, {**call["Metadata"], **ITS_METADATA})
        return self._process.aws("PutObject", put)

    def head_object(self, **call: Any) -> dict[str, Any]:
        """HeadObject of the archive."""
        return self._process.aws("HeadObject", lambda: self._archive.head(call))

    def get_object(self, **call: Any) -> dict[str, Any]:
        """GetObject from the payload bucket."""

        def get() -> dict[str, Any]:
            content = self._payloads.get(call["Key"])
            if content is None:
                raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
            return {"Body": BytesIO(content), "ContentLength": len(content)}

        return self._process.aws("GetObject", get)


class Vault:
    """The secret as it stands in Secrets Manager."""

    def __init__(self, **values: str) -> None:
        self.values = values


class SecretsClient:
    """`boto3`'s client as far as the functions use it, in one process."""

    def __init__(self, process: Process, vault: Vault) -> None:
        self._process = process
        self._vault = vault

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        """GetSecretValue."""
        return self._process.aws(
            "GetSecretValue", lambda: {"SecretString": json.dumps(self._vault.values)}
        )


class EventBus:
    """The event bus; `on_event` gets each event that it takes."""

    def __init__(self) -> None:
        self.on_event: Callable[[Mapping[str, Any]], None] | None = None

    def put(self, event: Mapping[str, Any]) -> None:
        """Take an event."""
        if self.on_event is not None:
            self.on_event(event)


class EventsClient:
    """`boto3`'s client of EventBridge as far as the functions use it, in one process."""

    def __init__(self, process: Process, bus: EventBus) -> None:
        self._process = process
        self._bus = bus

    def put_events(self, **call: Any) -> dict[str, Any]:
        """PutEvents of one event, which may be refused in an answer that is none."""

        def put() -> dict[str, Any]:
            (event,) = call["Entries"]
            if self._process.chaos.strikes(Fault.AWS_BATCH_PARTIAL):
                return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
            self._bus.put(event)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}

        return self._process.aws("PutEvents", put)


class Way(Protocol):
    """How a call gets to AWS: `Process.aws`, or straight."""

    def __call__[T](self, call: str, effect: Callable[[], T], /) -> T:
        """Make the call."""


class DynamoDBClient:
    """`boto3`'s client of the one table; each call is made through `way`."""

    def __init__(self, way: Way, table: DynamoDB) -> None:
        self._way = way
        self._table = table

    def update_item(self, **call: Any) -> dict[str, Any]:
        """UpdateItem."""
        job_id = call["Key"]["jobId"]["S"]
        return self._way(f"UpdateItem {job_id}", lambda: self._table.update_item(**call))

    def get_item(self, **call: Any) -> dict[str, Any]:
        """GetItem."""
        return self._way("GetItem", lambda: self._table.get_item(**call))

    def query(self, **call: Any) -> dict[str, Any]:
        """Query."""
        return self._way(f"Query {call['IndexName']}", lambda: self._table.query(**call))

    def get_paginator(self, operation: str) -> "_Pages":
        """The query's paginator."""
        assert operation == "query", operation
        return _Pages(self)


class _Pages:
    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client

    def paginate(self, **call: Any) -> Iterator[dict[str, Any]]:
        """All on one page."""
        yield self._client.query(**call)
