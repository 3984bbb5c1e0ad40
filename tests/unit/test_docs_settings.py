"""docs/settings.md is what the settings say."""

import ast
import inspect
from dataclasses import fields

from stacks import conflicts, settings_page
from stacks.settings import DeploymentSettings


def test_the_page_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `make docs`"


def test_every_setting_has_a_row_with_its_meaning_and_values() -> None:
    lines = settings_page.page().splitlines()
    for setting in fields(DeploymentSettings):
        [row] = [line for line in lines if line.startswith(f"| `{setting.name}` | ")]
        assert setting.metadata["doc"] in row
        assert setting.metadata["rule"].allowed in row


def test_every_conflict_that_is_checked_is_told() -> None:
    checked = {
        frozenset(ast.literal_eval(node))
        for node in ast.walk(ast.parse(inspect.getsource(conflicts)))
        if isinstance(node, ast.Set)
    }
    assert checked == settings_page.RELATIONS.keys()
