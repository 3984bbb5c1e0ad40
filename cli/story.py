"""One job in full: its steps with their durations, where its PDF is, and what comes next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from shlex import quote
from typing import Final

from cli.error_codes import explain
from cli.output import precise, stamp
from cli.records import Record, moment
from cli.target import Target
from reportflow.jobs import JobStatus

_STEPS: Final[Mapping[str, str]] = {
    "createdAt": "first taken from the queue",
    "begunAt": "begun",
    "submittingAt": "submitting to ReportFlow",
    "outcomeUnknownAt": "ReportFlow's answer was lost",
    "submittedAt": "accepted by ReportFlow",
    "webhookAt": "webhook came, not archived at once",
    "archivedAt": "archived",
    "failedAt": "failed",
}
"""The record's times in the order of a job's life, and what each means."""

_SAME: Final = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Step:
    """One step of a job, and how long after the step before."""

    name: str
    at: datetime
    after: timedelta | None

    def __str__(self) -> str:
        text = f"{stamp(self.at)}  {self.name}"
        return text if self.after is None else f"{text}, {precise(self.after)} later"


@dataclass(frozen=True)
class Next:
    """What happens next, when it is known; and the commands if a person must act."""

    what: str
    at: datetime | None = None
    commands: Sequence[str] = ()


def steps(record: Record) -> list[Step]:
    """Return the record's steps by time. A job that begins once has one step for its begin."""
    times = [(name, moment(record, name)) for name in _STEPS if name in record]
    if "begunAt" in record and "createdAt" in record:
        first = moment(record, "createdAt")
        times = [each for each in times if each[0] != "begunAt" or each[1] - first > _SAME]
    times.sort(key=lambda each: each[1])
    afters = (None, *(later[1] - sooner[1] for sooner, later in pairwise(times)))
    return [Step(_STEPS[name], at, after) for (name, at), after in zip(times, afters, strict=False)]


def location(record: Record) -> str | None:
    """Return the archived PDF as an S3 URI."""
    if record["status"] != JobStatus.ARCHIVED or "archiveBucket" not in record:
        return None
    return f"s3://{record['archiveBucket']}/{record['archiveKey']}"


def facts(record: Record) -> Iterator[tuple[str, object]]:
    """Return what else a person wants to know of a record, by name."""
    if "designId" in record:
        yield "template", f"{record['designId']} version {record.get('version', '')}"
    if "fileName" in record:
        yield "file name", record["fileName"]
    if "fileId" in record:
        yield "ReportFlow file", record["fileId"]
    if uri := location(record):
        yield "PDF", uri
        yield "size", f"{record.get('size', 0):,} bytes"
    if "errorCode" in record:
        yield "error", f"{record['errorCode']}: {record.get('errorMessage', '')}"
        yield "failed step", record.get("failedStep", "")
    if record.get("possibleDuplicates"):
        yield "possible duplicates", record["possibleDuplicates"]
    if record.get("failedAttempts"):
        yield "failed attempts", record["failedAttempts"]


def next_of(job_id: str, record: Record | None, target: Target, now: datetime) -> Next:
    """Return what comes next for a job, by its record and the deployment's settings."""
    if record is None:
        return Next(
            "No record yet. The message waits in the request queue, or the id is wrong. A job gets "
            "its record when the submitter first takes its message."
        )
    match record["status"]:
        case JobStatus.SUBMITTING:
            return _while_submitting(record, target, now)
        case JobStatus.SUBMITTED:
            return _while_submitted(record, target, now)
        case JobStatus.ARCHIVED:
            what = "Nothing: the job is done."
            if record.get("expiresAt"):
                expiry = datetime.fromtimestamp(record["expiresAt"], UTC)
                what += f" Its record is deleted after {stamp(expiry)}."
            return Next(what, commands=[f"reportflow fetch {quote(job_id)}"])
    code = record.get("errorCode", "")
    text = explain(code, in_dead_letters=True)
    return Next(text.remedy, commands=text.commands(code, job_id))


def _while_submitting(record: Record, target: Target, now: datetime) -> Next:
    if "leaseExpiresAt" in record and (expiry := moment(record, "leaseExpiresAt")) > now:
        return Next("The submitter is sending the request to ReportFlow. Its lease ends", expiry)
    if "outcomeUnknownAt" in record:
        grace = _seconds(target, "submitter", "OUTCOME_GRACE_SECONDS")
        return Next(
            "ReportFlow's answer was lost. A webhook may still bring it. After the grace time the "
            "job is submitted again",
            moment(record, "outcomeUnknownAt") + grace if grace else None,
        )
    return Next(
        "The message is back in the request queue and is retried; failed attempts so far: "
        f"{record.get('failedAttempts', 0)}."
    )


def _while_submitted(record: Record, target: Target, now: datetime) -> Next:
    what = "ReportFlow makes the PDF, and its webhook starts the download. "
    begin = moment(record, "submittedAt" if "submittedAt" in record else "updatedAt")
    first = _seconds(target, "downloader", "CHECK_DELAY_SECONDS")
    deadline = _seconds(target, "downloader", "COMPLETION_DEADLINE_SECONDS")
    if first is None or deadline is None:
        return Next(f"{what}Without a webhook, the completion check finds the PDF.")
    if now >= begin + deadline:
        return Next(f"{what}The completion deadline is over: the next check is the last")
    due = next((at for at in _checks(begin, first) if at > now), begin + deadline)
    return Next(
        f"{what}Without a PDF the job fails as NO_COMPLETION at {stamp(begin + deadline)}. "
        "The next completion check is due",
        min(due, begin + deadline),
    )


def _checks(begin: datetime, first: timedelta) -> Iterator[datetime]:
    """Return when a job's completion checks are due: each waits as long as the job has waited."""
    # Imported here, because `--help` needs no AWS.
    from reportflow.archiving import LONGEST_CHECK_INTERVAL

    age = first
    while True:
        yield begin + age
        age += max(first, min(age, LONGEST_CHECK_INTERVAL))


def _seconds(target: Target, function: str, name: str) -> timedelta | None:
    text = target.environment(function).get(name, "")
    return timedelta(seconds=int(text)) if text.isdecimal() else None
