"""`list`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Final

import msgspec
import typer
from rich.console import RenderableType

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import Json, NewerThan, OlderThan, complete_job
from cli.records import Record, Records, moment, reason
from reportflow.jobs import JobStatus

_PAGE: Final = 100


def list_jobs(
    context: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status", help="SUBMITTING, SUBMITTED, ARCHIVED or FAILED; several. Default: all."
        ),
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option("--error", metavar="CODE", help="With this errorCode; several."),
    ] = None,
    job_prefix: Annotated[
        str, typer.Option(help="Job ids that begin so.", show_default=False)
    ] = "",
    design: Annotated[str, typer.Option(help="Of this designId.", show_default=False)] = "",
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="With this value in the metadata; several."),
    ] = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int, typer.Option(min=0, help="Jobs on a page; 0 for all.")] = _PAGE,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="JOB",
            help="Go on after this job, the last of a page.",
            autocompletion=complete_job,
        ),
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Count them by status and error code instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List jobs by status, age, error or metadata.

    In each status the job that is longest unchanged is first. The age is that of the last step. The
    table's index lags behind the table by less than a second. For all options but status and age,
    the command reads each job's record, which takes longer.

    Example: `reportflow list --status FAILED --newer-than 1d --count`
    """
    states = _states(status or [])
    wanted = _pairs(metadata or [])
    records = Records(target_of(context))
    found = (
        record
        for record in records.detailed(records.listed(states, older_than, newer_than, after))
        if record["jobId"].startswith(job_prefix)
        and (not design or record.get("designId") == design)
        and (not error or record.get("errorCode") in error)
        and (not wanted or wanted.items() <= dict(_texts(record)).items())
    )
    if count:
        _print_counts(found, as_json=as_json)
        return
    page = list(islice(found, limit or None))
    if as_json:
        for record in page:
            output.json_line(record)
    else:
        by_id = {record["jobId"]: record for record in page}
        output.out().print(table(list(by_id), by_id))
    if limit and next(found, None) is not None:
        last = page[-1]["jobId"]
        output.note(f"There are more: --after {last} lists the next page, --limit 0 lists all.")


def table(job_ids: Iterable[str], found: Mapping[str, Record]) -> RenderableType:
    """Return a table of jobs."""

    def row(job_id: str) -> tuple[str, ...]:
        record = found.get(job_id)
        if record is None:
            return job_id, "(no record yet)", "", "", ""
        size = f"{record['size']:,} bytes" if "size" in record else ""
        since = output.age(moment(record))
        return job_id, record["status"], since, record["updatedAt"], reason(record) or size

    return output.table(("job", "status", "since", "last step", ""), map(row, job_ids))


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Return the metadata's top-level values: a string itself, anything else as its JSON."""
    try:
        members = msgspec.json.decode(record.get("metadata", b"{}"), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, TypeError):
        return
    for name, raw in members.items():
        value = bytes(raw)
        is_string = value.startswith(b'"')
        yield name, msgspec.json.decode(value, type=str) if is_string else value.decode()


def _print_counts(found: Iterable[Record], *, as_json: bool) -> None:
    counted = Counter((record["status"], record.get("errorCode", "")) for record in found)
    if as_json:
        for (status, error), number in counted.items():
            output.json_line({"status": status, "errorCode": error or None, "jobs": number})
    else:
        rows = [(status, error, f"{number:,}") for (status, error), number in counted.items()]
        rows.append(("all", "", f"{counted.total():,}"))
        output.out().print(output.table(("status", "error", "jobs"), rows))


def _states(names: Sequence[str]) -> list[JobStatus]:
    """Return the states with these names, or all."""
    chosen = [name.upper() for name in names]
    for name in chosen:
        if name not in list(JobStatus):
            known = ", ".join(JobStatus)
            raise typer.BadParameter(f"{name!r} is not one of {known}", param_hint="--status")
    return [one for one in JobStatus if one in chosen or not chosen]


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts if "=" in text)
    if len(pairs) < len(texts):
        raise typer.BadParameter("expected NAME=VALUE, each name once", param_hint="--metadata")
    return pairs
