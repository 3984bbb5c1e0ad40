"""For operators and upstream systems of a ReportFlow pipeline, on AWS or on this machine.

Exit status: 0 done; 1 looked and found something wrong, or not everything was done; 2 could not
look, or was asked for what there is not; 130 interrupted. Every command can be run again.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands import dlq, doctor, jobs, keys, schema, submit, webhook
from cli.commands.options import Said
from cli.guard import Guarded

app = typer.Typer(
    cls=Guarded,
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def choose(
    context: typer.Context,
    prefix: Annotated[
        str | None,
        typer.Option(
            envvar="REPORTFLOW_PREFIX",
            help="The deployment's stack_prefix. Default: ReportFlow",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="AWS profile.", show_default=False)] = None,
    region: Annotated[str | None, typer.Option(help="AWS region.", show_default=False)] = None,
    aws: Annotated[
        bool, typer.Option("--aws", help="The deployment on AWS, whatever runs here.")
    ] = False,
    local: Annotated[
        bool, typer.Option("--local", help="The system of `python -m local up`.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            envvar="REPORTFLOW_STATE",
            help="Its state file; where it is there, --local need not be said. Default: state.json",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Keep the choice of the deployment for the command."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    said = Said(
        aws=aws,
        local=local,
        prefix=prefix,
        profile=profile,
        region=region,
        state=state,
        options=frozenset(
            name for name, source in sources.items() if source and source.name == "COMMANDLINE"
        ),
    )
    for name, text in {"prefix": prefix, "profile": profile, "region": region}.items():
        if text is not None and not text.strip():
            # As where a script's variable is not set: the default would be another deployment.
            raise typer.BadParameter(f"--{name} is empty: name it, or leave it out")
    if said.means_aws and said.means_local:
        raise typer.BadParameter(
            "--local and --state mean this machine; --aws, --prefix, --profile and --region mean "
            "AWS: say one of the two"
        )
    context.obj = said


app.command("submit")(submit.submit)
app.command("status")(jobs.status)
app.command("watch")(jobs.watch)
app.command("list")(jobs.list_jobs)
app.command("fetch")(jobs.fetch)
app.add_typer(dlq.app, name="dlq")
app.command("doctor")(doctor.doctor)
app.command("schema")(schema.show)
app.command("set-keys")(keys.set_keys)
app.command("set-signing-secret")(keys.set_signing_secret)
app.command("webhook-url")(webhook.webhook_url)
app.command("rotate-webhook-secret")(webhook.rotate_webhook_secret)


if __name__ == "__main__":
    app(prog_name="python -m cli")
