"""The emulated account, as a person sees it in the console."""

import json

import boto3

from local.backend import Backend
from tests.stacks import released

RELEASED_PREFIX = "ReportFlow"
"""That of the released templates, which no environment has."""


class Account:
    """One account, in one region."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.cloudformation = boto3.client(
            "cloudformation",
            endpoint_url=backend.endpoint_url,
            region_name=backend.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def release(self) -> None:
        """Make the stacks of the last release, as far as they are kept."""
        for stack in released.STACKS:
            body = json.dumps(released.read(stack).document)
            self.cloudformation.create_stack(
                StackName=f"{RELEASED_PREFIX}-{stack}", TemplateBody=body
            )

    def stacks(self, prefix: str) -> set[str]:
        found = self.cloudformation.describe_stacks()["Stacks"]
        return {each["StackName"] for each in found if each["StackName"].startswith(f"{prefix}-")}

    def ids(self, prefix: str) -> dict[str, str]:
        ids = {}
        for stack in released.STACKS:
            answer = self.cloudformation.describe_stack_resources(StackName=f"{prefix}-{stack}")
            for each in answer["StackResources"]:
                ids[each["LogicalResourceId"]] = each["PhysicalResourceId"]
        return ids

    def of(self, prefix: str, kind: str) -> list[str]:
        return [
            each["PhysicalResourceId"]
            for stack in released.STACKS
            for each in self.cloudformation.describe_stack_resources(StackName=f"{prefix}-{stack}")[
                "StackResources"
            ]
            if each["ResourceType"] == f"AWS::{kind}"
        ]

    def unprotect(self, prefix: str) -> None:
        for stack in released.STACKS:
            self.cloudformation.update_termination_protection(
                StackName=f"{prefix}-{stack}", EnableTerminationProtection=False
            )

    def in_rollback(self, stack: str, status: str) -> set[str]:
        """The types of what a stack that was rolled back has brought to a status."""
        events = self.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return {each["ResourceType"] for each in events if each.get("ResourceStatus") == status}
