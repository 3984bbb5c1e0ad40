"""`local fault`: the faults of the emulated ReportFlow."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.local.state import STATE, StateFile, pairs, report, running_state, using_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.fault_client import FaultClient

app = typer.Typer(
    no_args_is_help=True,
    help="Make the emulated ReportFlow misbehave.",
    short_help="Make the emulated ReportFlow misbehave.",
)


@app.command("list")
def list_faults(context: typer.Context) -> None:
    """List the kinds of faults, what each can happen to, and what it imitates.

    Example: `reportflow local fault list`
    """
    from cli.output import out, table

    with using_local(context):
        from local.fault_client import kinds

        rows = [(each.name, " ".join(each.calls), each.fields, each.imitates) for each in kinds()]
    out().print(table(("kind", "calls", "fields", "imitates"), rows))


@app.command("set")
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
            pairs(values or [], "FIELD=VALUE"),
            times=None if always else times,
            probability=probability,
            fileNamePrefix=file_name,
        )
        _show(client)


@app.command("show")
def show_faults(context: typer.Context, state: StateFile = STATE) -> None:
    """Show the faults in force, and how often each has happened.

    Example: `reportflow local fault show`
    """
    with _faults(context, state) as client:
        _show(client)


@app.command("clear")
def clear_faults(context: typer.Context, state: StateFile = STATE) -> None:
    """End all faults.

    Example: `reportflow local fault clear`
    """
    with _faults(context, state) as client:
        client.clear()
        _show(client)


@app.command("outage")
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
    report(f"ReportFlow refuses connections for {seconds:g} s.")


@contextmanager
def _faults(context: typer.Context, state: Path) -> "Iterator[FaultClient]":
    from cli.failures import CliError

    url = running_state(context, state)["reportflow_url"]
    from local.fault_client import FaultClient, FaultError

    try:
        yield FaultClient(url)
    except FaultError as error:
        raise CliError(str(error)) from error


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
        report("No fault is in force.")
