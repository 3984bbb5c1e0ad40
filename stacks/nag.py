"""Checks the stacks with cdk-nag, AWS's rules of good practice."""

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

_PACK = "AwsSolutions"


def check(app: App) -> None:
    """Make the app's synthesis fail if cdk-nag finds a problem that is not acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(verbose=True))


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Record why a rule, such as S1 or IAM5[Resource::…], does not apply to a construct."""
    # `Validations.acknowledge` writes the same, but refuses an id with more than one "::". The ids
    # of rules for permissions have more if the resource is an ARN.
    construct.node.add_metadata(
        Validations.ACKNOWLEDGED_RULES_METADATA_KEY, {f"{_PACK}-{rule}": reason}
    )
