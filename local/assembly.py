"""The cloud assembly: the CDK app synthesizes it, and a deployment is made from it."""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Self

from local import child
from local.paths import REPOSITORY

STACK = "aws:cloudformation:stack"
ASSETS = "cdk:asset-manifest"


class SynthesisError(RuntimeError):
    """The CDK app failed. The message is its output."""


class AssemblyError(RuntimeError):
    """The folder is not a cloud assembly, or has parts that this program does not know."""


@dataclass(frozen=True)
class Stack:
    """A stack: its CloudFormation template, and its assets' folders by object key."""

    name: str
    template: Mapping[str, Any]
    assets: Mapping[str, Path]


@dataclass(frozen=True)
class Assembly:
    """The stacks of a cloud assembly, each after the stacks that it depends on."""

    folder: Path
    stacks: tuple[Stack, ...]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads a cloud assembly.

        Raises:
            AssemblyError: the folder has none, or it has stages, or assets that are not
                folders.
        """
        manifest = folder / "manifest.json"
        if not manifest.is_file():
            raise AssemblyError(f"{folder} has no manifest.json: synthesize the app into it.")
        artifacts: Mapping[str, Any] = json.loads(manifest.read_text())["artifacts"]
        order = TopologicalSorter(
            {name: artifact.get("dependencies", ()) for name, artifact in artifacts.items()}
        )
        stacks = tuple(
            _load_stack(folder, name, artifacts)
            for name in order.static_order()
            if artifacts[name]["type"] == STACK
        )
        if not stacks:
            raise AssemblyError(f"{folder} has no stacks outside of stages.")
        return cls(folder, stacks)


def synthesize(settings: Mapping[str, str], outdir: Path) -> Assembly:
    """Runs the CDK app into `outdir`. The settings replace those of cdk.json's context.

    Raises:
        SynthesisError: the app failed, for instance because of a wrong setting.
    """
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(outdir.resolve()),
        "CDK_CONTEXT_JSON": json.dumps(dict(settings)),
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "app.log"
        app = child.spawn([sys.executable, "app.py"], environment, REPOSITORY, log)
        try:
            status = app.wait()
        except BaseException:
            # With its process group, because the app runs node.
            child.stop(app, grace_seconds=0)
            raise
        if status:
            raise SynthesisError(log.read_text().strip() or f"app.py ended with {status}.")
    return Assembly.load(outdir)


def _load_stack(folder: Path, artifact_name: str, artifacts: Mapping[str, Any]) -> Stack:
    artifact = artifacts[artifact_name]
    properties = artifact["properties"]
    assets: dict[str, Path] = {}
    for dependency in artifact.get("dependencies", ()):
        if artifacts[dependency]["type"] == ASSETS:
            assets |= _load_assets(folder, artifacts[dependency]["properties"]["file"])
    return Stack(
        name=properties.get("stackName", artifact_name),
        template=json.loads((folder / properties["templateFile"]).read_text()),
        assets=assets,
    )


def _load_assets(folder: Path, manifest_name: str) -> dict[str, Path]:
    manifest = json.loads((folder / manifest_name).read_text())
    if manifest.get("dockerImages"):
        raise AssemblyError(f"{manifest_name} has container images, which cannot run here.")
    assets = {}
    for asset in manifest.get("files", {}).values():
        # The stack's own template is listed, too: it is not a zipped folder.
        if asset["source"]["packaging"] != "zip":
            continue
        path = folder / asset["source"]["path"]
        for destination in asset["destinations"].values():
            assets[destination["objectKey"]] = path
    return assets
