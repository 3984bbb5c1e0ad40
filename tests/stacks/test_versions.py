"""Each deployment of a function is one version, which is called only once it is complete."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from cli import checks
from stacks.functions import ALIAS
from stacks.packaging import REPOSITORY
from tests.stacks.released import dangers
from tests.stacks.template import Template, called, reference, references

ALIASES = "AWS::Lambda::Alias"
INTEGRATION = "AWS::ApiGatewayV2::Integration"
PERMISSION = "AWS::Lambda::Permission"
SOURCE = "AWS::Lambda::EventSourceMapping"
FUNCTION = "AWS::Lambda::Function"
VERSION = "AWS::Lambda::Version"
NAMES = {"submitter", "webhook", "downloader"}

PIPELINES = """
import json, shutil, sys
from pathlib import Path
import app
app._find_node()
from aws_cdk import App
from stacks import functions
from stacks.context import context_of
from stacks.pipeline import PipelineStack
from stacks.settings import DeploymentSettings
from stacks.storage import StorageStack

folder, shared = Path(sys.argv[1]), context_of(Path("cdk.json"))
shipped = functions.function_package, functions.shared_layer, functions.vendor_layer

def pipeline(**chosen):
    settings = DeploymentSettings.from_context({"workspace_id": "acme", **chosen})
    cdk = App(context={**shared, "aws:cdk:disable-asset-staging": True})
    storage = StorageStack(cdk, "Storage", settings=settings)
    PipelineStack(cdk, "Pipeline", settings=settings, storage=storage)
    return cdk.synth().get_stack_by_name("Pipeline").template

def edited(package):
    copy = folder / package.name
    shutil.copytree(package, copy)
    (copy / "edited.txt").write_text("edited")
    return copy

made = {"as shipped": pipeline()}
made["setting"] = pipeline(status_ttl_days=400)
made["memory"] = pipeline(webhook_memory_mb=1024)
made["logs"] = pipeline(log_retention_days=90)
functions.function_package = lambda name: (
    edited(shipped[0](name)) if name == "webhook" else shipped[0](name)
)
made["code"] = pipeline()
functions.function_package, functions.shared_layer = shipped[0], lambda: edited(shipped[1]())
made["shared layer"] = pipeline()
functions.shared_layer, functions.vendor_layer = shipped[1], lambda of: edited(shipped[2](of))
made["vendor layer"] = pipeline()
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Template]:
    """The pipeline's template as it is shipped, and after one change each."""
    done = subprocess.run(
        [sys.executable, "-c", PIPELINES, str(tmp_path_factory.mktemp("edited"))],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {what: Template(made) for what, made in json.loads(done.stdout).items()}


def versions(template: Template) -> Mapping[str, str]:
    """The version that each function's alias names."""
    functions, published = template.of_type(FUNCTION), template.of_type(VERSION)
    named = {}
    for alias in template.of_type(ALIASES).values():
        version = reference(alias["FunctionVersion"])
        function = reference(alias["FunctionName"])
        assert reference(published[version]["FunctionName"]) == function
        variables = functions[function]["Environment"]["Variables"]
        named[variables["POWERTOOLS_SERVICE_NAME"]] = version
    return named


@pytest.mark.parametrize(
    ("change", "published"),
    [
        ("logs", set()),
        ("setting", {"submitter", "downloader"}),
        ("memory", {"webhook"}),
        ("code", {"webhook"}),
        ("shared layer", NAMES),
        ("vendor layer", NAMES),
    ],
)
def test_a_version_is_published_when_code_layers_or_configuration_change(
    pipelines: Mapping[str, Template], change: str, published: set[str]
) -> None:
    """CloudFormation publishes when the version's logical id is another one."""
    before, after = versions(pipelines["as shipped"]), versions(pipelines[change])
    assert before.keys() == after.keys() == NAMES
    assert {name for name in NAMES if before[name] != after[name]} == published


def test_everything_that_calls_a_function_calls_its_alias(pipeline: Template) -> None:
    """A caller without an alias would meet new code with old layers during an upgrade."""
    callers: list[Any] = [
        *(source["FunctionName"] for source in pipeline.of_type(SOURCE).values()),
        *(api["IntegrationUri"] for api in pipeline.of_type(INTEGRATION).values()),
        *(allowed["FunctionName"] for allowed in pipeline.of_type(PERMISSION).values()),
    ]
    assert {called(pipeline, caller) for caller in callers} == pipeline.of_type(FUNCTION).keys()
    assert {alias["Name"] for alias in pipeline.of_type(ALIASES).values()} == {ALIAS}


def test_doctor_looks_at_the_alias_that_is_called() -> None:
    assert checks.ALIAS == ALIAS


def test_nothing_else_names_a_function_that_it_could_call(pipeline: Template) -> None:
    functions = pipeline.of_type(FUNCTION).keys()
    naming = {
        resource["Type"]
        for resource in pipeline.resources.values()
        if functions & set(references(resource.get("Properties", {})))
    }
    assert naming == {ALIASES, VERSION}


def test_a_new_target_is_called_only_once_that_is_allowed(pipeline: Template) -> None:
    permissions = pipeline.of_type(PERMISSION).keys()
    for name in pipeline.of_type(INTEGRATION):
        assert set(pipeline.resources[name]["DependsOn"]) >= permissions


def test_the_version_before_stays_for_the_calls_that_still_reach_it(pipeline: Template) -> None:
    """Unless the deployment that published it failed: nothing is published twice."""
    for name in pipeline.of_type(VERSION):
        assert pipeline.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_an_upgrade_moves_an_event_source_and_replaces_none(pipeline: Template) -> None:
    """A second event source on the queue would be made before the first is gone."""
    for name, source in pipeline.of_type(SOURCE).items():
        document = dict(pipeline.document)
        function = called(pipeline, source["FunctionName"])
        released = {
            **pipeline.resources[name],
            "Properties": {**source, "FunctionName": {"Ref": function}},
        }
        before = Template({**document, "Resources": {name: released}})
        assert list(dangers(before, pipeline)) == []
