"""Which dead letters are meant, and what is said of those that are not there."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.letters import DeadLetters, Letter, QueueName, Selection
    from cli.target import Target

    type Queues = dict[QueueName, DeadLetters]


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
    list[str] | None,
    typer.Option("--reason", metavar="CODE", help="Select this errorCode; several."),
]
Jobs = Annotated[
    list[str] | None, typer.Option("--job", metavar="ID", help="Select this job; several.")
]
NewerThan = Annotated[
    timedelta | None, typer.Option(parser=duration, metavar="AGE", help="Select at most this age.")
]
All = Annotated[bool, typer.Option("--all", help="Select all, if no other option selects.")]


def selection_of(
    reasons: list[str] | None,
    jobs: list[str] | None,
    older_than: timedelta | None,
    newer_than: timedelta | None,
    *,
    every: bool | None = None,
) -> "Selection":
    """What is meant; `every` None asks for no word that all are."""
    from cli.letters import Selection

    by_age = older_than is not None or newer_than is not None
    if every is not None and every == (by_age or bool(reasons or jobs)):
        raise typer.BadParameter(
            "say which letters: --reason, --job, --older-than or --newer-than; or --all alone"
        )
    now = datetime.now(UTC)
    return Selection(
        reasons=frozenset(reasons or ()),
        job_ids=frozenset(jobs or ()),
        sent_before=None if older_than is None else now - older_than,
        sent_after=None if newer_than is None else now - newer_than,
    )


def queues_of(target: "Target", name: str | None) -> "Queues":
    """The dead-letter queue of that name, or both."""
    from cli.letters import QueueName, dead_letters

    both = dead_letters(target)
    return both if name is None else {QueueName(name): both[QueueName(name)]}


def looked(
    target: "Target", queues: "Queues", selection: "Selection"
) -> "Iterator[tuple[QueueName, Letter, str | None]]":
    """The letters that are meant, left where they are, each with its job's status."""
    from cli import output
    from cli.records import Records

    records = Records(target.dynamodb, target.jobs_table)
    with output.progress() as progress:
        bar = progress.add_task("look", total=sum(each.depth().total for each in queues.values()))
        for name, letters in queues.items():
            with letters.look() as batches:
                for batch in batches:
                    progress.advance(bar, len(batch))
                    meant = [letter for letter in batch if selection.has(letter)]
                    known = records.get([letter.job_id for letter in meant])
                    for letter in meant:
                        yield name, letter, known.get(letter.job_id, {}).get("status")


def count_reasons(target: "Target", queues: "Queues", selection: "Selection") -> Counter[str]:
    """How many letters that are meant have which reason."""
    return Counter(letter.reason for _, letter, _ in looked(target, queues, selection))


def in_words(reasons: Counter[str]) -> str:
    """The reasons and their numbers, the most frequent first."""
    return ", ".join(f"{code}: {count}" for code, count in reasons.most_common())


def tell_none(target: "Target", queues: "Queues") -> None:
    """Say that no letter is meant, and which there are: a typo must not look like a success."""
    from cli import output
    from cli.letters import Selection

    there = count_reasons(target, queues, Selection())
    others = f" There are: {in_words(there)}." if there else ""
    output.tell(f"There are no such dead letters.{others}", style="yellow")


def tell_hidden(queues: "Queues") -> int:
    """Say how many letters could not be seen, now that nothing is hidden by this command."""
    from cli import output
    from cli.letters import hidden_by_others

    hidden = hidden_by_others(queues.values())
    if hidden:
        output.tell(
            f"{output.several(hidden, 'dead letter')} hidden by another command, or one that was "
            "killed: run it again in a minute.",
            style="yellow",
        )
    return hidden
