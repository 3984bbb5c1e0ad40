import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.assembly import Assembly, AssemblyError, SynthesisError, synthesize


def write_assembly(folder: Path, artifacts: Mapping[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))


def stack(folder: Path, name: str, *dependencies: str) -> dict[str, Any]:
    (folder / f"{name}.json").write_text(json.dumps({"Description": name}))
    return {
        "type": "aws:cloudformation:stack",
        "properties": {"templateFile": f"{name}.json", "stackName": f"Deployed-{name}"},
        "dependencies": dependencies,
    }


def assets(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    (folder / "assets.json").write_text(json.dumps(manifest))
    return {"type": "cdk:asset-manifest", "properties": {"file": "assets.json"}}


def asset(path: str, packaging: str, key: str) -> dict[str, Any]:
    return {
        "source": {"path": path, "packaging": packaging},
        "destinations": {"account-region": {"objectKey": key}},
    }


def test_stacks_come_after_those_they_depend_on_under_their_deployed_names(tmp_path: Path) -> None:
    write_assembly(
        tmp_path,
        {
            "Last": stack(tmp_path, "Last", "Middle"),
            "Middle": stack(tmp_path, "Middle", "First"),
            "Tree": {"type": "cdk:tree"},
            "First": stack(tmp_path, "First"),
        },
    )
    stacks = Assembly.load(tmp_path).stacks
    assert [each.name for each in stacks] == ["Deployed-First", "Deployed-Middle", "Deployed-Last"]
    assert [each.template["Description"] for each in stacks] == ["First", "Middle", "Last"]


def test_packages_are_found_by_the_key_that_the_template_names(tmp_path: Path) -> None:
    files = {"a": asset("asset.a", "zip", "a.zip"), "t": asset("S.json", "file", "t.json")}
    write_assembly(
        tmp_path,
        {"S": stack(tmp_path, "S", "S.assets"), "S.assets": assets(tmp_path, {"files": files})},
    )
    assert Assembly.load(tmp_path).stacks[0].assets == {"a.zip": tmp_path / "asset.a"}


def test_container_images_are_refused(tmp_path: Path) -> None:
    write_assembly(
        tmp_path,
        {
            "S": stack(tmp_path, "S", "S.assets"),
            "S.assets": assets(tmp_path, {"dockerImages": {"i": {}}}),
        },
    )
    with pytest.raises(AssemblyError, match="images"):
        Assembly.load(tmp_path)


def test_a_folder_without_an_assembly_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="manifest"):
        Assembly.load(tmp_path)
    write_assembly(tmp_path, {"Tree": {"type": "cdk:tree"}})
    with pytest.raises(AssemblyError, match="no stacks"):
        Assembly.load(tmp_path)


def test_a_refusal_of_the_app_is_reported_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="no_such_setting") as refused:
        synthesize({"no_such_setting": "1"}, tmp_path / "out")
    assert "Traceback" not in str(refused.value)
    assert not (tmp_path / "out" / "manifest.json").exists()
