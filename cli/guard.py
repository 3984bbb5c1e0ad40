"""The root of all commands: a user's mistake ends in a sentence, never in a stack trace."""

import os
import sys
from typing import Any, override

import typer

from cli.commands.deployment import DeployedGroup
from cli.failures import CliError, ExitCode, explain
from cli.output import note


class Guarded(DeployedGroup):
    """Ends an error with a sentence and a meaningful status."""

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run the command. Typer itself turns Ctrl-C into status 130."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of the output has gone. Python would complain again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            text = explain(error)
            if text is None:
                raise
            note(text, style="red")
            code = error.exit_code if isinstance(error, CliError) else ExitCode.UNABLE
            raise typer.Exit(code) from None
        return result
