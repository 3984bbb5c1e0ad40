"""`webhook-url` and `rotate-webhook-secret`: the one secret that may be printed."""

import sys
from typing import Annotated

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import Json, Yes, confirm
from cli.failures import ExitCode


def webhook_url(context: typer.Context, as_json: Json = False) -> None:
    """Print the webhook's URL for ReportFlow.

    Put it into ReportFlow's settings. The URL is a secret: anyone who has it can send webhooks.
    Right after a rotation the command waits until every function accepts the new token.

    Example: `reportflow webhook-url`
    """
    from cli.secret import accepted_url

    url = accepted_url(target_of(context))
    if as_json:
        output.json_line({"webhookUrl": url})
    else:
        typer.echo(url)


def rotate_webhook_secret(
    context: typer.Context,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="The second step: end the previous token."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Rotate during a rotation: its old token ends at once."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Rotate the secret, refusing no webhook.

    1. Run it without options. It makes a new token, and the present one stays valid. After 15
       seconds every function accepts the new one. On a terminal the command then prints the new
       URL; otherwise `webhook-url` prints it.
    2. Put the URL into ReportFlow's settings.
    3. When webhooks come by the new URL, run it with --finish.

    If the URL has leaked, run --finish at once.

    Status 1: a rotation is under way, or there is none to finish.

    Example: `reportflow rotate-webhook-secret && reportflow rotate-webhook-secret --finish`
    """
    from cli import secret

    target = target_of(context, changes=True)
    if finish:
        confirm(
            "Does ReportFlow have the new URL? Events that come by the old one will be refused.",
            yes=yes,
        )
        if not secret.finish(target):
            output.note("There is no rotation to finish.")
            raise typer.Exit(ExitCode.FINDINGS)
        output.note("Done: within five minutes the previous token is refused.")
        return
    secret.rotate(target, force=force)
    output.note(
        "There is a new token, and the old one stays valid. Waiting until every function accepts "
        "the new one…"
    )
    url = secret.accepted_url(target)
    if sys.stdout.isatty():
        output.note("The new URL, a secret:")
        typer.echo(url)
    else:
        output.note("The new URL is a secret, and this is no terminal: `webhook-url` prints it.")
    output.note("Put it into ReportFlow's settings, then run: rotate-webhook-secret --finish")
