"""`set-keys`: the keys of the ReportFlow account, which are never an argument of a command."""

import sys

import typer

from cli.commands.options import target_of


def set_keys(context: typer.Context) -> None:
    """Put ReportFlow's appKey and secretKey into the deployment's secret.

    They are asked for and not shown, or read from standard input: two lines, the appKey first. So
    they are neither in the shell's history nor in the list of processes. The webhook's tokens stay
    as they are. Functions know the new keys within five minutes.
    """
    from cli import output, rotation

    target = target_of(context)
    if sys.stdin.isatty():
        keys = [typer.prompt(name, hide_input=True, err=True) for name in ("appKey", "secretKey")]
    else:
        keys = sys.stdin.read().split()
    if len(keys) != 2 or not all(key.isascii() and key.isprintable() for key in keys):
        raise typer.BadParameter("expected the appKey and the secretKey, one a line")
    app_key, secret_key = keys
    rotation.fill_in(target, app_key=app_key, secret_key=secret_key)
    output.tell("Done: the functions know the keys within five minutes.")
