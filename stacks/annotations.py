"""Annotates the stacks with the errors and warnings that a synthesis reports."""

import re
from typing import Final

from aws_cdk import Annotations, Stack

from stacks.settings import DeploymentSettings

PLACEHOLDER: Final = re.compile(r"your-\w+-workspace")
"""The workspaces that cdk.json has when it is checked out."""


def annotate(settings: DeploymentSettings, *, pipeline: Stack, monitoring: Stack) -> None:
    """Add warnings, and an error, which stops the CDK CLI's deploy, diff and synth.

    The error is not an `InvalidSettings`, so `make synth` writes the templates of a fresh clone.
    """
    place = f"environments.{settings.environment}." if settings.environment else ""
    if PLACEHOLDER.fullmatch(settings.workspace_id):
        Annotations.of(pipeline).add_error(
            f"{place}workspace_id = {settings.workspace_id!r} is a placeholder: the owner of that "
            "workspace would receive your keys. Set it in cdk.json to your ReportFlow "
            "workspace, then deploy again."
        )
    if settings.removal_policy == "retain" and not settings.alarm_email:
        Annotations.of(monitoring).add_warning(
            f"{place}alarm_email is not set, so alarms reach nobody. Set it in cdk.json, or "
            "subscribe to the alarm topic."
        )
