"""`status`, `watch`, `list` and `fetch`."""

from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.commands.deployment import target_of
from cli.commands.options import JobIds, Json, OlderThan, duration, job_ids_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from cli.records import Record
    from cli.story import Next
    from cli.target import Target

MAX_NAMED: Final = 20
"""Of jobs in one sentence."""


def status(context: typer.Context, jobs: JobIds, as_json: Json = False) -> None:
    """Show where jobs are: steps, S3 location, dead letters, and what comes next.

    One job is shown in full, several as a table. With --json each line is a job's record with
    `steps`, `location`, `deadLetters` and `next`.

    Status 1: a job has no record. It gets one when its message is first taken.

    Example: `reportflow status invoice-2024-001`
    """
    from datetime import UTC, datetime

    from cli import output, records, story

    job_ids = job_ids_of(jobs)
    target = target_of(context)
    found = records.Records(target.dynamodb, target.jobs_table).get(job_ids)
    if len(job_ids) > 1 and not as_json:
        output.out().print(_table(job_ids, found))
    else:
        dead = _dead_letters(target, job_ids, found)
        now = datetime.now(UTC)
        for job_id in job_ids:
            record = found.get(job_id)
            next_ = story.next_of(job_id, record, target, now)
            if as_json:
                output.json_line(
                    {
                        **(record or {"jobId": job_id, "status": None}),
                        "steps": [step.as_json() for step in story.steps(record or {})],
                        "location": story.location(record) if record else None,
                        "deadLetters": dead.get(job_id, []),
                        "next": next_.as_json(),
                    }
                )
            else:
                _print_story(job_id, record, dead.get(job_id, []), next_)
    if len(found) < len(job_ids):
        raise typer.Exit(1)


def _dead_letters(
    target: "Target", job_ids: "Sequence[str]", found: "Mapping[str, Record]"
) -> "dict[str, list[dict[str, str]]]":
    """The dead letters of those jobs that may have one: they failed, or have no record."""
    from cli.commands.dlq.choosing import looked, queues_of, tell_hidden
    from cli.letters import Selection

    asked = {one for one in job_ids if one not in found or found[one]["status"] == "FAILED"}
    dead: dict[str, list[dict[str, str]]] = {}
    if asked:
        queues = queues_of(target, None)
        for name, letter, _ in looked(target, queues, Selection(job_ids=frozenset(asked))):
            dead.setdefault(letter.job_id, []).append({"queue": name, **letter.summary()})
        tell_hidden(queues)
    return dead


def _print_story(
    job_id: str, record: "Record | None", dead: "Sequence[Mapping[str, str]]", next_: "Next"
) -> None:
    from cli import output, story

    console = output.out()
    console.print(job_id, style="bold", end=" ", markup=False)
    state = record["status"] if record else "(no record)"
    console.print(state, style=output.COLOURS.get(state), markup=False)
    at = f": {output.stamp(next_.at)}." if next_.at else ""
    for step in story.steps(record or {}):
        output.say(f"  {step}")
    output.fields(
        [
            *(story.facts(record) if record else ()),
            *(
                ("dead letter", f"{one['queue']}, {one['errorCode']}, sent {one['sentAt']}")
                for one in dead
            ),
            ("next", f"{next_.what}{at}"),
        ]
    )
    for command in next_.commands:
        output.say(f"    {command}")


def watch(
    context: typer.Context,
    jobs: JobIds,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="TIME", help="Give up after so long."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow jobs until each has finished.

    On a terminal it is a live table with totals, rate and remaining time, unfinished jobs first.
    Otherwise it prints a line for each change. After 30 seconds it warns once of jobs without a
    record. A job that failed before has these 30 seconds to begin again: sent again, it stays
    FAILED until its message is taken.

    Status 1: a job failed, or had not finished in time.

    Example: `reportflow submit invoices/ | reportflow watch -`
    """
    from time import monotonic

    from cli import output, records
    from cli.progressing import Totals

    job_ids = job_ids_of(jobs)
    target = target_of(context)
    table = records.Records(target.dynamodb, target.jobs_table)
    interval = 0.5 if target.is_local else 2.0
    rounds = table.follow(job_ids, interval=interval, timeout=timeout, miss=_tell_missing)
    known: dict[str, Record] = next(rounds)
    begin = monotonic()
    _tell_failed_before(known)
    every = chain([known], rounds)
    is_live = output.out().is_terminal and not as_json
    for latest in _live(job_ids, every) if is_live else _changes(every, as_json=as_json):
        known = latest
    totals = Totals.of(job_ids, known)
    if totals.archived < len(job_ids):
        unended = [job_id for job_id in job_ids if not records.ended(known.get(job_id))]
        late = f" {len(unended)} not finished in time: {_some(unended)}." if unended else ""
        output.tell(f"{totals.archived} archived, {totals.failed} failed.{late}")
        raise typer.Exit(1)
    if not as_json:
        took = output.duration(timedelta(seconds=monotonic() - begin))
        output.tell(f"{totals.archived} archived in {took}.")


def _changes(
    rounds: "Iterable[dict[str, Record]]", *, as_json: bool
) -> "Iterator[dict[str, Record]]":
    """A line for each change of a job's status."""
    from cli import output, records

    seen: dict[str, str] = {}
    for known in rounds:
        for job_id, record in known.items():
            if seen.get(job_id) == record["status"]:
                continue
            seen[job_id] = record["status"]
            if as_json:
                output.json_line(record)
            else:
                output.say(f"{job_id} {record['status']} {records.reason(record)}".rstrip())
        yield known


def _live(
    job_ids: "Sequence[str]", rounds: "Iterable[dict[str, Record]]"
) -> "Iterator[dict[str, Record]]":
    """A table that fits the screen, the totals above it."""
    from time import monotonic

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from cli import output
    from cli.progressing import Totals, unfinished_first

    console = output.out()
    begin = monotonic()
    before: Totals | None = None
    with Live(console=console, auto_refresh=False) as live:
        for known in rounds:
            totals = Totals.of(job_ids, known)
            before = before or totals
            room = max(1, console.height - 4)
            ordered = unfinished_first(job_ids, known)
            line = totals.line(before, timedelta(seconds=monotonic() - begin))
            more = len(ordered) - room
            live.update(
                Group(
                    Text(line, "bold"),
                    _table(ordered[:room], known),
                    Text(f"… and {more} more" if more > 0 else "", "dim"),
                ),
                refresh=True,
            )
            yield known


def _tell_missing(job_ids: "Sequence[str]") -> None:
    from cli.output import tell

    ask = "is the id right?" if len(job_ids) == 1 else "are the ids right?"
    tell(f"{_some(job_ids)}: no record yet; {ask} Look in `dlq list`.", style="yellow")


def _tell_failed_before(known: "Mapping[str, Record]") -> None:
    from cli.output import tell
    from cli.records import SOON

    if failed := [job_id for job_id, record in known.items() if record["status"] == "FAILED"]:
        tell(
            f"{_some(failed)}: FAILED before. Sent again, a job stays so until its message is "
            f"taken: looking for {SOON.seconds} seconds whether that comes.",
            style="yellow",
        )


def _some(job_ids: "Sequence[str]") -> str:
    """The ids, but not a screen full of them."""
    more = len(job_ids) - MAX_NAMED
    return ", ".join(job_ids[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def list_jobs(
    context: typer.Context,
    status: Annotated[
        list[str],
        typer.Option(
            "--status", help="SUBMITTING, SUBMITTED, ARCHIVED or FAILED; several. Default: all."
        ),
    ] = [],  # noqa: B006  (typer copies it)
    error: Annotated[
        list[str], typer.Option("--error", metavar="CODE", help="With this errorCode; several.")
    ] = [],  # noqa: B006  (typer copies it)
    job_prefix: Annotated[
        str, typer.Option(help="Job ids that begin so.", show_default=False)
    ] = "",
    design: Annotated[str, typer.Option(help="Of this designId.", show_default=False)] = "",
    metadata: Annotated[
        list[str],
        typer.Option(metavar="NAME=VALUE", help="With this value in the metadata; several."),
    ] = [],  # noqa: B006  (typer copies it)
    older_than: OlderThan = None,
    newer_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="AGE", help="At most so old."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Jobs on a page; 0 for all.")] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="JOB", help="Go on after this job, the last of a page.")
    ] = None,
    count: Annotated[
        bool, typer.Option("--count", help="Count them by status and error code instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List jobs by status, age, error, design, job id or metadata.

    In each status the job that is longest unchanged is first. The age is that of the last step. The
    index that is read lags behind the table by less than a second. All but status and age are
    looked up in each job's record, which takes longer.

    Example: `reportflow list --status FAILED --newer-than 1d --count`
    """
    from cli import output
    from cli.filtering import Filter
    from cli.records import Records
    from reportflow.jobs import JobStatus

    states = _states(status, list(JobStatus))
    wanted = Filter(job_prefix, design, frozenset(error), _pairs(metadata))
    target = target_of(context)
    table = Records(target.dynamodb, target.jobs_table)
    found = wanted(table.detailed(table.listed(states, older_than, newer_than, after)))
    if count:
        _print_counts(found, as_json=as_json)
        return
    page = list(islice(found, limit or None))
    if as_json:
        for record in page:
            output.json_line(record)
    else:
        by_id = {record["jobId"]: record for record in page}
        output.out().print(_table(list(by_id), by_id))
    if limit and next(found, None) is not None:
        last = page[-1]["jobId"]
        output.tell(f"There are more: --after {last} lists the next page, --limit 0 lists all.")


def _print_counts(found: "Iterable[Record]", *, as_json: bool) -> None:
    from collections import Counter

    from cli import output

    counted = Counter((record["status"], record.get("errorCode", "")) for record in found)
    if as_json:
        for (status, error), number in counted.items():
            output.json_line({"status": status, "errorCode": error or None, "jobs": number})
    else:
        rows = [(status, error, f"{number:,}") for (status, error), number in counted.items()]
        rows.append(("all", "", f"{counted.total():,}"))
        output.out().print(output.table(("status", "error", "jobs"), rows))


def _pairs(texts: "Sequence[str]") -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts if "=" in text)
    if len(pairs) < len(texts):
        raise typer.BadParameter("expected NAME=VALUE, each name once", param_hint="--metadata")
    return pairs


def fetch(
    context: typer.Context,
    jobs: JobIds,
    output_folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Gets JOB.pdf of each job.")
    ] = Path(),
    url: Annotated[
        bool,
        typer.Option(
            "--url", help="Print a URL that gives the PDF to anyone who has it, for --expires."
        ),
    ] = False,
    expires: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="Of --url; AWS allows 7d at most."),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default
    open_: Annotated[
        bool, typer.Option("--open", help="Open each PDF when it is fetched.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch archived PDFs, each verified against the SHA-256 on its job's record.

    An existing file is never changed. A URL of --url ends sooner if the credentials that signed it
    do.

    Status 1: a PDF could not be fetched.

    Example: `reportflow fetch invoice-2024-001 --output pdfs/`
    """
    from cli import fetching, output, records

    if expires > fetching.LONGEST_URL:
        raise typer.BadParameter("at most 7d", param_hint="--expires")

    job_ids = job_ids_of(jobs)
    target = target_of(context)
    found = records.Records(target.dynamodb, target.jobs_table).get(job_ids)
    if url:
        _print_urls(target, job_ids, found, expires, as_json=as_json)
        return
    fetching.make_folder(output_folder)
    failed = 0
    with output.progress() as progress:
        for job_id in progress.track(job_ids, description="fetch"):
            try:
                got = fetching.fetch(
                    target.s3, target.archive_bucket, found.get(job_id), output_folder
                )
            except fetching.NotFetched as error:
                failed += 1
                output.tell(f"{job_id}: {error}", style="red")
                continue
            if as_json:
                output.json_line(
                    {
                        "jobId": job_id,
                        "path": str(got.path),
                        "size": got.size,
                        "sha256": found[job_id]["sha256"],
                        "fresh": got.fresh,
                    }
                )
            else:
                output.say(f"{got.path}")
            if open_:
                typer.launch(str(got.path))
    if failed:
        raise typer.Exit(1)


def _print_urls(
    target: "Target",
    job_ids: "Sequence[str]",
    found: "Mapping[str, Record]",
    expires: timedelta,
    *,
    as_json: bool,
) -> None:
    from cli import fetching, output

    failed = 0
    for job_id in job_ids:
        try:
            url = fetching.signed_url(target.s3, target.archive_bucket, found.get(job_id), expires)
        except fetching.NotFetched as error:
            failed += 1
            output.tell(f"{job_id}: {error}", style="red")
            continue
        if as_json:
            output.json_line({"jobId": job_id, "url": url})
        else:
            output.say(url)
    if failed:
        raise typer.Exit(1)


def _states(wanted: list[str], known: list[Any]) -> list[Any]:
    """The states that were named, or all."""
    chosen = [one.upper() for one in wanted]
    for one in chosen:
        if one not in known:
            raise typer.BadParameter(f"{one!r} is no state; there are {', '.join(known)}")
    return [one for one in known if one in chosen or not chosen]


def _table(job_ids: list[str], found: "dict[str, Record]") -> "RenderableType":
    from cli import output, records

    rows = []
    for job_id in job_ids:
        record = found.get(job_id)
        if record is None:
            rows.append((job_id, "(no record yet)", "", "", ""))
            continue
        size = f"{record['size']:,} bytes" if "size" in record else ""
        changed = records.moment(record)
        told = records.reason(record) or size
        rows.append((job_id, record["status"], output.age(changed), record["updatedAt"], told))
    return output.table(("job", "status", "since", "last step", ""), rows)
