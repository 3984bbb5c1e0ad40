"""`dlq redrive` and `dlq drop`: letters back to their queues, or away for good."""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.deployment import target_of
from cli.commands.dlq.choosing import (
    All,
    Jobs,
    NewerThan,
    Queue,
    Reasons,
    in_words,
    looked,
    queues_of,
    selection_of,
    tell_hidden,
    tell_none,
)
from cli.commands.options import Json, OlderThan, confirm

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.commands.dlq.choosing import Queues
    from cli.letters import Letter, QueueName, Selection
    from cli.redrive import Fate, Handled
    from cli.target import Target


def redrive(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = None,
    job: Jobs = None,
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
        bool, typer.Option("--dry-run", help="Print which would be redriven, and send nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Redrive dead letters: send them back to the queues they came from.

    Downloads go first, because their PDFs are made. A dead letter is sent, then deleted.
    Interrupted at any point and run again, nothing is lost and nothing is made twice. Dead letters
    of one job that ask for the same go as one message. A job that fails again in the same run stays
    failed and is counted as that. OUTCOME_UNKNOWN goes only if --reason or --job names it, because
    its PDF may exist already.

    Status 1: a selected dead letter stayed or failed again, or another command hides some.

    Example: `reportflow dlq redrive --reason HTTP_503`
    """
    from cli import output
    from cli.records import Records
    from cli.redrive import ORDER, Fate, Pace, Redrive

    selection = selection_of(reason, job, older_than, newer_than, every=every)
    target = target_of(context, changes=True)
    queues = queues_of(target, queue)
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
            _tell_fates(fates, dry_run=dry_run)
    if not fates:
        tell_none(target, queues)
    if tell_hidden(queues) or fates.keys() - {Fate.REDRIVEN}:
        raise typer.Exit(1)


def drop(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = None,
    job: Jobs = None,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which would be dropped, and delete nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters for good, after writing them to a file.

    The file holds the customers' data; only its owner may read it. Each line is one dead letter
    with `body` and `attributes`. `reportflow submit FILE` sends such messages again. The jobs stay
    FAILED.

    Status 1: not all could be deleted.

    Example: `reportflow dlq drop --reason INVALID_MESSAGE --dry-run`
    """
    from cli import output

    selection = selection_of(reason, job, older_than, newer_than, every=every)
    if not yes and not dry_run and not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked", param_hint="--yes")
    target = target_of(context, changes=True)
    queues = queues_of(target, queue)

    def show(name: "QueueName", letter: "Letter") -> None:
        if as_json:
            output.json_line({"queue": name, **letter.summary()})
        else:
            output.say(f"{letter.job_id} {letter.reason}")

    if dry_run or not yes:
        meant: Counter[str] = Counter()
        for name, letter, _ in looked(target, queues, selection):
            meant[letter.reason] += 1
            if dry_run:
                show(name, letter)
        tell_hidden(queues)
        if not meant:
            tell_none(target, queues)
            return
        counted = f"{output.several(meant.total(), 'dead letter')} ({in_words(meant)})"
        if dry_run:
            output.tell(f"{counted} would be dropped.")
            return
        confirm(f"Delete {output.plain(counted)}?", yes=False)
    _drop(target, queues, selection, save_to, show)


def _drop(
    target: "Target",
    queues: "Queues",
    selection: "Selection",
    save_to: Path | None,
    show: "Callable[[QueueName, Letter], None]",
) -> None:
    from cli import output
    from cli.dropping import save_and_delete

    path = save_to or Path(f"dropped-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    result = save_and_delete(queues, selection, path, show)
    if not result.dropped and not result.left:
        tell_none(target, queues)
        tell_hidden(queues)
        return
    output.tell(f"{result.dropped} dropped. They are kept in {path}.")
    if result.left:
        output.tell(f"{result.left} could not be deleted: run it again.", style="red")
        raise typer.Exit(1)


def _tell_fates(fates: "Counter[Fate]", *, dry_run: bool) -> None:
    from cli import output
    from cli.redrive import Fate

    told = [
        f"{fates[Fate.REDRIVEN]} {'would be redriven' if dry_run else 'redriven'}",
        f"{fates[Fate.HELD]} held back",
        f"{fates[Fate.REFUSED]} refused by SQS",
    ]
    if fates[Fate.UNDELETED]:
        told.append(f"{fates[Fate.UNDELETED]} sent and not deleted")
    again = f" {fates[Fate.FAILED_AGAIN]} of them failed again." if fates[Fate.FAILED_AGAIN] else ""
    output.tell(f"{', '.join(told)}.{again}")


def _show(queue: "QueueName", handled: "Handled", *, as_json: bool) -> None:
    from cli import output
    from cli.redrive import Fate

    letter = handled.letter
    if as_json:
        line = {"queue": queue, "fate": handled.fate, "why": handled.why}
        output.json_line({**letter.summary(), **line})
    elif handled.fate is Fate.REDRIVEN:
        output.say(f"{letter.job_id} {letter.reason} {handled.why}".rstrip())
    else:
        output.tell(f"{letter.job_id} {letter.reason} stays: {handled.why}", style="yellow")
