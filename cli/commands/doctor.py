"""`doctor`: what is wrong with a deployment, and the command that ends it."""

from datetime import timedelta
from typing import Annotated

import typer

from cli.commands.options import Json, duration, target_of


def doctor(
    context: typer.Context,
    window: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="How far back the metrics are read."),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default
    unfinished: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="AGE", help="Unfinished jobs so old are told."),
    ] = "1h",  # type: ignore[assignment]
    as_json: Json = False,
) -> None:
    """Verify a deployment from outside, and find what is wrong.

    It sends the webhook two events that are about no file, one of them with a wrong token, and
    receives dead letters, which it gives back. Nothing else is touched, no secret is shown.

    Status 0: healthy; 1: there are findings; 2: a part of it could not be looked at.
    """
    from cli import checks, output
    from cli.failures import ExitCode

    target = target_of(context)
    plan = checks.Plan(window=window, unfinished=unfinished)
    findings: list[checks.Finding] = []
    with output.progress() as progress:
        for check in progress.track(checks.CHECKS, description="look"):
            findings += checks.findings(check, target, plan)
    findings.sort(key=lambda finding: list(checks.Severity).index(finding.severity))
    if as_json:
        for finding in findings:
            output.json_line(finding.as_json())
    elif findings:
        console = output.out()
        for finding in findings:
            colour = output.COLOURS.get(finding.severity, "")
            console.print(f"[{colour}]{finding.severity}[/] ", end="")
            console.print(finding.what, markup=False)
            console.print(f"  → {finding.remedy}", markup=False)
    severities = {finding.severity for finding in findings}
    if severities & {checks.Severity.CRITICAL, checks.Severity.WARNING}:
        raise typer.Exit(ExitCode.FINDINGS)
    if checks.Severity.UNKNOWN in severities:
        raise typer.Exit(ExitCode.UNABLE)
    output.tell(f"{target.name}: healthy.", style="green")
