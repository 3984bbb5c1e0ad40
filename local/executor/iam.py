"""IAM: roles and their policies."""

import json
from typing import Any

from local.executor.resource import Context, Created, PolicyDocument, Properties, ResourceType


class InlinePolicy(Properties):
    """A policy that is part of a role."""

    policy_name: str
    policy_document: PolicyDocument


class Role(Properties):
    """AWS::IAM::Role."""

    assume_role_policy_document: PolicyDocument
    description: str | None = None
    managed_policy_arns: tuple[str, ...] = ()
    policies: tuple[InlinePolicy, ...] = ()
    role_name: str | None = None


class Policy(Properties):
    """AWS::IAM::Policy, which becomes an inline policy of its roles."""

    policy_name: str
    policy_document: PolicyDocument
    roles: tuple[str, ...]


def create_role(properties: Role, context: Context) -> Created:
    """Create a role with its policies."""
    iam = context.backend.client("iam")
    name = properties.role_name or context.name(64)
    description: dict[str, Any] = (
        {"Description": properties.description} if properties.description else {}
    )
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(properties.assume_role_policy_document),
        **description,
    )["Role"]
    for arn in properties.managed_policy_arns:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in properties.policies:
        _put_inline_policy(name, policy.policy_name, policy.policy_document, context)
    return Created(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


def create_policy(properties: Policy, context: Context) -> Created:
    """Give a policy to roles."""
    for role in properties.roles:
        _put_inline_policy(role, properties.policy_name, properties.policy_document, context)
    return Created(context.name(128))


def _put_inline_policy(role: str, name: str, document: PolicyDocument, context: Context) -> None:
    context.backend.client("iam").put_role_policy(
        RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document)
    )


RESOURCE_TYPES = (
    ResourceType("AWS::IAM::Role", Role, create_role),
    ResourceType("AWS::IAM::Policy", Policy, create_policy),
)
