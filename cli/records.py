"""Jobs' records as operators see them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

import msgspec

from reportflow.jobs import JobStatus
from reportflow.jobs_table import BY_STATUS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Record = dict[str, Any]
"""A job's record under the table's own names; times stay ISO 8601 text."""

ENDS: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})
MAX_KEYS: Final = 100
"""Of one BatchGetItem."""

SOON: Final = timedelta(seconds=30)
"""By then a job whose id is right has its record, unless the request queue is full."""

_HIDDEN: Final = frozenset({"url", "uuid", "leaseOwner"})
"""Whoever has the 202's URL can fetch the PDF."""


class Records:
    """Reads the jobs table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, job_ids: Sequence[str]) -> dict[str, Record]:
        """The records that there are, by job id, read consistently."""
        found: dict[str, Record] = {}
        for part in batched(job_ids, MAX_KEYS, strict=False):
            wanted: Any = {
                self._table: {
                    "Keys": [{"jobId": {"S": job_id}} for job_id in part],
                    "ConsistentRead": True,
                }
            }
            while wanted:
                answer = self._client.batch_get_item(RequestItems=wanted)
                for item in answer["Responses"].get(self._table, []):
                    record = _record(item)
                    found[record["jobId"]] = record
                wanted = answer.get("UnprocessedKeys")
        return found

    def in_state(
        self,
        status: JobStatus,
        *,
        changed_before: datetime | None = None,
        changed_after: datetime | None = None,
    ) -> Iterator[Record]:
        """The jobs in a state, longest unchanged first: `jobId`, `status` and `updatedAt`."""
        condition = "#status = :status AND updatedAt BETWEEN :from AND :to"
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_STATUS,
            KeyConditionExpression=condition,
            ProjectionExpression="jobId, #status, updatedAt",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":status": {"S": status},
                ":from": {"S": _text(changed_after or datetime(1970, 1, 1, tzinfo=UTC))},
                ":to": {"S": _text(changed_before or datetime(9999, 1, 1, tzinfo=UTC))},
            },
        )
        for page in pages:
            for item in page["Items"]:
                yield _record(item)

    def detailed(self, listed: Iterator[Record]) -> Iterator[Record]:
        """The whole records of what an index listed, in its order."""
        for part in batched(listed, MAX_KEYS, strict=False):
            whole = self.get([record["jobId"] for record in part])
            for record in part:
                if record["jobId"] in whole:
                    yield whole[record["jobId"]]

    def follow(
        self,
        job_ids: Sequence[str],
        *,
        interval: float,
        timeout: timedelta | None,
        miss: Callable[[Sequence[str]], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[dict[str, Record]]:
        """All known records, again and again, until all jobs have ended or time is up.

        `miss` is told once of the jobs that have no record after `SOON`.
        """
        begun = clock()
        missed = False
        known: dict[str, Record] = {}
        while True:
            open_ones = [job_id for job_id in job_ids if not ended(known.get(job_id))]
            known |= self.get(open_ones)
            yield known
            if all(ended(known.get(job_id)) for job_id in job_ids):
                return
            if timeout is not None and clock() + interval > begun + timeout.total_seconds():
                return
            if not missed and clock() >= begun + SOON.total_seconds():
                missed = True
                if missing := [job_id for job_id in job_ids if job_id not in known]:
                    miss(missing)
            sleep(interval)


def ended(record: Record | None) -> bool:
    """Whether the job has reached an end."""
    return record is not None and record["status"] in ENDS


def moment(record: Record, name: str = "updatedAt") -> datetime:
    """One of the record's times."""
    return datetime.fromisoformat(record[name])


def reason(record: Record) -> str:
    """Why the job failed, or what is odd about it, in one line."""
    told = [f"{record['errorCode']}: {record['errorMessage']}"] if "errorCode" in record else []
    if record.get("possibleDuplicates"):
        told.append(f"possible duplicates: {record['possibleDuplicates']}")
    return "; ".join(told)


def _record(item: Mapping[str, Mapping[str, Any]]) -> Record:
    record: Record = {}
    for name, value in item.items():
        if name in _HIDDEN:
            continue
        [(kind, plain)] = value.items()
        record[name] = int(plain) if kind == "N" else plain
    if "metadata" in record:
        record["metadata"] = msgspec.json.decode(record["metadata"])
    return record


def _text(time_: datetime) -> str:
    return time_.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
