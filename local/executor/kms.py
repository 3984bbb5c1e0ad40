"""KMS: keys."""

import json

from local.executor.resource import Context, Created, PolicyDocument, Properties, ResourceType


class Key(Properties):
    """AWS::KMS::Key, a symmetric one."""

    key_policy: PolicyDocument
    description: str | None = None
    enable_key_rotation: bool = False


def create_key(properties: Key, context: Context) -> Created:
    """Create a key."""
    kms = context.backend.client("kms")
    made = kms.create_key(
        Policy=json.dumps(properties.key_policy), Description=properties.description or ""
    )["KeyMetadata"]
    if properties.enable_key_rotation:
        kms.enable_key_rotation(KeyId=made["KeyId"])
    return Created(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]})


RESOURCE_TYPES = (ResourceType("AWS::KMS::Key", Key, create_key),)
