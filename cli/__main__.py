"""Operate a ReportFlow pipeline, on AWS or on this machine.

Exit status: 0 done; 1 found a problem, or did not do everything; 2 could not run, or was called
wrongly; 130 interrupted; 141 the reader of the output has gone. Every command can be run again.
"""

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any, override

import typer

from cli.commands import (
    dlq,
    doctor,
    fetch,
    keys,
    list_jobs,
    local,
    schema,
    status,
    submit,
    top,
    watch,
    webhook,
)
from cli.commands.deployment import DeployedCommand, DeployedGroup
from cli.failures import CliError, ExitCode, explain
from cli.output import note


class Guarded(DeployedGroup):
    """Ends an error with a sentence and a meaningful status."""

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run the command. Typer itself turns Ctrl-C into status 130."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output has gone. Python would complain again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            text = explain(error)
            if text is None:
                raise
            note(text, style="red")
            code = error.exit_code if isinstance(error, CliError) else ExitCode.UNABLE
            raise typer.Exit(code) from None
        return result


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
app.add_typer(local.app, name="local")
app.command("doctor", cls=DeployedCommand)(doctor.doctor)
app.command("schema")(schema.show)
app.command("set-keys", cls=DeployedCommand)(keys.set_keys)
app.command("set-signing-secret", cls=DeployedCommand)(keys.set_signing_secret)
app.command("webhook-url", cls=DeployedCommand)(webhook.webhook_url)
app.command("rotate-webhook-secret", cls=DeployedCommand)(webhook.rotate_webhook_secret)


if __name__ == "__main__":
    app()
