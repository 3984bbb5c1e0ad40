"""Operate a ReportFlow pipeline, on AWS or on this machine.

Exit status: 0 done; 1 found a problem, or did not do everything; 2 could not run, or was called
wrongly; 130 interrupted; 141 the reader of the output has gone. Every command can be run again.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from cli.commands import (
    dlq,
    doctor,
    fetch,
    keys,
    list_jobs,
    schema,
    status,
    submit,
    top,
    watch,
    webhook,
)
from cli.commands.deployment import DeployedCommand
from cli.guard import Guarded

app = typer.Typer(
    cls=Guarded,
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reportflow {version('reportflow-pipeline')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Declare the options that every command shares."""


app.command("submit", cls=DeployedCommand)(submit.submit)
app.command("status", cls=DeployedCommand)(status.status)
app.command("watch", cls=DeployedCommand)(watch.watch)
app.command("top", cls=DeployedCommand)(top.top)
app.command("list", cls=DeployedCommand)(list_jobs.list_jobs)
app.command("fetch", cls=DeployedCommand)(fetch.fetch)
app.add_typer(dlq.app, name="dlq")
app.command("doctor", cls=DeployedCommand)(doctor.doctor)
app.command("schema")(schema.show)
app.command("set-keys", cls=DeployedCommand)(keys.set_keys)
app.command("set-signing-secret", cls=DeployedCommand)(keys.set_signing_secret)
app.command("webhook-url", cls=DeployedCommand)(webhook.webhook_url)
app.command("rotate-webhook-secret", cls=DeployedCommand)(webhook.rotate_webhook_secret)


if __name__ == "__main__":
    app()
