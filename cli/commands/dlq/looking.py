"""`dlq list` and `dlq explain`: what there is, and what it means."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.deployment import target_of
from cli.commands.dlq.choosing import (
    Jobs,
    NewerThan,
    Queue,
    Reasons,
    looked,
    queues_of,
    selection_of,
    tell_hidden,
)
from cli.commands.options import Json, OlderThan

if TYPE_CHECKING:
    from cli.letters import Letter


def list_letters(
    context: typer.Context,
    queue: Queue = None,
    reason: Reasons = None,
    job: Jobs = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    as_json: Json = False,
) -> None:
    """List dead letters, and leave them where they are.

    The status is the job's. If it is ARCHIVED, another message has made the PDF since.

    Status 1: there are dead letters.

    Example: `reportflow dlq list --reason HTTP_404 --newer-than 1d`
    """
    from cli import output

    selection = selection_of(reason, job, older_than, newer_than)
    target = target_of(context)
    queues = queues_of(target, queue)
    count = 0
    rows = []
    for name, letter, status in looked(target, queues, selection):
        count += 1
        if as_json:
            output.json_line({"queue": name, "status": status, **letter.summary()})
        else:
            age = output.age(letter.sent_at)
            rows.append((name, letter.job_id, status or "", letter.reason, age, letter.message))
    tell_hidden(queues)
    if rows:
        columns = ("queue", "job", "status", "reason", "age", "message")
        output.out().print(output.table(columns, rows))
    if not as_json:
        output.tell(f"{output.several(count, 'dead letter')}.")
    if count:
        raise typer.Exit(1)


def explain(
    context: typer.Context,
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE", help="Error codes. Default: those of all dead letters."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain error codes: what each means, what to do, and the commands for it.

    Without a code it explains those of the dead letters.

    Status 1: there are dead letters.

    Example: `reportflow dlq explain HTTP_404`
    """
    from cli import error_codes, output
    from cli.letters import Selection

    letters: dict[str, list[Letter]] = {error_codes.code_of(code): [] for code in codes or ()}
    archived: Counter[str] = Counter()
    if not codes:
        target = target_of(context)
        queues = queues_of(target, None)
        for _, letter, status in looked(target, queues, Selection()):
            letters.setdefault(letter.reason, []).append(letter)
            archived[letter.reason] += status == "ARCHIVED"
        tell_hidden(queues)
    for code, those in letters.items():
        _explain(code, those, archived[code], as_json=as_json)
    if not letters:
        output.tell("There are no dead letters.")
    if any(letters.values()):
        raise typer.Exit(1)


def _explain(code: str, letters: "list[Letter]", archived: int, *, as_json: bool) -> None:
    from cli import output
    from cli.error_codes import explain

    told = explain(code, in_dead_letters=bool(letters))
    oldest = min(letters, key=lambda letter: letter.sent_at, default=None)
    if as_json:
        about: dict[str, object] = {"letters": len(letters), "archived": archived}
        said = {"errorCode": code, "meaning": told.meaning, "remedy": told.remedy}
        output.json_line(said | (about | {"oldest": oldest.summary()} if oldest else {}))
        return
    number = f" ({len(letters)})" if letters else ""
    output.out().print(code, style="bold", end="", markup=False)
    output.say(f"{number}: {told.meaning}")
    output.say(f"  What to do: {told.remedy}")
    if oldest:
        when = output.age(oldest.sent_at)
        output.say(f"  The oldest, {when}: job {oldest.job_id}: {oldest.message}")
    if archived:
        output.say(f"  Archived since: the jobs of {archived}.")
    for command in told.commands:
        output.say(f"  {command}")
