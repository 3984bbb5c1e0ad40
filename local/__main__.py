"""`python -m local up` and `python -m local demo`."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from local import system
from local.assembly import SynthesisError
from local.backend import BackendError, BackendKind
from local.demo import DEMO_FOLDER, demonstrate
from local.executor import ExecutionError
from local.lambda_process import InvocationFailed
from local.packages import PackageError
from local.rotation import following
from local.state_file import StateFile, StateFileTaken, owned

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
console = Console(stderr=True, highlight=False, soft_wrap=True)

START_ERRORS = (
    SynthesisError,
    BackendError,
    ExecutionError,
    PackageError,
    InvocationFailed,
    system.PortError,
    StateFileTaken,
)

Backend = Annotated[BackendKind, typer.Option(help="The program that plays AWS.")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any deployment setting, such as contract=central. More than one: repeat the option.",
    ),
]


@app.command()
def up(
    state: Annotated[Path, typer.Option(help="Written when the system is ready: JSON.")],
    backend: Backend = BackendKind.MOTO,
    reportflow_url: Annotated[
        str | None, typer.Option(help="Another ReportFlow than the emulator: base URL with /v1.")
    ] = None,
    workspace_id: Annotated[
        str, typer.Option(help="The ReportFlow workspace.")
    ] = "local-workspace",
    app_key: Annotated[
        str | None,
        typer.Option(
            help="The account's AppKey, or with --set contract=central its one key. "
            f"Default: {system.APP_KEYS['workspace']}, or {system.APP_KEYS['central']}.",
            show_default=False,
        ),
    ] = None,
    secret_key: Annotated[
        str, typer.Option(help="The account's SecretKey; the contract central has none.")
    ] = "local-secret-key",  # noqa: S107  (opens nothing but the emulator)
    port: Annotated[int, typer.Option(help="Of the webhook's front; 0 takes a free one.")] = 0,
    settings: Settings = [],  # noqa: B006  (typer copies it)
) -> None:
    """Run the system until SIGINT or SIGTERM, which stop all of it."""
    options = system.Options(
        backend=backend,
        settings=_parse(settings),
        reportflow_url=reportflow_url,
        workspace_id=workspace_id,
        app_key=app_key,
        secret_key=secret_key,
        port=port,
    )
    if not state.parent.is_dir():
        raise typer.BadParameter(f"{state.parent} is no folder", param_hint="--state")
    with (
        _for_people(interrupted=0),
        owned(state) as file,
        system.run(options, console.print) as running,
        _following(running, file),
    ):
        try:
            console.print(f"Ready. State in {state}, logs in {running.log_folder}")
            threading.Event().wait()
        finally:
            file.remove()


@app.command()
def demo(
    backend: Backend = BackendKind.MOTO,
    settings: Settings = [],  # noqa: B006  (typer copies it)
    output: Annotated[Path, typer.Option(help="Where the PDFs are put.")] = DEMO_FOLDER,
) -> None:
    """Send the main job's messages through the system and show how each one ends."""
    options = system.Options(backend=backend, settings=_parse(settings))
    with _for_people(interrupted=130), system.run(options, console.print) as running:
        as_expected = demonstrate(running, output)
    sys.exit(0 if as_expected else 1)


@contextmanager
def _following(running: system.System, file: StateFile) -> Iterator[None]:
    """Write the state file, and after a rotation let it and the emulator have the new URL."""

    def use(url: str) -> None:
        if running.emulator is not None:
            running.emulator.webhook_url = url
        file.write(replace(running.state, webhook_url=url))
        console.print("The webhook's token was rotated: the new URL is in use.")

    state = running.state
    file.write(state)
    with following(running.backend, state.secret_arn, state.webhook_url, use):
        yield


def _parse(settings: list[str]) -> dict[str, str]:
    pairs = [setting.partition("=") for setting in settings]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise typer.BadParameter(f"{key!r} is no KEY=VALUE", param_hint="--set")
    return {key: value for key, _, value in pairs}


@contextmanager
def _for_people(*, interrupted: int) -> Iterator[None]:
    """End on SIGTERM as on SIGINT, with `interrupted` as status, and tell errors without a trace.

    The first signal begins an orderly end; it is not disturbed by further ones.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        signal.signal(number, end)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(interrupted)
    except START_ERRORS as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    app()
