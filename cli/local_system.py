"""`local`: the whole system on this machine, from a clone of the repository."""

import importlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from local.fault_client import FaultClient
    from local.system import System

app = typer.Typer(
    no_args_is_help=True,
    short_help="Run the whole system on this machine.",
    help="Run the whole system on this machine: an emulated AWS, the functions, and an emulated "
    "ReportFlow that makes real PDFs. It needs a clone of the repository.",
)
faults = typer.Typer(
    no_args_is_help=True,
    help="Make the emulated ReportFlow misbehave.",
    short_help="Make the emulated ReportFlow misbehave.",
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
StateFile = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        envvar="REPORTFLOW_STATE",
        help="The system's state file.",
    ),
]
STATE: Final = Path("state.json")


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
    with _local(context):
        from local.backend import BackendKind
        from local.foreground import run_until_signal
        from local.system import Options

        options = Options(
            backend=BackendKind(backend),
            settings=_pairs(settings, "--set"),
            reportflow_url=reportflow_url,
            workspace_id=workspace_id,
            app_key=app_key,
            secret_key=secret_key,
            port=port,
        )
        if detach:
            _start_in_background()
        else:
            run_until_signal(options, state, _report, lambda running: _ready(running, state))


@app.command("down")
def down(context: typer.Context, state: StateFile = STATE) -> None:
    """Stop the system, and remove what a killed one left.

    Example: `reportflow local down`
    """
    with _local(context):
        from local.state_file import stop

        running = stop(state)
    _report("Stopped." if running else f"No system runs with {state}.")


@app.command("status")
def status(context: typer.Context, state: StateFile = STATE) -> None:
    """Show whether the system runs, and where. Exit status 1: it does not.

    Example: `reportflow local status`
    """
    from cli.output import fields

    found = _running(context, state)
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

    folder = Path(_running(context, state)["log_folder"])
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
    with _local(context):
        from local.backend import BackendKind
        from local.demo import demonstrate
        from local.foreground import interrupted_by_signals
        from local.system import Options, run

        options = Options(backend=BackendKind(backend), settings=_pairs(settings, "--set"))
        output.mkdir(parents=True, exist_ok=True)  # before the long part
        with interrupted_by_signals(), run(options, _report) as running:
            as_expected = demonstrate(running, output)
    raise typer.Exit(0 if as_expected else 1)


@faults.command("list")
def list_faults(context: typer.Context) -> None:
    """List the kinds of faults, what each can happen to, and what it imitates.

    Example: `reportflow local fault list`
    """
    from cli.output import out, table

    with _local(context):
        from local.fault_client import kinds

        rows = [(each.name, " ".join(each.calls), each.fields, each.imitates) for each in kinds()]
    out().print(table(("kind", "calls", "fields", "imitates"), rows))


@faults.command("set")
def set_fault(
    context: typer.Context,
    call: Annotated[
        str, typer.Argument(metavar="CALL", help="submit, download, token, render or webhook.")
    ],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="See `fault list`.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="See `fault list`.")
    ] = None,
    times: Annotated[int, typer.Option(help="How often it happens.", min=1)] = 1,
    always: Annotated[bool, typer.Option("--always", help="Until it is cleared.")] = False,
    probability: Annotated[
        float, typer.Option(help="The share of the calls that it happens to.", min=0, max=1)
    ] = 1,
    file_name: Annotated[
        str, typer.Option(metavar="PREFIX", help="Only files whose name begins with this.")
    ] = "",
    state: StateFile = STATE,
) -> None:
    """Put a fault in force, beside those that are. The first that fits a call happens to it.

    Example: `reportflow local fault set submit status status=503 --times 3`
    """
    with _faults(context, state) as client:
        client.add(
            call,
            kind,
            _pairs(values or [], "FIELD=VALUE"),
            times=None if always else times,
            probability=probability,
            fileNamePrefix=file_name,
        )
        _show(client)


@faults.command("show")
def show_faults(context: typer.Context, state: StateFile = STATE) -> None:
    """Show the faults in force, and how often each has happened.

    Example: `reportflow local fault show`
    """
    with _faults(context, state) as client:
        _show(client)


@faults.command("clear")
def clear_faults(context: typer.Context, state: StateFile = STATE) -> None:
    """End all faults.

    Example: `reportflow local fault clear`
    """
    with _faults(context, state) as client:
        client.clear()
        _show(client)


@faults.command("outage")
def outage(
    context: typer.Context,
    seconds: Annotated[float, typer.Argument(min=0)],
    state: StateFile = STATE,
) -> None:
    """Have ReportFlow refuse all connections for some seconds.

    Example: `reportflow local fault outage 60`
    """
    with _faults(context, state) as client:
        client.refuse_connections(seconds)
    _report(f"ReportFlow refuses connections for {seconds:g} s.")


@contextmanager
def _local(context: typer.Context) -> Iterator[None]:
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


@contextmanager
def _faults(context: typer.Context, state: Path) -> "Iterator[FaultClient]":
    from cli.failures import CliError

    url = _running(context, state)["reportflow_url"]
    from local.fault_client import FaultClient, FaultError

    try:
        yield FaultClient(url)
    except FaultError as error:
        raise CliError(f"{error} See `reportflow local fault list`.") from error


def _show(client: "FaultClient") -> None:
    from cli.output import out, table

    rows = []
    for fault in client.faults():
        values = {name: value for name, value in fault["fault"].items() if value is not None}
        del values["kind"]
        rows.append(
            (
                fault["call"],
                fault["fault"]["kind"],
                " ".join(f"{name}={value}" for name, value in values.items()),
                f"{fault['happened']} of {fault['times'] or 'any'}",
                f"{fault['probability']:.0%}",
                fault["fileNamePrefix"],
            )
        )
    if rows:
        columns = ("call", "kind", "fields", "happened", "of calls", "file name")
        out().print(table(columns, rows))
    else:
        _report("No fault is in force.")


def _running(context: typer.Context, path: Path) -> dict[str, Any]:
    """The state of the running system."""
    from cli.failures import CliError, ExitCode

    with _local(context):
        from local.state_file import owner, read

        state = read(path)
        if state is None or owner(path) is None:
            raise CliError(
                f"No system runs with {path}. Start it with {_command('up', path)}.",
                ExitCode.FINDINGS,
            )
    return state


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
    with log_path.open() as log_text:
        ended = False
        while not ended:
            ended = process.poll() is not None
            said = log_text.read()
            _report(said, end="")
            if _READY in said:
                return
            time.sleep(_POLL_SECONDS)
    raise CliError(f"The system did not start. Its output is in {log_path}.")


def _ready(running: "System", path: Path) -> None:
    state = "" if path == STATE else f" --state {shlex.quote(str(path))}"
    _report(
        f"{_READY} {os.getpid()}. State in {path}, logs in {running.log_folder}.\n"
        "Next, for instance in another terminal:\n"
        f"  echo '{_EXAMPLE}' |\n"
        f"    reportflow submit -{state} | reportflow watch -{state}\n"
        f"  reportflow list{state}\n"
        f"  reportflow fetch first-1{state}\n"
        f"  reportflow local fault set submit status status=503 --times 3{state}\n"
        f"  reportflow local down{state}"
    )


def _command(name: str, path: Path) -> str:
    state = "" if path == STATE else f" --state {shlex.quote(str(path))}"
    return f"`reportflow local {name}{state}`"


def _pairs(texts: list[str], hint: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for (key, equals, _), text in zip(pairs, texts, strict=True):
        if not (key and equals):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=hint)
    return {key: value for key, _, value in pairs}


def _report(text: str, end: str = "\n") -> None:
    sys.stderr.write(text + end)
    sys.stderr.flush()
