"""`webhook-url` and `rotate-webhook-secret`: both handle the one secret that may be shown."""

import sys
from typing import Annotated

import typer

from cli.commands.deployment import target_of
from cli.commands.options import confirm


def webhook_url(context: typer.Context) -> None:
    """Print the webhook's complete URL, to be put into ReportFlow's settings.

    It is a secret: whoever has it can announce files. Right after a rotation it waits until the
    whole webhook accepts the new token.
    """
    from cli.rotation import settled_url

    typer.echo(settled_url(target_of(context)))


def rotate_webhook_secret(
    context: typer.Context,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="The second step: the previous token is good no longer."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Though a rotation is under way: its old token is cut off."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give the webhook a new secret, with no event refused on the way.

    1. Without options: a new token is made, and the present one stays good. After 15 seconds, when
       no function can still refuse the new one, the new URL is shown, on a terminal only; otherwise
       `webhook-url` shows it.
    2. Put it into ReportFlow's settings.
    3. When webhooks come by it, --finish.

    Has the URL leaked, go on to --finish at once.

    Status 1: a rotation is under way, or there is none to finish.
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
