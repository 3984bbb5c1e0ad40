"""The options that select dead letters, and what is printed about those that cannot be read."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import output
from cli.dead_letters import (
    DeadLetter,
    DeadLetters,
    QueueName,
    Selection,
    hidden_by_others,
    read,
)


def _queue_name(text: str) -> QueueName:
    if text not in list(QueueName):
        raise typer.BadParameter(f"{text!r} is neither requests nor downloads")
    return QueueName(text)


Queue = Annotated[
    QueueName | None,
    typer.Option(
        "--queue",
        parser=_queue_name,
        metavar="QUEUE",
        help="requests or downloads. Default: both.",
        show_default=False,
    ),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="CODE", help="Select this errorCode; several."),
]
Jobs = Annotated[
    list[str] | None, typer.Option("--job", metavar="ID", help="Select this job; several.")
]
All = Annotated[bool, typer.Option("--all", help="Select all, if no other option selects.")]


def selection_of(
    reasons: list[str] | None,
    jobs: list[str] | None,
    older_than: timedelta | None,
    newer_than: timedelta | None,
    *,
    every: bool | None = None,
) -> Selection:
    """Return the selection; `every` is None if a command needs no option to select all."""
    by_age = older_than is not None or newer_than is not None
    if every is not None and every == (by_age or bool(reasons or jobs)):
        raise typer.BadParameter(
            "select dead letters with --reason, --job, --older-than or --newer-than, or use --all "
            "alone"
        )
    now = datetime.now(UTC)
    return Selection(
        reasons=frozenset(reasons or ()),
        job_ids=frozenset(jobs or ()),
        sent_before=None if older_than is None else now - older_than,
        sent_after=None if newer_than is None else now - newer_than,
    )


def read_selected(
    queues: Collection[DeadLetters], selection: Selection, *, prints: bool = False
) -> Iterator[list[DeadLetter]]:
    """Read the selected dead letters of each batch, and at last report what others hide.

    See `output.progress` for `prints`.
    """
    with output.progress(prints=prints) as progress:
        bar = progress.add_task("read", total=sum(each.depth().total for each in queues))
        for batch in read(queues):
            progress.advance(bar, len(batch))
            yield selection.of(batch)
    report_hidden(queues)


def in_words(reasons: Counter[str]) -> str:
    """Return reasons with their numbers, the most frequent first."""
    return ", ".join(f"{code}: {count}" for code, count in reasons.most_common())


def report_none(queues: Collection[DeadLetters]) -> None:
    """Report that none is selected, and which exist: a typing error must not look like success."""
    others = Counter(one.reason for batch in read(queues) for one in batch)
    text = f" There are: {in_words(others)}." if others else ""
    output.note(f"There are no such dead letters.{text}", style="yellow")


def report_hidden(queues: Collection[DeadLetters]) -> int:
    """Report how many dead letters others hide, once this command hides none."""
    hidden = hidden_by_others(queues)
    if hidden:
        output.note(
            f"{output.several(hidden, 'dead letter')} hidden by another command, or by one that "
            "was killed: run it again in a minute.",
            style="yellow",
        )
    return hidden
