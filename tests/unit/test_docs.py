"""The pages under docs/ name what is there: files, tests, constants and settings."""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stacks.settings import DeploymentSettings

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
HEADINGS = re.compile(r"^#+ (.+)$", re.MULTILINE)
DEFAULTS = {name: each.default for name, each in DeploymentSettings.model_fields.items()}


def _found(pattern: str) -> list[Any]:
    """All that the pages say in one form, each as a parameter named after its page."""
    return [
        pytest.param(page, *match.groups(), id=f"{page.stem}: {match[0]}")
        for page in PAGES
        for match in re.finditer(pattern, page.read_text())
    ]


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(("page", "target"), _found(r"\]\((?!https?:)([^)]+)\)"))
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.exists()
    if anchor:
        assert anchor in {_anchor(heading) for heading in HEADINGS.findall(linked.read_text())}


@pytest.mark.parametrize(("page", "file", "test"), _found(r"`([\w/]+\.py)::(\w+)`"))
def test_a_named_test_exists(page: Path, file: str, test: str) -> None:
    assert f"\ndef {test}(" in (REPOSITORY / "tests" / file).read_text()


def test_every_page_is_in_the_index() -> None:
    index = (REPOSITORY / "docs/README.md").read_text()
    pages = {page.name for page in PAGES} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


PREFIXES = "benchmarks|cli|docs|functions|layers|local|scripts|stacks|tests"


@pytest.mark.parametrize(("page", "path"), _found(rf"`((?:{PREFIXES})/[\w./-]*)`"))
def test_a_named_file_exists(page: Path, path: str) -> None:
    assert (REPOSITORY / path).exists()


@pytest.mark.parametrize(("page", "name", "value"), _found(r"`(\w+) = ([\w.-]+)`"))
def test_a_quoted_default_is_the_settings_own(page: Path, name: str, value: str) -> None:
    assert value == str(DEFAULTS[name])


@pytest.mark.parametrize(("page", "name", "value"), _found(r"`([a-z]\w*(?:\.\w+)+) = ([^`]+)`"))
def test_a_quoted_constant_is_the_codes_own(page: Path, name: str, value: str) -> None:
    assert _evaluated(value) == _constant(name)


def _constant(name: str) -> object:
    module, _, constant = name.rpartition(".")
    path = Path(*module.split(".")).with_suffix(".py")
    source = REPOSITORY / ("layers/reportflow" if module.startswith("reportflow.") else "") / path
    [value] = _assigned(ast.parse(source.read_text()), constant)
    return _evaluated(ast.unparse(value))


def _assigned(module: ast.Module, name: str) -> Iterator[ast.expr]:
    for statement in module.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        if [name] == [ast.unparse(target) for target in targets]:
            assert isinstance(statement, ast.Assign | ast.AnnAssign)
            assert statement.value is not None
            yield statement.value


def _evaluated(expression: str) -> object:
    return eval(expression, {"timedelta": timedelta})  # noqa: S307  (written in this repository)
