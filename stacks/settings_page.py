"""Writes docs/settings.md: `python -m stacks.settings_page`, or `make docs`."""

from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from stacks.conflicts import CONDITIONS
from stacks.setting_types import allowed
from stacks.settings import DeploymentSettings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/settings.md"

_HEAD: Final = """\
# Settings

`make docs` writes this page from `stacks/settings.py` and `stacks/conflicts.py`. A test fails if it
is not current.

Write settings into `cdk.json` under `context`, or give them as `-c KEY=VALUE` to the CDK CLI and as
`--set KEY=VALUE` to `reportflow local up`. The CDK app reports all mistakes at once, before it
deploys anything. [limits.md](limits.md) lists the resulting throughput, sizes, times and cost.
"""

_ADDING: Final = """\
## How to add a setting

1. Declare it once, as a field of `DeploymentSettings` in `stacks/settings.py`: type and bounds,
   default, and its meaning as the text below it. A type that no other setting has goes into
   `stacks/setting_types.py`.
2. If a function reads it, add a field of the same name to the function's class in
   `layers/reportflow/reportflow/settings.py`. The template then sets the environment variable and
   the function loads it. A field may also name a property of `DeploymentSettings`, such as
   `max_file_bytes`. If a stack reads the setting, use `settings.NAME` there.
3. If it must fit other settings, add a `Condition` to `stacks/conflicts.py`: a sentence and its
   check.
4. Run `make docs`, and give the setting another value in `tests/stacks/synthesis.py`.
   `tests/stacks/test_settings_reach_template.py` fails until the setting has an effect.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            _HEAD,
            "| Setting | Meaning | Allowed | Default |",
            "|---|---|---|---|",
            *(_row(name, setting) for name, setting in DeploymentSettings.model_fields.items()),
            "",
            "## What must fit together",
            "",
            *(f"- {condition.sentence}" for condition in CONDITIONS),
            "",
            _ADDING,
        ]
    )


def _row(name: str, setting: FieldInfo) -> str:
    meaning = " ".join((setting.description or "").split())
    cells = (f"`{name}`", meaning, allowed(setting), _default(setting))
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "required"
    others = {"workspace_id": "{workspace_id}", "contract": "workspace"}
    default = setting.get_default(call_default_factory=True, validated_data=others)
    return f"`{default}`" if default not in {"", ()} else "none"


if __name__ == "__main__":
    PAGE.write_text(page())
