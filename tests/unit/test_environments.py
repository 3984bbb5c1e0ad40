import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stacks.context import InvalidSettings, context_of
from stacks.environments import paths, with_environment
from stacks.packaging import REPOSITORY
from stacks.settings import DeploymentSettings

SHIPPED: Mapping[str, Any] = json.loads((REPOSITORY / "cdk.json").read_text())["context"]

SHARED: Mapping[str, object] = {
    "max_file_mb": 20,
    "environments": {
        "dev": {"workspace_id": "acme-dev", "stack_prefix": "Dev", "log_level": "DEBUG"},
        "prod": {"workspace_id": "acme", "stack_prefix": "Prod", "log_level": "WARNING"},
    },
}


def given(**options: object) -> Mapping[str, object]:
    """What the app is given: cdk.json, and `-c` over it."""
    return with_environment({**SHARED, **options}, shared=SHARED)


def mistakes(shared: Mapping[str, object], **options: object) -> list[str]:
    with pytest.raises(InvalidSettings) as refused:
        with_environment({**shared, **options}, shared=shared)
    return [line.strip() for line in str(refused.value).splitlines()[1:]]


@pytest.mark.parametrize("name", SHIPPED["environments"])
def test_every_shipped_environment_is_without_mistake(name: str) -> None:
    context = with_environment({**SHIPPED, "environment": name}, shared=SHIPPED)
    settings = DeploymentSettings.from_context(context)
    assert settings.environment == name


def test_a_mistake_in_an_environment_is_named_by_its_place_in_cdk_json() -> None:
    shared = {
        "max_attempts": 0,
        "environments": {"prod": {"workspace_id": "-", "log_level": "LOUD", "status_ttl_days": 1}},
    }
    received = {**shared, "environment": "prod", "workspace_id": "/"}

    with pytest.raises(InvalidSettings) as refused:
        DeploymentSettings.from_context(
            with_environment(received, shared=shared), paths(received, shared=shared)
        )

    named = [line.split(" = ")[0].strip() for line in str(refused.value).splitlines()[1:]]
    assert named == [
        "environments.prod.log_level",
        "max_attempts",
        "workspace_id",
        "environments.prod.status_ttl_days",
    ]


def test_production_keeps_what_the_other_may_lose() -> None:
    dev, prod = (
        DeploymentSettings.from_context(
            with_environment({**SHIPPED, "environment": name}, shared=SHIPPED)
        )
        for name in ("dev", "prod")
    )
    assert (dev.removal_policy, prod.removal_policy) == ("destroy", "retain")
    assert prod.archive_expiry_days == 0
    assert dev.log_retention_days < prod.log_retention_days
    assert dev.stack_prefix != prod.stack_prefix
    assert SHIPPED["environment"] == "dev"


def test_an_environment_brings_its_settings_beside_the_shared_ones() -> None:
    assert given(environment="prod") == {
        "environment": "prod",
        "workspace_id": "acme",
        "stack_prefix": "Prod",
        "log_level": "WARNING",
        "max_file_mb": 20,
    }


def test_the_command_line_has_the_last_word() -> None:
    assert given(environment="prod", log_level="DEBUG")["log_level"] == "DEBUG"
    assert given(environment="prod", max_file_mb="7")["max_file_mb"] == "7"


def test_without_an_environment_none_of_their_settings_count() -> None:
    assert given(environment="") == {"environment": "", "max_file_mb": 20}
    assert given() == {"max_file_mb": 20}


def test_an_unknown_environment_is_reported_with_the_known() -> None:
    assert mistakes(SHARED, environment="stage") == [
        "environment = 'stage': must be one of dev, prod"
    ]


def test_a_setting_that_appears_twice_is_reported() -> None:
    (mistake,) = mistakes(
        {**SHARED, "log_level": "INFO", "environments": {"dev": {"log_level": 1}}}
    )
    assert mistake == "log_level is set in environments.dev and beside environments: keep one"


def test_two_environments_do_not_share_a_workspace() -> None:
    same = {
        "a": {"workspace_id": "acme", "stack_prefix": "A"},
        "b": {"workspace_id": "acme", "stack_prefix": "B"},
    }
    (mistake,) = mistakes({"environments": same}, environment="a")
    assert "workspace_id = 'acme' in a, b" in mistake


@pytest.mark.parametrize(
    ("shared", "prefix"),
    [
        ({"environments": {"a": {"stack_prefix": "Acme"}, "b": {"stack_prefix": "Acme"}}}, "Acme"),
        ({"environments": {"a": {}, "b": {"stack_prefix": "ReportFlow"}}}, "ReportFlow"),
        ({"environments": {"a": {}, "b": {}}}, "ReportFlow"),
        ({"stack_prefix": "Acme", "environments": {"a": {}, "b": {}}}, "Acme"),
    ],
    ids=["both named", "one by default", "both by default", "named for all"],
)
def test_two_environments_do_not_share_their_stacks(
    shared: Mapping[str, object], prefix: str
) -> None:
    """One environment's removal policy would hold for the other's archive."""
    (mistake,) = mistakes(shared, environment="a")
    assert f"stack_prefix = {prefix!r} in a, b" in mistake


def test_an_environment_is_not_deployed_over_another_ones_stacks() -> None:
    (mistake,) = mistakes(SHARED, environment="dev", stack_prefix="Prod")
    assert mistake.startswith("stack_prefix = 'Prod': these are the stacks of environment prod")
    assert "environment dev would overwrite" in mistake


@pytest.mark.parametrize("chosen", [{}, {"environment": ""}])
def test_without_an_environment_nothing_is_deployed_over_ones_stacks(
    chosen: Mapping[str, str],
) -> None:
    (mistake,) = mistakes(SHARED, stack_prefix="Prod", **chosen)
    assert "a deployment without an environment would overwrite" in mistake
    by_default: Mapping[str, object] = {"environments": {"prod": {}}}
    (mistake,) = mistakes(by_default, **chosen)
    assert mistake.startswith("stack_prefix = 'ReportFlow': these are the stacks of environment")


def test_a_prefix_of_ones_own_is_allowed_on_the_command_line() -> None:
    assert given(environment="dev", stack_prefix="Trial")["stack_prefix"] == "Trial"
    assert given(environment="prod", stack_prefix="Prod")["stack_prefix"] == "Prod"


@pytest.mark.parametrize("environments", ["dev", {"dev": "quick"}])
def test_environments_of_another_shape_are_reported(environments: object) -> None:
    (mistake,) = mistakes({"environments": environments})
    assert mistake.startswith("environments: must hold")


def test_an_unknown_setting_of_an_environment_is_reported() -> None:
    shared = {"environments": {"dev": {"workspace_id": "acme", "log_lvel": "INFO"}}}
    context = with_environment({**shared, "environment": "dev"}, shared=shared)
    with pytest.raises(InvalidSettings, match="did you mean log_level"):
        DeploymentSettings.from_context(context)


def test_a_file_that_is_no_json_is_reported_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "cdk.json"
    file.write_text('{\n  "context": {"environment": "dev",}\n}\n')
    with pytest.raises(InvalidSettings, match=r"cdk\.json is not JSON: line 2, column 35: "):
        context_of(file)


def test_a_file_without_a_context_has_no_settings(tmp_path: Path) -> None:
    file = tmp_path / "cdk.json"
    file.write_text('{"app": "python app.py"}')
    assert context_of(file) == {}
