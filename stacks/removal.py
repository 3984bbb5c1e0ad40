"""What becomes of a resource that holds data when its stack goes."""

from typing import Final

from aws_cdk import RemovalPolicy

from stacks.settings import DeploymentSettings

_POLICIES: Final = {
    # A first deployment that fails takes what it has made back: nothing is in it yet.
    "retain": RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    "destroy": RemovalPolicy.DESTROY,
}


def removal_policy(settings: DeploymentSettings) -> RemovalPolicy:
    """CDK's policy for what the deployment retains or destroys."""
    return _POLICIES[settings.removal_policy]
