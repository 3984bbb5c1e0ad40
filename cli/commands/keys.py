"""`set-keys` and `set-signing-secret`: secrets of others, never an argument of a command."""

import sys
from typing import Annotated

import typer

from cli.commands.options import confirm, target_of


def set_keys(context: typer.Context) -> None:
    """Put ReportFlow's appKey and secretKey into the deployment's secret.

    They are asked for and not shown, or read from standard input: two lines, the appKey first. So
    they are neither in the shell's history nor in the list of processes. The webhook's tokens stay
    as they are. Functions know the new keys within five minutes.
    """
    from cli import output, rotation

    target = target_of(context, changes=True)
    keys = _asked_for("appKey", "secretKey")
    if len(keys) != 2 or not all(key.isascii() and key.isprintable() for key in keys):
        raise typer.BadParameter("expected the appKey and the secretKey, one a line")
    app_key, secret_key = keys
    rotation.fill_in(target, app_key=app_key, secret_key=secret_key)
    output.tell("Done: the functions know the keys within five minutes.")


def set_signing_secret(
    context: typer.Context,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="The second step: the previous one is good no longer."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Put the secret that a relay signs webhooks with into the deployment's secret.

    It is asked for and not shown, or read from standard input: `whsec_` and base64. The present
    one stays good until --finish, so that no webhook is refused while the relay changes. What else
    is in the secret stays as it is.

    Status 1: a change is under way, or there is none to finish.
    """
    from cli import output, rotation
    from cli.failures import ExitCode
    from reportflow.signature import MIN_KEY_BYTES, signing_keys

    target = target_of(context, changes=True)
    if finish:
        confirm(
            "Does the relay sign with the new secret? What it signs with the old one will be "
            "refused.",
            yes=yes,
        )
        if not rotation.drop_previous_signing_secret(target):
            output.tell("There is no previous signing secret.")
            raise typer.Exit(ExitCode.FINDINGS)
        output.tell("Done: within five minutes nothing signed with the previous one is believed.")
        return
    given = _asked_for("signing secret")
    if len(given) != 1 or not given[0].startswith("whsec_") or not signing_keys(given):
        raise typer.BadParameter(
            f"expected one secret: whsec_ and the base64 of at least {MIN_KEY_BYTES} random bytes"
        )
    rotation.set_signing_secret(target, given[0])
    output.tell(
        f"Done: in {rotation.SETTLED_SECONDS:.0f} seconds every function knows it. Then let the "
        "relay sign with it; was there another before, end with: set-signing-secret --finish"
    )


def _asked_for(*names: str) -> list[str]:
    """What the user types unseen, or what standard input holds."""
    if sys.stdin.isatty():
        return [typer.prompt(name, hide_input=True, err=True).strip() for name in names]
    return sys.stdin.read().split()
