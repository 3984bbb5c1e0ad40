"""cdk-nag: AWS's rules of good practice, which a synthesis has to pass."""

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct

_PACK = "AwsSolutions"


def check(app: App) -> None:
    """Let the synthesis of the app fail at each finding that nobody has acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(verbose=True))


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Say why a rule, such as S1 or IAM5[Resource::…], does not hold for a construct."""
    # `Validations.acknowledge` writes just this, but refuses an id with more than one "::", as
    # the rules for permissions have where the resource is an ARN.
    construct.node.add_metadata(
        Validations.ACKNOWLEDGED_RULES_METADATA_KEY, {f"{_PACK}-{rule}": reason}
    )
