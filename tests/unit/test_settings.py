from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import fields

from reportflow.settings import (
    DownloaderSettings,
    InvalidEnvironment,
    SubmitterSettings,
    WebhookSettings,
    load,
)
from stacks.settings import DeploymentSettings

KINDS = [SubmitterSettings, WebhookSettings, DownloaderSettings]


def complete(kind: type[Any]) -> dict[str, str]:
    return {field.name.upper(): "7" for field in fields(kind)}


def mistakes(kind: type[Any], environment: Mapping[str, str]) -> str:
    with pytest.raises(InvalidEnvironment) as invalid:
        load(kind, environment)
    return str(invalid.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_missing_variable_is_named_at_once(kind: type[Any]) -> None:
    said = mistakes(kind, {})

    for name in complete(kind):
        assert f"{name} is missing" in said
    assert kind.__name__ in said


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_text_is_a_mistake(kind: type[Any]) -> None:
    said = mistakes(kind, {**complete(kind), "SECRET_ARN": ""})

    assert "SECRET_ARN is empty" in said


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5", " 1", "1e3"])
def test_a_malformed_number_is_named_with_its_value(text: str) -> None:
    environment = {**complete(DownloaderSettings), "MAX_FILE_BYTES": text, "STATUS_TTL_DAYS": text}
    said = mistakes(DownloaderSettings, environment)

    assert f"MAX_FILE_BYTES must be a whole number, not {text!r}" in said
    assert "STATUS_TTL_DAYS" in said


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_typed_and_other_variables_ignored(kind: type[Any]) -> None:
    settings = load(kind, {**complete(kind), "AWS_REGION": "x"})

    for field in fields(kind):
        assert isinstance(getattr(settings, field.name), (str, int, tuple))
    assert settings.secret_arn == "7"


@pytest.mark.parametrize(
    ("text", "buckets"),
    [("", ()), ("one", ("one",)), ("one,two", ("one", "two")), (" one , ,two,", ("one", "two"))],
)
def test_payload_buckets_are_a_list_that_may_be_empty(text: str, buckets: tuple[str, ...]) -> None:
    environment = {**complete(SubmitterSettings), "PAYLOAD_BUCKETS": text}

    assert load(SubmitterSettings, environment).payload_buckets == buckets


def test_settings_do_not_change() -> None:
    settings = load(WebhookSettings, complete(WebhookSettings))

    with pytest.raises(AttributeError, match="immutable"):
        settings.workspace_id = "other"  # type: ignore[misc]  # that it is refused is the test


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_loads_what_its_deployment_chose(kind: type[Any]) -> None:
    """The variables of the template come from the same fields as the loader's."""
    deployment = DeploymentSettings(workspace_id="acme", payload_buckets=("one", "two"))
    names = {field.name for field in fields(kind)}
    resources = {name: f"the {name}" for name in names if not hasattr(deployment, name)}

    settings = load(kind, deployment.variables(kind, resources))

    for name in names:
        wanted = resources.get(name) or getattr(deployment, name)
        assert getattr(settings, name) == wanted
