"""The options that choose the deployment, before or after the name of a command."""

import os
from pathlib import Path
from typing import Annotated, Any, Final, override

import typer
from typer.core import TyperCommand, TyperGroup

from cli.output import note
from cli.target import STATE_FILE, Choice, Target

_CHOSEN: Final = "cli.deployment"
_AWS_OPTIONS: Final = ("aws", "prefix", "profile", "region")
_LOCAL_OPTIONS: Final = ("local", "state")


def _keep(context: typer.Context, param: typer.CallbackParam, value: object) -> None:
    """Keep an option of the command line for `target_of`. The last one counts."""
    source = context.get_parameter_source(param.name or "")
    if source is None or source.name != "COMMANDLINE":
        return
    if not str(value).strip():
        # A script whose variable is not set must not reach the default deployment.
        raise typer.BadParameter(f"--{param.name} is empty. Give it a value, or leave it out.")
    context.meta.setdefault(_CHOSEN, {})[param.name] = value


def _option(name: str, text: str, **more: Any) -> Any:  # noqa: ANN401  (typer's own)
    kept: dict[str, Any] = {"callback": _keep, "expose_value": False}
    return typer.Option(name, help=text, rich_help_panel="Deployment", **kept, **more)


def _declared(
    prefix: Annotated[
        str | None,
        _option(
            "--prefix",
            "The deployment's stack_prefix. Environment: REPORTFLOW_PREFIX. Default: ReportFlow",
        ),
    ] = None,
    profile: Annotated[str | None, _option("--profile", "AWS profile.")] = None,
    region: Annotated[str | None, _option("--region", "AWS region.")] = None,
    aws: Annotated[
        bool, _option("--aws", "Use the deployment on AWS, even if a local system runs.")
    ] = False,
    local: Annotated[bool, _option("--local", "Use the local system.")] = False,
    state: Annotated[
        Path | None,
        _option(
            "--state",
            "The local system's state file. Environment: REPORTFLOW_STATE. Default: state.json, "
            "if it exists",
            metavar="FILE",
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
        """Return the command's own options, and those that choose the deployment."""
        return [*super().get_params(ctx), *_PARAMETERS]


class DeployedGroup(TyperGroup):
    """A group of such commands."""

    @override
    def get_params(self, ctx: Any) -> list[Any]:
        """See `DeployedCommand`."""
        return [*super().get_params(ctx), *_PARAMETERS]


def target_of(context: typer.Context, *, changes: bool = False) -> Target:
    """Find the deployment. Print its name, unless an option named it.

    With `--json` the name is printed only before a change. A command that `changes` something on
    AWS always prints it, because no option names the account.
    """
    target = chosen_by(context).find()
    chosen = context.meta.get(_CHOSEN, {})
    is_named = any(name in chosen for name in (*_LOCAL_OPTIONS, "prefix"))
    is_known = is_named or context.params.get("as_json")
    if not is_known or (changes and not target.is_local):
        note(f"On {target.name}.", style="dim")
    return target


def chosen_by(context: typer.Context) -> Choice:
    """Read the options and the environment."""
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
    return Choice(
        prefix=chosen.get("prefix") or prefix or "ReportFlow",
        profile=chosen.get("profile"),
        region=chosen.get("region"),
        aws=means_aws or bool(by_environment and prefix),
        local=means_local or bool(by_environment and state),
        state=chosen.get("state") or Path(state or STATE_FILE),
    )
