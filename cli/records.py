"""Jobs' records as operators see them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched, count, dropwhile, islice
from math import inf
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.failures import CliError
from cli.output import stamp
from reportflow.backoff import full_jitter
from reportflow.jobs import JobStatus
from reportflow.jobs_table import BY_STATUS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Record = dict[str, Any]
"""A job's record under the table's own names; times stay ISO 8601 text, and metadata JSON."""

ENDS: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})
MAX_KEYS: Final = 100
"""Of one BatchGetItem."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between two requests for what DynamoDB left out."""

SOON: Final = timedelta(seconds=30)
"""By then a job whose id is right has its record, and one that was sent again has begun anew,
unless the request queue is full."""

_HIDDEN: Final = frozenset({"fileReference", "url", "uuid", "tag", "leaseOwner", "writeId"})
"""`fileReference`, which was `url` and `uuid` before 1.0, opens the PDF. The tag proves whose a
file is. The others are internal.
"""


class Records:
    """Reads the jobs table."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._sleep = sleep

    def get(self, job_ids: Sequence[str]) -> dict[str, Record]:
        """The records that there are, by job id, read consistently."""
        found: dict[str, Record] = {}
        # DynamoDB refuses a key that stands twice.
        for part in batched(dict.fromkeys(job_ids), MAX_KEYS, strict=False):
            wanted: Any = {
                self._table: {
                    "Keys": [{"jobId": {"S": job_id}} for job_id in part],
                    "ConsistentRead": True,
                }
            }
            for attempt in count(1):
                answer = self._client.batch_get_item(RequestItems=wanted)
                for item in answer["Responses"].get(self._table, []):
                    record = _record(item)
                    found[record["jobId"]] = record
                wanted = answer.get("UnprocessedKeys")
                if not wanted:
                    break
                self._sleep(full_jitter(attempt, SystemRandom(), base=0.2, cap=LONGEST_PAUSE))
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
                ":from": {"S": stamp(changed_after or datetime(1970, 1, 1, tzinfo=UTC))},
                ":to": {"S": stamp(changed_before or datetime(9999, 1, 1, tzinfo=UTC))},
            },
        )
        for page in pages:
            for item in page["Items"]:
                yield _record(item)

    def listed(
        self,
        states: Sequence[JobStatus],
        older_than: timedelta | None,
        newer_than: timedelta | None,
        after: str | None = None,
    ) -> Iterator[Record]:
        """The jobs in these states, one state after the other; see `in_state`.

        With `after` the list goes on behind this job.

        Raises:
            CliError: there is no such job in these states.
        """
        now = datetime.now(UTC)
        before = None if older_than is None else now - older_than
        since = None if newer_than is None else now - newer_than
        if after is not None:
            last = self.get([after]).get(after)
            if last is None or last["status"] not in states:
                raise CliError(f"The list cannot go on after {after}: it has no such job any more.")
            first, *states = states[states.index(last["status"]) :]
            rest = self.in_state(first, changed_before=before, changed_after=moment(last))
            yield from islice(dropwhile(lambda record: record["jobId"] != after, rest), 1, None)
        for state in states:
            yield from self.in_state(state, changed_before=before, changed_after=since)

    def detailed(self, listed: Iterator[Record]) -> Iterator[Record]:
        """The whole records of what an index listed, in its order, each once.

        A job that moves between two queries stands in both.
        """
        seen: set[str] = set()
        for part in batched(listed, MAX_KEYS, strict=False):
            fresh = dict.fromkeys(record["jobId"] for record in part if record["jobId"] not in seen)
            seen.update(fresh)
            whole = self.get(list(fresh))
            yield from (whole[job_id] for job_id in fresh if job_id in whole)

    def follow(
        self,
        job_ids: Sequence[str],
        *,
        interval: float,
        timeout: timedelta | None,
        miss: Callable[[Sequence[str]], None],
    ) -> Iterator[dict[str, Record]]:
        """All known records, again and again, until all jobs have ended or time is up.

        A job that was sent again stays `FAILED` until it is begun anew. So one that had failed
        before the first look has ended only when it fails once more, or after `SOON`.

        `miss` is told once of the jobs that have no record after `SOON`.
        """
        soon = self._clock() + SOON.total_seconds()
        end = inf if timeout is None else self._clock() + timeout.total_seconds()
        known = self.get(job_ids)
        failed_before = _failures(known)
        missed = False
        while True:
            yield known
            early = self._clock() < soon
            unchanged = failed_before.items() & _failures(known).items() if early else ()
            waiting = {job_id for job_id, _ in unchanged}
            open_ones = [
                job_id for job_id in job_ids if job_id in waiting or not ended(known.get(job_id))
            ]
            if not open_ones or self._clock() + interval > end:
                return
            if not missed and not early:
                missed = True
                if missing := [job_id for job_id in job_ids if job_id not in known]:
                    miss(missing)
            self._sleep(interval)
            known |= self.get(open_ones)


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


def _failures(known: Mapping[str, Record]) -> dict[str, str]:
    """When the jobs failed that have failed."""
    return {
        job_id: record.get("failedAt", "")
        for job_id, record in known.items()
        if record["status"] == JobStatus.FAILED
    }


def _record(item: Mapping[str, Mapping[str, Any]]) -> Record:
    record: Record = {}
    for name, value in item.items():
        if name in _HIDDEN:
            continue
        [(kind, plain)] = value.items()
        record[name] = int(plain) if kind == "N" else plain
    for name in {"metadata", "passthrough"} & record.keys():
        record[name] = _in_one_line(record[name])
    return record


def _in_one_line(text: str) -> msgspec.Raw | str:
    """JSON as it was written, for it may hold numbers that Python cannot; other text stays text."""
    try:
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    except msgspec.MsgspecError:
        return text
