"""What is told at synthesis: what no deployment may go ahead with, and what is odd in one."""

import re
from typing import Final

from aws_cdk import Annotations, Stack

from stacks.settings import DeploymentSettings

PLACEHOLDER: Final = re.compile(r"your-\w+-workspace")
"""As cdk.json has it when it is checked out."""


def annotate(settings: DeploymentSettings, *, pipeline: Stack, monitoring: Stack) -> None:
    """Leave an error, which ends the CDK CLI's deploy, diff and synth, and warnings.

    The error is no `InvalidSettings`: the templates of a fresh clone can be written and read.
    """
    if PLACEHOLDER.fullmatch(settings.workspace_id):
        key = "workspace_id"
        if settings.environment:
            key = f"environments.{settings.environment}.{key}"
        Annotations.of(pipeline).add_error(
            f"workspace_id = {settings.workspace_id!r} is a placeholder: whoever owns that name "
            "would get your keys. Nothing is deployed until you name your ReportFlow workspace in "
            f"cdk.json ({key})."
        )
    if settings.removal_policy == "retain" and not settings.alarm_email:
        Annotations.of(monitoring).add_warning(
            "Nobody will hear of alarms: name an address in cdk.json (alarm_email), or subscribe "
            "to the alarm topic."
        )
