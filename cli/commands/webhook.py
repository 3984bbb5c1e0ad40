"""`webhook-url` and `rotate-webhook-secret`: both handle the one secret that may be shown."""

import sys
from typing import Annotated

import typer

from cli.commands.deployment import target_of
from cli.commands.options import confirm


def webhook_url(context: typer.Context) -> None:
    """Print the webhook's complete URL for ReportFlow's settings.

    The URL is a secret: anyone who has it can send webhooks. Right after a rotation the command
    waits until every function accepts the new token.

    Example: `reportflow webhook-url`
    """
    from cli.rotation import settled_url

    typer.echo(settled_url(target_of(context)))


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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Rotate the webhook's secret without refusing an event.

    1. Run it without options. It makes a new token, and the present one stays valid. After 15
       seconds every function accepts the new one. On a terminal the command then prints the new
       URL; otherwise `webhook-url` prints it.
    2. Put the URL into ReportFlow's settings.
    3. When webhooks come by the new URL, run it with --finish.

    If the URL has leaked, run --finish at once.

    Status 1: a rotation is under way, or there is none to finish.

    Example: `reportflow rotate-webhook-secret && reportflow rotate-webhook-secret --finish`
    """
    from cli import output, rotation
    from cli.failures import ExitCode

    target = target_of(context, changes=True)
    if finish:
        confirm(
            "Has ReportFlow the new URL? Events that come by the old one will be refused.", yes=yes
        )
        if not rotation.finish(target):
            output.tell("There is no rotation to finish.")
            raise typer.Exit(ExitCode.FINDINGS)
        output.tell("Done: within five minutes the previous token opens nothing.")
        return
    rotation.rotate(target, force=force)
    output.tell("There is a new token, and the old one is still good. Waiting until all know it…")
    url = rotation.settled_url(target)
    if sys.stdout.isatty():
        output.tell("The new URL, a secret:")
        typer.echo(url)
    else:
        output.tell("The new URL is a secret and this no terminal: `webhook-url` prints it.")
    output.tell("Put it into ReportFlow's settings, then: rotate-webhook-secret --finish")
