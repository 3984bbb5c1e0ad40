"""The options that choose the deployment, before or after the name of a command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, override

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from cli.target import Target

_CHOSEN: Final = "cli.deployment"
_PANEL: Final = "Deployment"
_AWS_OPTIONS: Final = ("aws", "prefix", "profile", "region")
_LOCAL_OPTIONS: Final = ("local", "state")


def _keep(context: typer.Context, param: typer.CallbackParam, value: object) -> None:
    """Keep an option of the command line for `target_of`; the last one counts."""
    source = context.get_parameter_source(param.name or "")
    if source is None or source.name != "COMMANDLINE":
        return
    if not str(value).strip():
        # A script whose variable is not set must not reach the default deployment.
        raise typer.BadParameter(f"--{param.name} is empty. Give it a value, or leave it out.")
    context.meta.setdefault(_CHOSEN, {})[param.name] = value


def _declared(
    prefix: Annotated[
        str | None,
        typer.Option(
            help="The deployment's stack_prefix. Environment: REPORTFLOW_PREFIX. "
            "Default: ReportFlow",
            callback=_keep,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="AWS profile.", callback=_keep, expose_value=False, rich_help_panel=_PANEL
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="AWS region.", callback=_keep, expose_value=False, rich_help_panel=_PANEL
        ),
    ] = None,
    aws: Annotated[
        bool,
        typer.Option(
            "--aws",
            help="Use the deployment on AWS, even if a local system runs.",
            callback=_keep,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Use the local system.",
            callback=_keep,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The local system's state file. Environment: REPORTFLOW_STATE. "
            "Default: state.json, if it exists",
            callback=_keep,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
) -> None:
    """Declare the options once; every command has them."""


def _parameters() -> list[Any]:
    declaring = typer.Typer(add_completion=False)
    declaring.command()(_declared)
    return list(typer.main.get_command(declaring).params)


_PARAMETERS: Final = _parameters()


class DeployedCommand(TyperCommand):
    """A command about a deployment."""

    @override
    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options, and those that choose the deployment."""
        return [*super().get_params(ctx), *_PARAMETERS]


class DeployedGroup(TyperGroup):
    """A group of such commands."""

    @override
    def get_params(self, ctx: Any) -> list[Any]:
        """See `DeployedCommand`."""
        return [*super().get_params(ctx), *_PARAMETERS]


def target_of(context: typer.Context, *, changes: bool = False) -> "Target":
    """The deployment that the user means. Prints which one, unless an option named it.

    With --json a program reads the result, and the name is printed only before a change.

    A command that `changes` something on AWS always prints it, because no option names the account.
    """
    from cli.output import tell
    from cli.target import STATE_FILE, Choice

    chosen: dict[str, Any] = context.meta.get(_CHOSEN, {})
    means_aws, means_local = (
        any(name in chosen for name in names) for names in (_AWS_OPTIONS, _LOCAL_OPTIONS)
    )
    if means_aws and means_local:
        raise typer.BadParameter(
            "--local and --state mean the local system. --aws, --prefix, --profile and --region "
            "mean AWS. Use one of the two."
        )
    prefix, state = os.environ.get("REPORTFLOW_PREFIX"), os.environ.get("REPORTFLOW_STATE")
    by_environment = not (means_aws or means_local)
    if by_environment and prefix and state:
        raise typer.BadParameter(
            "REPORTFLOW_PREFIX means AWS, and REPORTFLOW_STATE means the local system. Unset one "
            "of them, or use --aws or --local."
        )
    target = Choice(
        prefix=chosen.get("prefix") or prefix or "ReportFlow",
        profile=chosen.get("profile"),
        region=chosen.get("region"),
        aws=means_aws or bool(by_environment and prefix),
        local=means_local or bool(by_environment and state),
        state=chosen.get("state") or Path(state or STATE_FILE),
    ).find()
    is_known = means_local or "prefix" in chosen or context.params.get("as_json")
    if not is_known or (changes and not target.is_local):
        tell(f"On {target.name}.", style="dim")
    return target
