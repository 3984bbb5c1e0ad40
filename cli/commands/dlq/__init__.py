"""`dlq`: dead letters, listed, explained, corrected, redriven or dropped."""

import typer

from cli.commands.deployment import DeployedCommand, DeployedGroup
from cli.commands.dlq import drop, edit, explain, list_dead_letters, redrive, show

app = typer.Typer(
    cls=DeployedGroup,
    no_args_is_help=True,
    short_help="Show, correct, redrive or drop dead letters.",
    help="Show, correct, redrive or drop dead letters: messages that failed, each with its "
    "reason. SQS shows a message only by handing it out. While one command reads a queue, "
    "another sees a part of it, and a killed command leaves dead letters hidden for a minute.",
)

app.command("list", cls=DeployedCommand)(list_dead_letters.list_dead_letters)
app.command("show", cls=DeployedCommand)(show.show)
app.command("explain", cls=DeployedCommand)(explain.explain)
app.command("redrive", cls=DeployedCommand)(redrive.redrive)
app.command("edit", cls=DeployedCommand)(edit.edit)
app.command("drop", cls=DeployedCommand)(drop.drop)
