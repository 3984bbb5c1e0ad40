"""`set-keys` and `set-signing-secret`: the secrets of others, never an argument of a command."""

import sys
from typing import Annotated

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import Yes, confirm
from cli.failures import ExitCode
from reportflow.contract import CENTRAL, WORKSPACE, Contract


def set_keys(
    context: typer.Context,
    oauth: Annotated[
        bool,
        typer.Option("--oauth", help="Ask for clientId and clientSecret (contract central)."),
    ] = False,
) -> None:
    """Store ReportFlow's keys.

    They go into the deployment's secret. The command asks for what the deployment's contract needs
    and does not show it: appKey and secretKey for `workspace`, one key for `central`. From standard
    input it reads one key a line. So keys are neither in the shell's history nor in the list of
    processes. The webhook's tokens stay as they are. All functions use the new keys within five
    minutes.

    Example: `reportflow set-keys --prefix ReportFlow-prod`
    """
    from cli import secret
    from reportflow.contract.credentials import is_usable

    target = target_of(context, changes=True)
    alternatives = target.contract.credentials
    if oauth and len(alternatives) == 1:
        raise typer.BadParameter(f"the contract {target.contract.name} has no OAuth")
    names = alternatives[int(oauth)]
    keys = _asked_for(*names)
    if len(keys) != len(names) or not all(map(is_usable, keys)):
        raise typer.BadParameter(f"expected {' and '.join(names)} in printable ASCII, one a line")
    if mistake := key_mistake(target.contract, *keys):
        raise typer.BadParameter(mistake)
    secret.set_keys(target, dict(zip(names, keys, strict=True)))
    output.note("Done: the functions use the keys within five minutes.")


def key_mistake(contract: Contract, *keys: str) -> str:
    """Why these keys cannot be the contract's; empty if they may be."""
    is_central = [key.startswith("ak_") for key in keys]
    if contract is WORKSPACE and any(is_central):
        return "a key that begins with ak_ needs the setting contract=central"
    if contract is CENTRAL and is_central == [False]:
        return "expected a key that begins with ak_; others need the setting contract=workspace"
    return ""


def set_signing_secret(
    context: typer.Context,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="The second step: end the previous one."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Store the secret that a relay signs with.

    It goes into the deployment's secret. The command asks for it and does not show it, or reads it
    from standard input: `whsec_` and base64. The present one stays valid until --finish, so that no
    webhook is refused while the relay changes. The rest of the secret stays as it is.

    Status 1: a change is under way, or there is none to finish.

    Example: `reportflow set-signing-secret && reportflow set-signing-secret --finish`
    """
    from cli import secret
    from reportflow.signature import MIN_KEY_BYTES, signing_keys

    target = target_of(context, changes=True)
    if finish:
        confirm(
            "Does the relay sign with the new secret? What it signs with the old one will be "
            "refused.",
            yes=yes,
        )
        if not secret.finish_signing_secret(target):
            output.note("There is no previous signing secret.")
            raise typer.Exit(ExitCode.FINDINGS)
        output.note("Done: within five minutes what is signed with the previous one is refused.")
        return
    given = _asked_for("signing secret")
    if len(given) != 1 or not given[0].startswith("whsec_") or not signing_keys(given):
        raise typer.BadParameter(
            f"expected one secret: whsec_ and the base64 of at least {MIN_KEY_BYTES} random bytes"
        )
    secret.set_signing_secret(target, given[0])
    output.note(
        f"Done: in {secret.ACCEPTED_SECONDS:.0f} seconds every function knows it. Then let the "
        "relay sign with it. If there was another one before, end with: set-signing-secret --finish"
    )


def _asked_for(*names: str) -> list[str]:
    """Return what the user types unseen, or what standard input holds."""
    if sys.stdin.isatty():
        return [typer.prompt(name, hide_input=True, err=True).strip() for name in names]
    return sys.stdin.read().split()
