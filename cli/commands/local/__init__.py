"""`local`: the whole system on this machine, from a clone of the repository."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cli.commands.local.faults import app as faults
from cli.commands.local.state import (
    STATE,
    StateFile,
    pairs,
    report,
    running_state,
    state_option,
    using_local,
)

if TYPE_CHECKING:
    from local.system import System

app = typer.Typer(
    no_args_is_help=True,
    short_help="Run the whole system on this machine.",
    help="Run the whole system on this machine: an emulated AWS, the functions, and an emulated "
    "ReportFlow that makes real PDFs. It needs a clone of the repository.",
)
app.add_typer(faults, name="fault")

_POLL_SECONDS = 0.2
_LOGS: Final = ("submitter", "webhook", "downloader")
_READY: Final = "Ready, as process"
_EXAMPLE: Final = (
    '{"jobId":"first-1","designId":"550e8400-e29b-41d4-a716-446655440000","version":1,'
    '"content":{"fileName":"invoice.pdf","params":{"customerName":"John Doe","amount":10000}}}'
)

Backend = Annotated[
    Literal["moto", "ministack"], typer.Option(help="The program that emulates AWS.")
]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A deployment setting, such as contract=central. Repeat the option for more.",
    ),
]


@app.command("up")
def up(
    context: typer.Context,
    state: StateFile = STATE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready, and leave it running.")
    ] = False,
    backend: Backend = "moto",
    reportflow_url: Annotated[
        str | None, typer.Option(help="Another ReportFlow than the emulator: base URL with /v1.")
    ] = None,
    workspace_id: Annotated[
        str, typer.Option(help="The ReportFlow workspace.")
    ] = "local-workspace",
    app_key: Annotated[
        str | None,
        typer.Option(
            help="The AppKey, or with --set contract=central the one key. "
            "Default: local-app-key, or ak_local.",
            show_default=False,
        ),
    ] = None,
    secret_key: Annotated[
        str, typer.Option(help="The SecretKey; the contract central has none.")
    ] = "local-secret-key",  # noqa: S107  (opens nothing but the emulator)
    port: Annotated[
        int, typer.Option(help="The webhook's port; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    settings: Settings = [],  # noqa: B006  (typer copies it)
) -> None:
    """Start the system. It runs until Ctrl-C, or with --detach until `reportflow local down`.

    Example: `reportflow local up --detach`
    """
    with using_local(context):
        from local.backend import BackendKind
        from local.foreground import run_until_signal
        from local.system import Options

        options = Options(
            backend=BackendKind(backend),
            settings=pairs(settings, "--set"),
            reportflow_url=reportflow_url,
            workspace_id=workspace_id,
            app_key=app_key,
            secret_key=secret_key,
            port=port,
        )
        if detach:
            _start_in_background()
        else:
            run_until_signal(options, state, report, lambda running: _ready(running, state))


@app.command("down")
def down(context: typer.Context, state: StateFile = STATE) -> None:
    """Stop the system, and remove what a killed one left.

    Example: `reportflow local down`
    """
    with using_local(context):
        from local.state_file import stop

        running = stop(state)
    report("Stopped." if running else f"No system runs with {state}.")


@app.command("status")
def status(context: typer.Context, state: StateFile = STATE) -> None:
    """Show whether the system runs, and where. Exit status 1: it does not.

    Example: `reportflow local status`
    """
    from cli.output import fields

    found = running_state(context, state)
    fields(
        [
            ("process", found["pid"]),
            ("emulated AWS", found["aws_endpoint_url"]),
            ("ReportFlow", f"{found['reportflow_url']} ({found['contract']})"),
            ("webhook", found["webhook_url"].rpartition("/")[0] + "/…"),
            ("request queue", found["request_queue_url"]),
            ("jobs table", found["jobs_table"]),
            ("archive", found["archive_bucket"]),
            ("logs", found["log_folder"]),
        ]
    )


@app.command("logs")
def logs(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Logs: submitter, webhook, downloader, or the emulated AWS (moto, ministack). "
            "Default: the three functions'.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")
    ] = False,
    state: StateFile = STATE,
) -> None:
    """Print the functions' logs, each line after the function's name.

    Example: `reportflow local logs --follow submitter`
    """
    from cli.failures import CliError
    from cli.output import say

    folder = Path(running_state(context, state)["log_folder"])
    wanted = names or list(_LOGS)
    found = {
        path: name for name in wanted for path in folder.glob("*.log") if name in path.name.lower()
    }
    if unknown := set(wanted) - set(found.values()):
        raise CliError(f"There is no log {', '.join(sorted(unknown))} in {folder}.")
    read = dict.fromkeys(found, 0)
    while True:
        for path, name in found.items():
            with path.open("rb") as log:
                log.seek(read[path])
                whole, end, _ = log.read().rpartition(b"\n")
            read[path] += len(whole + end)
            for line in whole.decode(errors="replace").splitlines():
                say(f"{name}: {line}")
        if not follow:
            return
        time.sleep(_POLL_SECONDS)


@app.command("demo")
def demo(
    context: typer.Context,
    backend: Backend = "moto",
    settings: Settings = [],  # noqa: B006  (typer copies it)
    output: Annotated[Path, typer.Option(help="The folder for the PDFs.")] = Path("demo-output"),
) -> None:
    """Start a system, send 25 messages, show how each ends, and stop it.

    Exit status 1: a job did not end as expected.

    Example: `reportflow local demo --output /tmp/pdfs`
    """
    with using_local(context):
        from local.backend import BackendKind
        from local.demo import demonstrate
        from local.foreground import interrupted_by_signals
        from local.system import Options, run

        options = Options(backend=BackendKind(backend), settings=pairs(settings, "--set"))
        output.mkdir(parents=True, exist_ok=True)  # before the long part
        with interrupted_by_signals(), run(options, report) as running:
            as_expected = demonstrate(running, output)
    raise typer.Exit(0 if as_expected else 1)


def _start_in_background() -> None:
    """Start the same command without --detach, and wait until its system is ready."""
    from cli.failures import CliError
    from local.system import make_log_folder

    log_path = make_log_folder() / "up.log"
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    said, ended = "", False
    try:
        with log_path.open() as log_text:
            while not ended and _READY not in said:
                time.sleep(_POLL_SECONDS)
                ended = process.poll() is not None
                more = log_text.read()
                report(more, end="")
                said += more
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if ended:
        raise CliError(f"The system did not start. Its output is in {log_path}.")


def _ready(running: "System", path: Path) -> None:
    state = state_option(path)
    fault = f"  reportflow local fault set submit status status=503 --times 3{state}\n"
    report(
        f"{_READY} {os.getpid()}. State in {path}, logs in {running.log_folder}.\n"
        "Next, for instance in another terminal:\n"
        f"  echo '{_EXAMPLE}' |\n"
        f"    reportflow submit -{state} | reportflow watch -{state}\n"
        f"  reportflow list{state}\n"
        f"  reportflow fetch first-1{state}\n"
        f"{fault if running.emulator else ''}"
        f"  reportflow local down{state}"
    )
