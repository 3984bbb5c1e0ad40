"""`dlq`: look at dead letters, understand them, send them back or drop them."""

import typer

from cli.commands.deployment import DeployedCommand, DeployedGroup
from cli.commands.dlq import acting, editing, looking

app = typer.Typer(
    cls=DeployedGroup,
    no_args_is_help=True,
    short_help="Show, correct, redrive or drop dead letters.",
    help="Show, correct, redrive or drop dead letters: messages that failed, each with its "
    "reason. SQS shows a message only by handing it out. While one command looks through a queue, "
    "another sees a part of it, and a killed command leaves dead letters hidden for a minute.",
)

app.command("list", cls=DeployedCommand)(looking.list_letters)
app.command("show", cls=DeployedCommand)(editing.show)
app.command("explain", cls=DeployedCommand)(looking.explain)
app.command("redrive", cls=DeployedCommand)(acting.redrive)
app.command("edit", cls=DeployedCommand)(editing.edit)
app.command("drop", cls=DeployedCommand)(acting.drop)
