"""`dlq explain`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli import error_codes, output
from cli.commands.deployment import target_of
from cli.commands.dlq.selection import read_selected
from cli.commands.options import Json
from cli.dead_letters import DeadLetter, Selection, dead_letters
from cli.failures import ExitCode
from cli.records import Record, Records


def explain(
    context: typer.Context,
    codes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CODE", help="Error codes. Default: those of all dead letters."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain error codes, and what to do.

    Without a code it explains those of the dead letters.

    Status 1: there are dead letters.

    Example: `reportflow dlq explain HTTP_404`
    """
    found: dict[str, list[DeadLetter]] = {error_codes.code_of(code): [] for code in codes or ()}
    known: dict[str, Record] = {}
    if not codes:
        target = target_of(context)
        for batch in read_selected(dead_letters(target), Selection()):
            known |= Records(target).get([one.job_id for one in batch])
            for one in batch:
                found.setdefault(one.reason, []).append(one)
    for code, those in found.items():
        archived = sum(known.get(one.job_id, {}).get("status") == "ARCHIVED" for one in those)
        _explain(code, those, archived, as_json=as_json)
    if not found:
        output.note("There are no dead letters.")
    if any(found.values()):
        raise typer.Exit(ExitCode.FINDINGS)


def _explain(code: str, those: Sequence[DeadLetter], archived: int, *, as_json: bool) -> None:
    text = error_codes.explain(code, in_dead_letters=bool(those))
    oldest = min(those, key=lambda one: one.sent_at, default=None)
    if as_json:
        line: dict[str, Any] = {"errorCode": code, "meaning": text.meaning, "remedy": text.remedy}
        if oldest:
            line |= {"deadLetters": len(those), "archived": archived, "oldest": oldest.summary()}
        output.json_line(line)
        return
    number = f" ({len(those)})" if those else ""
    output.out().print(code, style="bold", end="", markup=False)
    output.say(f"{number}: {text.meaning}")
    facts = [("what to do", text.remedy)]
    if oldest:
        when = output.age(oldest.sent_at)
        facts.append(("the oldest", f"job {oldest.job_id}, sent {when} ago: {oldest.message}"))
    if archived:
        facts.append(("archived since", output.several(archived, "job")))
    output.fields(facts)
    for command in text.commands(code):
        output.say(f"    {command}")
