"""docs/settings.md is what the settings say."""

from stacks import settings_page
from stacks.conflicts import CONDITIONS
from stacks.setting_types import allowed
from stacks.settings import DeploymentSettings


def test_the_page_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page(), "run `make docs`"


def test_every_setting_has_a_row_with_its_meaning_and_values() -> None:
    lines = settings_page.page().splitlines()
    for name, setting in DeploymentSettings.model_fields.items():
        [row] = [line for line in lines if line.startswith(f"| `{name}` | ")]
        assert setting.description
        assert " ".join(setting.description.split()) in row
        assert allowed(setting) in row


def test_every_condition_is_on_the_page() -> None:
    lines = settings_page.page().splitlines()
    assert all(f"- {condition.sentence}" in lines for condition in CONDITIONS)
