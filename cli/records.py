"""Reads jobs' records as operators see them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched, count, dropwhile, islice
from math import inf
from random import SystemRandom
from typing import Any, Final

import msgspec

from cli.failures import CliError
from cli.output import stamp
from cli.target import Target
from reportflow.backoff import full_jitter
from reportflow.jobs import JobStatus

type Record = dict[str, Any]
"""A job's record with the table's own names. Times are ISO 8601 text, and metadata is JSON."""

FINAL_STATES: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})
MAX_KEYS: Final = 100
"""The most keys of one BatchGetItem."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between two requests for what DynamoDB left out."""

SOON: Final = timedelta(seconds=30)
"""By then a job has its record, and a redriven one has begun again, unless the queue is full."""

LATEST: Final = 25
"""The jobs of each state that the shell's completion offers."""

_HIDDEN: Final = frozenset({"fileReference", "url", "uuid", "tag", "leaseOwner", "writeId"})
"""`fileReference` opens the PDF; before 1.0 it was `url` and `uuid`. The tag proves which job a
file belongs to. The others are internal."""


class Records:
    """Reads the jobs table of a deployment."""

    def __init__(
        self,
        target: Target,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = target.dynamodb
        self._table = target.jobs_table
        self._clock = clock
        self._sleep = sleep

    def get(self, job_ids: Sequence[str]) -> dict[str, Record]:
        """Read the records that exist, by job id, consistently."""
        found: dict[str, Record] = {}
        # DynamoDB refuses a key that is named twice.
        for part in batched(dict.fromkeys(job_ids), MAX_KEYS, strict=False):
            keys = [{"jobId": {"S": job_id}} for job_id in part]
            wanted: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
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
        latest_first: bool = False,
    ) -> Iterator[Record]:
        """List the jobs in a state, longest unchanged first: `jobId`, `status`, `updatedAt`."""
        # Imported here, because `--help` needs no AWS.
        from reportflow.jobs_table import BY_STATUS

        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=BY_STATUS,
            KeyConditionExpression="#status = :status AND updatedAt BETWEEN :from AND :to",
            ProjectionExpression="jobId, #status, updatedAt",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":status": {"S": status},
                ":from": {"S": stamp(changed_after or datetime(1970, 1, 1, tzinfo=UTC))},
                ":to": {"S": stamp(changed_before or datetime(9999, 1, 1, tzinfo=UTC))},
            },
            ScanIndexForward=not latest_first,
            PaginationConfig={"PageSize": LATEST} if latest_first else {},
        )
        for page in pages:
            yield from map(_record, page["Items"])

    def latest(self) -> list[str]:
        """List the ids of the jobs of each state that changed last."""
        return [
            record["jobId"]
            for status in JobStatus
            for record in islice(self.in_state(status, latest_first=True), LATEST)
        ]

    def listed(
        self,
        states: Sequence[JobStatus],
        older_than: timedelta | None,
        newer_than: timedelta | None,
        after: str | None = None,
    ) -> Iterator[Record]:
        """List the jobs in these states, one state after the other; see `in_state`.

        With `after` the list continues behind this job.

        Raises:
            CliError: no job in these states has the id `after`.
        """
        now = datetime.now(UTC)
        before = None if older_than is None else now - older_than
        since = None if newer_than is None else now - newer_than
        if after is not None:
            last = self.get([after]).get(after)
            if last is None or last["status"] not in states:
                raise CliError(
                    f"--after: {after} is no longer in this list. Begin again without --after."
                )
            first, *states = states[states.index(last["status"]) :]
            rest = self.in_state(first, changed_before=before, changed_after=moment(last))
            yield from islice(dropwhile(lambda record: record["jobId"] != after, rest), 1, None)
        for state in states:
            yield from self.in_state(state, changed_before=before, changed_after=since)

    def detailed(self, listed: Iterator[Record]) -> Iterator[Record]:
        """Read the whole records of a list in its order, each once.

        A job that changes its state between two queries is in both of them.
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
        """Read all records again and again, until all jobs have finished or time is up.

        A job that was sent again stays `FAILED` until the submitter takes its message. So a job
        that had failed at the first read has finished only if it fails once more, or after `SOON`.

        `miss` is called once with the jobs that have no record after `SOON`.
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
            unfinished = [
                job_id for job_id in job_ids if job_id in waiting or not finished(known.get(job_id))
            ]
            if not unfinished or self._clock() + interval > end:
                return
            if not missed and not early:
                missed = True
                if missing := [job_id for job_id in job_ids if job_id not in known]:
                    miss(missing)
            self._sleep(interval)
            known |= self.get(unfinished)


def finished(record: Record | None) -> bool:
    """Return whether the job has reached a final state."""
    return record is not None and record["status"] in FINAL_STATES


def moment(record: Record, name: str = "updatedAt") -> datetime:
    """Return one of the record's times."""
    return datetime.fromisoformat(record[name])


def reason(record: Record) -> str:
    """Return why the job failed, and its possible duplicates, in one line."""
    parts = [f"{record['errorCode']}: {record['errorMessage']}"] if "errorCode" in record else []
    if record.get("possibleDuplicates"):
        parts.append(f"possible duplicates: {record['possibleDuplicates']}")
    return "; ".join(parts)


def _failures(known: Mapping[str, Record]) -> dict[str, str]:
    """Return when each failed job failed."""
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
    """Return JSON as it was written: it may hold numbers that Python cannot. Other text stays."""
    try:
        return msgspec.Raw(msgspec.json.format(text, indent=-1))
    except msgspec.MsgspecError:
        return text
