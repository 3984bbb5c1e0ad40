"""Decides what happens to a resource with data when its stack is deleted."""

from typing import Final

from aws_cdk import RemovalPolicy

from stacks.settings import DeploymentSettings

_POLICIES: Final = {
    # If a first deployment fails, CloudFormation deletes its resources, which are still empty.
    "retain": RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    "destroy": RemovalPolicy.DESTROY,
}


def removal_policy(settings: DeploymentSettings) -> RemovalPolicy:
    """Return CDK's removal policy for the deployment's setting."""
    return _POLICIES[settings.removal_policy]
