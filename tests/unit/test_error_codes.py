"""The registry of error codes, compared with the code that raises them."""

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import REPOSITORY
from cli.__main__ import app
from cli.dead_letters import NO_REASON
from cli.error_codes import ERROR_CODES, UNKNOWN, ErrorCode, find
from reportflow import errors
from reportflow.errors import Permanent, PipelineError, Retryable
from stacks.settings import DeploymentSettings

KINDS: dict[str, type[PipelineError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, PipelineError)
}
FOLDERS = ("layers/reportflow", "functions", "cli")
HTTP, AWS = "HTTP_", "AWS_"

each_code = pytest.mark.parametrize("entry", ERROR_CODES, ids=lambda entry: entry.code)


class Raised(ast.NodeVisitor):
    """Collects the codes that a module makes errors with, and their kinds."""

    def __init__(self, path: Path) -> None:
        self.found: list[tuple[str, type[PipelineError]]] = []
        self._path = path
        self._tree = ast.parse(path.read_text())
        self._classes: list[str] = []
        self.visit(self._tree)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._classes.append(node.name)
        self.generic_visit(node)
        self._classes.pop()

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = ast.unparse(node.func).rpartition(".")[2]
        if ast.unparse(node.func) == "super().__init__" and self._classes[-1] in KINDS:
            # A kind whose constructor takes no code has its own.
            if not takes_code(kind := KINDS[self._classes[-1]]):
                self.found.append((self._code(node), kind))
        elif name in KINDS and takes_code(KINDS[name]):
            self.found.append((self._code(node), KINDS[name]))

    def _code(self, call: ast.Call) -> str:
        named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
        given = [*call.args[:1], *named][0]
        values = list(self._values(given.id)) if isinstance(given, ast.Name) else [given]
        match values:
            case [ast.Constant(value=str(code))]:
                return code
            case [ast.JoinedStr(values=[ast.Constant(value=str(family)), *_])]:
                return family
        pytest.fail(
            f"{self._path}:{call.lineno}: write the error code as a literal in the call, so that "
            "this test can compare it with cli/error_codes.py"
        )

    def _values(self, name: str) -> Iterator[ast.expr]:
        """What the module assigns to a name."""
        for node in ast.walk(self._tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=assigned)], value=value):
                    pairs = [(assigned, value)]
                case ast.AnnAssign(target=ast.Name(id=assigned), value=ast.expr() as value):
                    pairs = [(assigned, value)]
                case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                    pairs = list(zip(map(ast.unparse, names), values, strict=False))
                case _:
                    continue
            yield from (value for assigned, value in pairs if assigned == name)


def takes_code(kind: type[PipelineError]) -> bool:
    return "code" in inspect.signature(kind).parameters


def raised(*folders: str) -> dict[str, set[type[PipelineError]]]:
    """The kinds by code; by prefix where a status or AWS's own code completes it."""
    kinds: defaultdict[str, set[type[PipelineError]]] = defaultdict(set)
    for folder in folders:
        for path in (REPOSITORY / folder).rglob("*.py"):
            for code, kind in Raised(path).found:
                kinds[code].add(kind)
    return kinds


def is_ours(code: str) -> bool:
    """Whether it is no part of a family, whose kinds test_error_tables.py compares."""
    return not re.match(rf"{HTTP}|{AWS}(?!UNREACHABLE)", code) and code != NO_REASON


def test_the_registry_has_each_code_that_is_raised_with_its_kinds_and_no_other() -> None:
    found = raised(*FOLDERS)

    registered = {entry.code: set(entry.kinds) for entry in ERROR_CODES if is_ours(entry.code)}
    assert {code: kinds for code, kinds in found.items() if is_ours(code)} == registered


def test_the_registry_has_the_kinds_of_families() -> None:
    for code, kinds in raised(*FOLDERS).items():
        if is_ours(code):
            continue
        own = find(code)
        entries = [own] if own else [one for one in ERROR_CODES if one.code.startswith(code)]
        assert kinds <= {kind for entry in entries for kind in entry.kinds}, code


def test_a_code_is_registered_once() -> None:
    codes = [entry.code for entry in ERROR_CODES]
    assert len(set(codes)) == len(codes)


@each_code
def test_what_kind_a_code_has_decides_whether_a_dead_letter_can_have_it(entry: ErrorCode) -> None:
    """A failure that costs no retry is never a message's last one, AWS's apart."""
    if any(issubclass(kind, Permanent) for kind in entry.kinds):
        assert entry.dead_letter
    elif entry.kinds and not any(costs_retry(kind) for kind in entry.kinds):
        assert not entry.dead_letter


def costs_retry(kind: type[PipelineError]) -> bool:
    # A download turns an unknown outcome into a `Retryable`.
    return kind.costs_retry if issubclass(kind, Retryable) else True


@pytest.mark.parametrize("entry", [*ERROR_CODES, UNKNOWN], ids=lambda entry: entry.code)
def test_a_remedy_says_what_its_commands_do(entry: ErrorCode) -> None:
    named = {word for word in ("redrive", "drop") if re.search(rf"\b{word}\b", entry.remedy)}
    if entry.code == "OUTCOME_UNKNOWN":
        assert named == {"redrive", "drop"}
    assert named == set(entry.dead_letter)


@each_code
def test_a_text_is_sentences_that_fit_into_a_table(entry: ErrorCode) -> None:
    for text in (entry.meaning, entry.remedy):
        assert re.fullmatch(r"[A-Z`][^|\n]*\.", text)
        assert text.count("`") % 2 == 0
        assert not re.search(r"(?<!dead )\bletters?\b|\bmend", text)


def test_what_a_text_names_is_there() -> None:
    text = " ".join(f"{entry.meaning} {entry.remedy}" for entry in ERROR_CODES)

    commands = {command.name for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"`reportflow ([\w-]+)", text)) <= commands
    settings = set(DeploymentSettings.model_fields)
    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text)) <= settings
