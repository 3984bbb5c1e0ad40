"""`dlq drop`."""

import json
import os
import sys
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.dlq import selection as dlq
from cli.commands.options import Json, NewerThan, OlderThan, Yes, confirm
from cli.dead_letters import DeadLetter, DeadLetters, Selection, dead_letters
from cli.failures import CliError, ExitCode


def drop(
    context: typer.Context,
    queue: dlq.Queue = None,
    reason: dlq.Reasons = None,
    job: dlq.Jobs = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: dlq.All = False,
    save_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the whole dead letters to this new file. Default: dropped-TIME.jsonl",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print which would be dropped, and delete nothing.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters for good, after writing them to a file.

    The file holds the customers' data; only its owner may read it. Each line is one dead letter
    with `body` and `attributes`. `reportflow submit FILE` sends such messages again. The jobs stay
    FAILED.

    Status 1: not all could be deleted.

    Example: `reportflow dlq drop --reason INVALID_MESSAGE --dry-run`
    """
    selection = dlq.selection_of(reason, job, older_than, newer_than, every=every)
    if not yes and not dry_run and not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on", param_hint="--yes")
    queues = dead_letters(target_of(context, changes=True), queue)
    if dry_run or not yes:
        reasons: Counter[str] = Counter()
        for batch in dlq.read_selected(queues, selection, prints=dry_run):
            reasons.update(one.reason for one in batch)
            if dry_run:
                _show(batch, as_json=as_json)
        if not reasons:
            dlq.report_none(queues)
            return
        counted = f"{output.several(reasons.total(), 'dead letter')} ({dlq.in_words(reasons)})"
        if dry_run:
            output.note(f"{counted} would be dropped.")
            return
        confirm(f"Delete {output.plain(counted)}?", yes=False)
    path = save_to or Path(f"dropped-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    dropped = left = 0
    with _new_file(path) as file, closing(_drop(queues, selection, file)) as batches:
        for gone, failed in batches:
            _show(gone, as_json=as_json)
            dropped += len(gone)
            left += failed
    if not dropped and not left:
        path.unlink()
        dlq.report_none(queues)
        dlq.report_hidden(queues)
        return
    output.note(f"{dropped} dropped. The file {path} has them.")
    if left:
        output.note(f"{left} could not be deleted: run it again.", style="red")
        raise typer.Exit(ExitCode.FINDINGS)


def _new_file(path: Path) -> IO[str]:
    """Create a file for its owner only: dead letters hold the customers' data."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CliError(f"{path} cannot be created: {error.strerror}.") from error
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _drop(
    queues: Sequence[DeadLetters], selection: Selection, file: IO[str]
) -> Generator[tuple[list[DeadLetter], int]]:
    """Write each batch to the file, then delete it; yields the deleted, and how many stay."""
    for queue in queues:
        with queue.batches() as batches:
            for batch in batches:
                selected = selection.of(batch)
                for one in selected:
                    file.write(json.dumps(one.whole(), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
                failed = queue.delete(selected)
                yield [one for one in selected if one not in failed], len(failed)


def _show(batch: Sequence[DeadLetter], *, as_json: bool) -> None:
    for one in batch:
        if as_json:
            output.json_line(one.summary())
        else:
            output.say(f"{one.job_id} {one.reason}")
