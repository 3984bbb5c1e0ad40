"""What the commands of `local` share: the state file, and `local` itself, imported late."""

import importlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

StateFile = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        envvar="REPORTFLOW_STATE",
        help="The system's state file.",
    ),
]
STATE: Final = Path("state.json")


@contextmanager
def using_local(context: typer.Context) -> Iterator[None]:
    """Import `local` within, and report why a system does not start."""
    from cli.failures import CliError, ExitCode

    root = context.find_root()
    source = root.get_parameter_source("state")
    if source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("write --state after the command", param_hint="--state")
    try:
        importlib.import_module("local.foreground")
    except ImportError as error:
        raise CliError(
            f"The local system is not installed ({error.name} is missing). Clone the repository, "
            "run `make setup` in it, and use its .venv/bin/reportflow."
        ) from error
    from local.foreground import START_ERRORS

    try:
        yield
    except START_ERRORS as error:
        # Such a message can have several lines, which a `CliError` joins.
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(ExitCode.UNABLE) from None


def running_state(context: typer.Context, path: Path) -> dict[str, Any]:
    """The state of the running system."""
    from cli.failures import CliError, ExitCode

    with using_local(context):
        from local.state_file import owner, read

        state = read(path)
        pid = owner(path)
        if pid is None:
            raise CliError(
                f"No system runs with {path}. Start it with `reportflow local up"
                f"{state_option(path)}`.",
                ExitCode.FINDINGS,
            )
        if state is None:
            raise CliError(
                f"The system of {path} is starting, as process {pid}.", ExitCode.FINDINGS
            )
    return state


def state_option(path: Path) -> str:
    """The option that another command needs for this state file."""
    return "" if path == STATE else f" --state {shlex.quote(str(path))}"


def pairs(texts: list[str], hint: str) -> dict[str, str]:
    """Read `KEY=VALUE` texts; `hint` names the parameter in an error."""
    parts = [text.partition("=") for text in texts]
    for (key, equals, _), text in zip(parts, texts, strict=True):
        if not (key and equals):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=hint)
    return {key: value for key, _, value in parts}


def report(text: str, end: str = "\n") -> None:
    """Write to standard error at once."""
    sys.stderr.write(text + end)
    sys.stderr.flush()
