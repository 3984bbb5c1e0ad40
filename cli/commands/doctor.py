"""`doctor`: what is wrong with a deployment, and the command that ends it."""

from datetime import timedelta
from typing import Annotated

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import Json, duration
from cli.failures import ExitCode
from cli.findings import Plan, Severity, findings


def doctor(
    context: typer.Context,
    window: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="How far back to read metrics."),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default
    unfinished: Annotated[
        timedelta,
        typer.Option(
            parser=duration, metavar="AGE", help="Report unfinished jobs of at least this age."
        ),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default
    as_json: Json = False,
) -> None:
    """Print what is wrong, and what ends it.

    It sends the webhook an event about no file, and one with a wrong token unless one was refused
    in the last 10 minutes. It reads dead letters and gives them back. It changes nothing else and
    shows no secret.

    Status 0: healthy; 1: there are findings; 2: a part could not be checked.

    Example: `reportflow doctor --window 6h`
    """
    # Imported here, because `--help` needs no AWS.
    from cli.checks import CHECKS

    target = target_of(context)
    plan = Plan(window=window, unfinished=unfinished)
    with output.progress() as progress:
        checks = progress.track(CHECKS, description="check")
        found = [one for check in checks for one in findings(check, target, plan)]
    found.sort(key=lambda finding: list(Severity).index(finding.severity))
    console = output.out()
    for finding in found:
        if as_json:
            output.json_line(finding.as_json())
        else:
            console.print(finding.severity, style=output.COLOURS.get(finding.severity), end=" ")
            console.print(finding.what, markup=False)
            output.hanging("→", finding.remedy)
    severities = {finding.severity for finding in found}
    if severities & {Severity.CRITICAL, Severity.WARNING}:
        raise typer.Exit(ExitCode.FINDINGS)
    if Severity.UNKNOWN in severities:
        raise typer.Exit(ExitCode.UNABLE)
    output.note(f"{target.name}: healthy.", style="green")
