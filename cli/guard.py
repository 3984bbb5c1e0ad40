"""The root of all commands: no stack trace for what a user can cause."""

import os
import sys
from typing import Any, Final, override

import typer

from cli.commands.deployment import DeployedGroup

BROKEN_PIPE: Final = 141


class Guarded(DeployedGroup):
    """Ends with a sentence and a meaningful status where an error would end with a trace."""

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run the command. Typer itself turns Ctrl-C into status 130."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough. Python would complain once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            # Imported here: it brings botocore along.
            from cli.failures import CliError, ExitCode, explain
            from cli.output import tell

            told = explain(error)
            if told is None:
                raise
            tell(told, style="red")
            code = error.exit_code if isinstance(error, CliError) else ExitCode.UNABLE
            raise typer.Exit(code) from None
        return result
