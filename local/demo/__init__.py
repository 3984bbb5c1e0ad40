"""The demo: sends real messages through the system, and shows how each job ended."""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pypdfium2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from local.demo.messages import Message, messages
from local.system import System

WAIT_SECONDS: Final = 180.0
"""For all jobs to finish."""

_ENDS: Final = ("ARCHIVED", "FAILED")


@dataclass(frozen=True)
class Ending:
    """How one message's job ended. `problem` says what was not as expected."""

    message: Message
    job_id: str
    status: str = "(no record)"
    pages: int | None = None
    size: int | None = None
    seconds: float | None = None
    reason: str = ""
    problem: str | None = None


def demonstrate(system: System, output: Path) -> bool:
    """Send all messages, wait until their jobs have finished, and show them.

    Writes the PDFs into a new folder in `output`. Returns whether every job ended as expected.
    """
    # In a log or a pipe, a long row is better than a folded one.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    sent = _send(system)
    jobs = _follow(system, [job_id for _, job_id, _ in sent], console)
    dead = Counter(_drain_dead_letters(system))
    output /= time.strftime("%Y%m%d-%H%M%S")
    output.mkdir(parents=True)
    endings = [
        _judge(system, message, job_id, sent_at, jobs.get(job_id, {}), dead, output)
        for message, job_id, sent_at in sent
    ]
    _show(endings, console)
    problems = [f"{ending.job_id}: {ending.problem}" for ending in endings if ending.problem]
    problems += _surplus(system, endings)
    for problem in problems:
        console.print(f"[red]✗[/] {problem}")
    archived = sum(ending.status == "ARCHIVED" for ending in endings)
    failed = sum(ending.status == "FAILED" for ending in endings)
    console.print(f"{archived} archived, {failed} in a dead-letter queue. PDFs in {output}")
    return not problems


def _send(system: System) -> list[tuple[Message, str, datetime]]:
    """Send all messages at once. Returns each with its job's id and the time it was sent."""
    sqs = system.backend.client("sqs")

    def send(message: Message) -> tuple[Message, str, datetime]:
        now = datetime.now(UTC)
        answers = [
            sqs.send_message(QueueUrl=system.state.request_queue_url, MessageBody=message.body)
            for _ in range(message.times)
        ]
        job_id = json.loads(message.body).get("jobId") or answers[0]["MessageId"]
        return message, job_id, now

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(send, messages()))


def _follow(system: System, job_ids: list[str], console: Console) -> dict[str, dict[str, Any]]:
    """Watch the table until all jobs have finished, or time is up. Returns their records."""
    dynamodb = system.backend.client("dynamodb")
    deadline = time.monotonic() + WAIT_SECONDS
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = {
            status: progress.add_task(f"{status.lower():9}", total=len(job_ids))
            for status in ("SUBMITTED", *_ENDS)
        }
        while True:
            pages = dynamodb.get_paginator("scan").paginate(TableName=system.state.jobs_table)
            jobs = {
                item["jobId"]["S"]: {name: _plain(value) for name, value in item.items()}
                for page in pages
                for item in page["Items"]
            }
            known = [jobs[job_id] for job_id in job_ids if job_id in jobs]
            ended = Counter(job["status"] for job in known)
            submitted = sum("submittedAt" in job for job in known)
            progress.update(bars["SUBMITTED"], completed=submitted)
            for status in _ENDS:
                progress.update(bars[status], completed=ended[status])
            if sum(ended[status] for status in _ENDS) == len(job_ids):
                return jobs
            if time.monotonic() > deadline:
                return jobs
            time.sleep(0.2)


def _drain_dead_letters(system: System) -> Iterator[tuple[str, str]]:
    """Job id and error code of each message in the dead-letter queues."""
    sqs = system.backend.client("sqs")
    for queue_url in (system.state.request_dlq_url, system.state.download_dlq_url):
        while received := sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in received:
                attributes = message.get("MessageAttributes", {})
                reason = {name: value.get("StringValue") for name, value in attributes.items()}
                yield reason.get("jobId") or "", reason.get("errorCode") or ""


def _judge(
    system: System,
    message: Message,
    job_id: str,
    sent_at: datetime,
    job: Mapping[str, Any],
    dead: Counter[tuple[str, str]],
    output: Path,
) -> Ending:
    """Compare the job's end, in the table, the bucket and the queues, with the expected one."""
    ending = Ending(message, job_id)
    if not job:
        return replace(ending, problem="there is no record of it")
    reason = ": ".join(job[name] for name in ("errorCode", "errorMessage") if name in job)
    ending = replace(ending, status=job["status"], reason=reason)
    if message.failure is not None:
        if ending.status != "FAILED" or job["errorCode"] != message.failure:
            ending = replace(ending, problem=f"it should have failed with {message.failure}")
        elif dead[job_id, message.failure] != 1:
            ending = replace(ending, problem="it should be in a dead-letter queue once")
        return ending
    if ending.status != "ARCHIVED":
        return replace(ending, problem="it should have been archived")
    return _inspect(system, ending, job, sent_at, output)


def _inspect(
    system: System, ending: Ending, job: Mapping[str, Any], sent_at: datetime, output: Path
) -> Ending:
    """Fetch the archived PDF, compare its digest with the record's, and write it to `output`."""
    content = (
        system.backend.client("s3")
        .get_object(Bucket=system.state.archive_bucket, Key=job["archiveKey"])["Body"]
        .read()
    )
    (output / f"{ending.job_id}.pdf").write_bytes(content)
    with pypdfium2.PdfDocument(content) as document:
        pages = len(document)
    ending = replace(
        ending,
        pages=pages,
        size=len(content),
        seconds=(datetime.fromisoformat(job["archivedAt"]) - sent_at).total_seconds(),
    )
    if hashlib.sha256(content).hexdigest() != job["sha256"]:
        return replace(ending, problem="the archived PDF's digest is not the one on its record")
    return ending


def _surplus(system: System, endings: Sequence[Ending]) -> Iterator[str]:
    """Report PDFs beyond one per job, in the archive and at ReportFlow."""
    s3 = system.backend.client("s3")
    versions = [
        version["Key"]
        for page in s3.get_paginator("list_object_versions").paginate(
            Bucket=system.state.archive_bucket
        )
        for version in page.get("Versions", [])
    ]
    archived = sum(ending.status == "ARCHIVED" for ending in endings)
    if len(versions) != archived:
        yield f"{archived} jobs are archived, but the bucket has {len(versions)} objects"
    if system.emulator is not None and len(system.emulator.files()) != archived:
        yield f"ReportFlow made {len(system.emulator.files())} PDFs for {archived} jobs"


def _show(endings: Sequence[Ending], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("job", "what", "status"):
        table.add_column(name, overflow="fold")
    for name in ("pages", "bytes", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    for ending in endings:
        colour = "red" if ending.problem else "green" if ending.pages else "yellow"
        table.add_row(
            ending.job_id,
            ending.message.about,
            f"[{colour}]{ending.status}[/]",
            f"{ending.pages or ''}",
            f"{ending.size:,}" if ending.size else "",
            f"{ending.seconds:.1f}" if ending.seconds else "",
            escape(ending.reason),
        )
    console.print(table)


def _plain(value: Mapping[str, Any]) -> str:
    """The text of a DynamoDB attribute. The table has strings and numbers only."""
    return str(next(iter(value.values())))
