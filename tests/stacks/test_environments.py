"""Deployments side by side, and how an environment becomes stacks."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stacks.annotations import PLACEHOLDER
from stacks.packaging import REPOSITORY
from tests.stacks.released import STACKS, schema_of
from tests.stacks.synthesis import run_app
from tests.stacks.template import Template


def templates(assembly: Path) -> list[Template]:
    found = [Template.read(path) for path in assembly.glob("*.template.json")]
    assert len(found) == len(STACKS)
    return found


def physical_names(assembly: Path) -> Iterator[str]:
    """Names that the template chooses itself, each with its type: others may not have them."""
    for template in templates(assembly):
        for resource in template.resources.values():
            kind = resource["Type"]
            if kind == "AWS::Lambda::Alias":
                continue  # Its function has the name to itself.
            for path in schema_of(kind).get("createOnlyProperties", ()):
                key = path.rpartition("/")[2]
                value = resource.get("Properties", {}).get(key)
                # What an intrinsic names belongs to the stack, and a stage to its API.
                if key.endswith("Name") and isinstance(value, str) and key != "StageName":
                    yield f"{kind} {value}"
                if key == "Name" and isinstance(value, str):
                    yield f"{kind} {value}"


def namespaces(assembly: Path) -> Iterator[str]:
    for template in templates(assembly):
        for resource in template.resources.values():
            properties: dict[str, Any] = resource.get("Properties", {})
            namespace = properties.get("Namespace", "AWS/")
            if not namespace.startswith("AWS/"):
                yield namespace
            variables = properties.get("Environment", {}).get("Variables", {})
            if "POWERTOOLS_METRICS_NAMESPACE" in variables:
                yield variables["POWERTOOLS_METRICS_NAMESPACE"]


def stacks(assembly: Path) -> dict[str, dict[str, Any]]:
    artifacts = json.loads((assembly / "manifest.json").read_text())["artifacts"]
    return {
        name: artifact["properties"]
        for name, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
    }


def test_two_deployments_share_no_name(cloud_assembly: Path, changed_assembly: Path) -> None:
    for names in (
        physical_names,
        namespaces,
        lambda assembly: (name for each in templates(assembly) for name in each.exports()),
        lambda assembly: iter(stacks(assembly)),
    ):
        one, other = set(names(cloud_assembly)), set(names(changed_assembly))
        assert one
        assert other
        assert not one & other


def test_stacks_that_are_retained_are_protected_from_deletion(
    cloud_assembly: Path, changed_assembly: Path
) -> None:
    protected, open_to_it = stacks(cloud_assembly), stacks(changed_assembly)
    assert all(stack["terminationProtection"] for stack in protected.values())
    assert not any(stack.get("terminationProtection") for stack in open_to_it.values())


def test_an_unknown_environment_is_reported_without_a_trace(tmp_path: Path) -> None:
    done = run_app(tmp_path / "cdk.out", {"environment": "stage"})
    assert done.returncode == 1
    assert "environment = 'stage': must be one of dev, prod" in done.stderr
    assert "Traceback" not in done.stderr


def test_cdk_json_is_checked_out_with_placeholders() -> None:
    shipped = json.loads((REPOSITORY / "cdk.json").read_text())["context"]["environments"]
    assert all(PLACEHOLDER.fullmatch(each["workspace_id"]) for each in shipped.values())


def test_placeholder_and_missing_alarm_address_are_reported(tmp_path: Path) -> None:
    done = run_app(
        tmp_path / "cdk.out",
        {"environment": "prod", "workspace_id": "your-own-workspace", "alarm_email": ""},
    )
    assert done.returncode == 1
    place = "environments.prod"
    assert f"Warning in ReportFlow-prod-Monitoring: {place}.alarm_email is not set" in done.stderr
    wrong = f"{place}.workspace_id = 'your-own-workspace' is a placeholder"
    assert f"Error in ReportFlow-prod-Pipeline: {wrong}" in done.stderr
    marks = json.loads((tmp_path / "cdk.out/ReportFlow-prod-Pipeline.metadata.json").read_text())
    assert "aws:cdk:error" in {mark["type"] for mark in marks["/ReportFlow-prod-Pipeline"]}


def test_complete_settings_are_not_complained_about(tmp_path: Path) -> None:
    named = {"environment": "prod", "workspace_id": "acme"}
    done = run_app(tmp_path / "cdk.out", named | {"alarm_email": "night-shift@example.com"})
    assert done.stderr == ""
    assert done.stdout.split() == [
        f"{os.path.relpath(tmp_path / 'cdk.out')}/ReportFlow-prod-{stack}.template.json"
        for stack in STACKS
    ]
