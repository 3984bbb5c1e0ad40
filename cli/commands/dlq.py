"""`dlq`: look at dead letters, understand them, send them back or drop them."""

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import Json, OlderThan, duration, target_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.letters import DeadLetters, Letter, QueueName, Selection
    from cli.redrive import Handled
    from cli.target import Target

app = typer.Typer(
    no_args_is_help=True,
    short_help="Dead letters: look at them, send them back, or drop them.",
    help="Dead letters: messages that were given up, each with its reason. SQS shows a message "
    "only by handing it out: while one command looks through a queue, another sees part of it, "
    "and one that was killed leaves letters hidden for a minute.",
)


def _queue_name(text: str) -> str:
    from cli.letters import QueueName

    if text not in list(QueueName):
        raise typer.BadParameter(f"{text!r} is neither requests nor downloads")
    return text


Queue = Annotated[
    str | None,
    typer.Option(
        "--queue",
        parser=_queue_name,
        metavar="QUEUE",
        help="requests or downloads. Default: both.",
        show_default=False,
    ),
]
Reasons = Annotated[
    list[str], typer.Option("--reason", metavar="CODE", help="With this errorCode; several.")
]
Jobs = Annotated[list[str], typer.Option("--job", metavar="ID", help="Of this job; several.")]
NewerThan = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="AGE", help="At most so old.")
]
All = Annotated[bool, typer.Option("--all", help="Where nothing else narrows it down.")]


@app.command("list")
def list_letters(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = [],  # noqa: B006  (typer copies it)
    job: Jobs = [],  # noqa: B006
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    as_json: Json = False,
) -> None:
    """List dead letters, and leave them where they are. Status 1: there are some.

    The status is the job's: one that is ARCHIVED has ended well since, by another message.
    """
    from cli import output

    selection = _selection(reason, job, older_than, newer_than)
    count = 0
    rows = []
    for name, letter, status in _looked(target_of(context), queue, selection):
        count += 1
        if as_json:
            output.json_line({"queue": name, "status": status, **letter.summary()})
        else:
            age = output.age(letter.sent_at)
            rows.append((name, letter.job_id, status or "", letter.reason, age, letter.message))
    if rows:
        columns = ("queue", "job", "status", "reason", "age", "message")
        output.out().print(output.table(columns, rows))
    if not as_json:
        output.tell(f"{count} dead letters.")
    if count:
        raise typer.Exit(1)


@app.command()
def explain(
    context: typer.Context,
    codes: Annotated[
        list[str],
        typer.Argument(metavar="CODE", help="Reasons; none: those of the letters there are."),
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Tell what the reasons mean, what to do, and the command that does it.

    Without a code it looks at the dead letters. Status 1: there are some.
    """
    from cli import output, reasons
    from cli.letters import Selection

    letters: dict[str, list[Letter]] = {reasons.code_of(code): [] for code in codes}
    archived: Counter[str] = Counter()
    if not codes:
        for _, letter, status in _looked(target_of(context), None, Selection()):
            letters.setdefault(letter.reason, []).append(letter)
            archived[letter.reason] += status == "ARCHIVED"
    for code, those in letters.items():
        _explain(code, those, archived[code], as_json=as_json)
    if not letters:
        output.tell("There are no dead letters.")
    if any(letters.values()):
        raise typer.Exit(1)


def _explain(code: str, letters: "list[Letter]", archived: int, *, as_json: bool) -> None:
    from cli import output, reasons
    from cli.letters import NO_REASON

    reason = reasons.explain(code)
    oldest = min(letters, key=lambda letter: letter.sent_at, default=None)
    if as_json:
        about: dict[str, object] = {"letters": len(letters), "archived": archived}
        said = {"errorCode": code, "meaning": reason.meaning, "remedy": reason.remedy}
        output.json_line(said | (about | {"oldest": oldest.summary()} if oldest else {}))
        return
    console = output.out()
    number = f" ({len(letters)})" if letters else ""
    console.print(f"[bold]{code}[/]{number}: {reason.meaning}.")
    console.print(f"  What to do: {reason.remedy}.", markup=False)
    if oldest:
        when = output.age(oldest.sent_at)
        console.print(f"  The oldest, {when}: job {oldest.job_id}: {oldest.message}", markup=False)
    if archived:
        console.print(f"  Archived since: the jobs of {archived}.", markup=False)
    if code == NO_REASON:
        return
    if reason.may_be_redriven:
        console.print(f"  python -m cli dlq redrive --reason {code}", markup=False)
    console.print(f"  python -m cli dlq drop --reason {code}", markup=False)


@app.command()
def redrive(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = [],  # noqa: B006
    job: Jobs = [],  # noqa: B006
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also requests whose PDF is made: it is made once more."),
    ] = False,
    per_minute: Annotated[
        float,
        typer.Option(
            min=2,
            help="A request costs two of ReportFlow's 100 calls a minute, to make and to fetch.",
        ),
    ] = 40,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell which would go, and send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters back to where they came from.

    Downloads go first: their PDFs are made. A letter is sent, then deleted. Interrupted at any
    point and run again, nothing is lost and nothing is made twice. Letters of one job that ask for
    the same go as one message. A job that fails again meanwhile is held back for the next time.
    OUTCOME_UNKNOWN goes only when named by --reason or --job, since its PDF may be there already.

    Status 1: a letter stayed that was meant, or may be: another command hides it.
    """
    from cli import output
    from cli.records import Records
    from cli.redrive import ORDER, Fate, Pace, Redrive

    selection = _selection(reason, job, older_than, newer_than, every=every)
    target = target_of(context)
    queues = _queues(target, queue)
    records = Records(target.dynamodb, target.jobs_table)
    pace = Pace(per_minute)
    fates: Counter[Fate] = Counter()
    with output.progress() as progress:
        expected = sum(each.depth().total for each in queues.values())
        bar = progress.add_task("redrive", total=expected)
        try:
            for name in ORDER:
                if name not in queues:
                    continue
                run = Redrive(target.sqs, queues[name], records, selection, pace=pace, again=again)
                for handled in run(dry_run=dry_run):
                    fates[handled.fate] += 1
                    progress.advance(bar)
                    _show(name, handled, as_json=as_json)
        finally:
            done = "would go" if dry_run else "redriven"
            output.tell(
                f"{fates[Fate.REDRIVEN]} {done}, {fates[Fate.HELD]} held back, "
                f"{fates[Fate.REFUSED]} refused by SQS."
            )
    if fates:
        _tell_hidden(queues)
    else:
        _tell_none(target, queue)
    if _hidden(queues) or fates[Fate.HELD] or fates[Fate.REFUSED]:
        raise typer.Exit(1)


@app.command()
def drop(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = [],  # noqa: B006
    job: Jobs = [],  # noqa: B006
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
    save_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Gets the whole letters before they are deleted. Default: dropped-TIME.jsonl",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete dead letters for good, after writing them to a file.

    The file holds the customers' data; only its owner may read it. Each line is one letter with
    `body` and `attributes`. The jobs stay FAILED. Status 1: not all could be deleted.
    """
    from cli import output
    from cli.dropping import save_and_delete

    selection = _selection(reason, job, older_than, newer_than, every=every)
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked", param_hint="--yes")
    target = target_of(context)
    if not yes:
        meant = _reasons(target, queue, selection)
        if not meant:
            _tell_none(target, queue)
            return
        told = f"Delete {output.several(meant.total(), 'dead letter')} ({_counts(meant)})?"
        typer.confirm(told, abort=True, err=True)
    path = save_to or Path(f"dropped-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    result = save_and_delete(_queues(target, queue), selection, path)
    if not result.dropped and not result.left:
        _tell_none(target, queue)
        return
    output.tell(f"{result.dropped} dropped; they are kept in {path}.")
    if result.left:
        output.tell(f"{result.left} could not be deleted: run it again.", style="red")
        raise typer.Exit(1)


def _selection(
    reasons: list[str],
    jobs: list[str],
    older_than: timedelta | None,
    newer_than: timedelta | None,
    *,
    every: bool | None = None,
) -> "Selection":
    """What is meant; `every` None asks for no word that all are."""
    from cli.letters import Selection

    narrowed = bool(reasons or jobs or older_than or newer_than)
    if every is not None and every == narrowed:
        raise typer.BadParameter(
            "say which letters: --reason, --job, --older-than or --newer-than; or --all alone"
        )
    now = datetime.now(UTC)
    return Selection(
        reasons=frozenset(reasons),
        job_ids=frozenset(jobs),
        sent_before=now - older_than if older_than else None,
        sent_after=now - newer_than if newer_than else None,
    )


def _queues(target: "Target", name: str | None) -> "dict[QueueName, DeadLetters]":
    from cli.letters import QueueName, dead_letters

    both = dead_letters(target)
    return both if name is None else {QueueName(name): both[QueueName(name)]}


def _looked(
    target: "Target", queue: str | None, selection: "Selection"
) -> "Iterator[tuple[QueueName, Letter, str | None]]":
    """The letters that are meant, left where they are, each with its job's status."""
    from cli import output
    from cli.records import Records

    records = Records(target.dynamodb, target.jobs_table)
    queues = _queues(target, queue)
    with output.progress() as progress:
        bar = progress.add_task("look", total=sum(each.depth().total for each in queues.values()))
        for name, letters in queues.items():
            with letters.look() as batches:
                for batch in batches:
                    progress.advance(bar, len(batch))
                    meant = [letter for letter in batch if selection.has(letter)]
                    known = records.get(sorted({letter.job_id for letter in meant}))
                    for letter in meant:
                        yield name, letter, known.get(letter.job_id, {}).get("status")
    _tell_hidden(queues)


def _reasons(target: "Target", queue: str | None, selection: "Selection") -> Counter[str]:
    """How many letters that are meant have which reason."""
    return Counter(letter.reason for _, letter, _ in _looked(target, queue, selection))


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{code}: {count}" for code, count in reasons.most_common())


def _tell_none(target: "Target", queue: str | None) -> None:
    """Say that no letter is meant, and which there are: a typo must not look like a success."""
    from cli import output
    from cli.letters import Selection

    there = _reasons(target, queue, Selection())
    others = f" There are: {_counts(there)}." if there else ""
    output.tell(f"There are no such dead letters.{others}", style="yellow")


def _hidden(queues: "dict[QueueName, DeadLetters]") -> int:
    """How many letters could not be seen, now that nothing is hidden by this command."""
    return sum(queue.depth().hidden for queue in queues.values())


def _tell_hidden(queues: "dict[QueueName, DeadLetters]") -> None:
    from cli import output

    if hidden := _hidden(queues):
        output.tell(
            f"{output.several(hidden, 'dead letter')} hidden by another command, or one that was "
            "killed: run it again in a minute.",
            style="yellow",
        )


def _show(queue: "QueueName", handled: "Handled", *, as_json: bool) -> None:
    from cli import output
    from cli.redrive import Fate

    letter = handled.letter
    if as_json:
        line = {"queue": queue, "fate": handled.fate, "why": handled.why}
        output.json_line({**letter.summary(), **line})
    elif handled.fate is Fate.REDRIVEN:
        typer.echo(f"{letter.job_id} {letter.reason} {handled.why}".rstrip())
    else:
        output.tell(f"{letter.job_id} {letter.reason} stays: {handled.why}", style="yellow")
