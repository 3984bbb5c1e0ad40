"""DynamoDB: tables."""

from typing import Any, Literal

import msgspec

from local.executor.resource import Context, Created, Properties, ResourceType, to_api


class KeyElement(Properties):
    """An attribute of a key."""

    attribute_name: str
    key_type: Literal["HASH", "RANGE"]


class AttributeDefinition(Properties):
    """The type of an attribute that some key has."""

    attribute_name: str
    attribute_type: Literal["S", "N", "B"]


class Projection(Properties):
    """What an index copies of the item."""

    projection_type: Literal["ALL", "KEYS_ONLY", "INCLUDE"]
    non_key_attributes: tuple[str, ...] | None = None


class GlobalSecondaryIndex(Properties):
    """Another key to find items by."""

    index_name: str
    key_schema: tuple[KeyElement, ...]
    projection: Projection


class PointInTimeRecovery(Properties):
    """Whether the table can be restored as it was at any time."""

    point_in_time_recovery_enabled: bool


class Encryption(Properties):
    """Whether a key of the account encrypts the table, in place of DynamoDB's own."""

    enabled: bool = msgspec.field(name="SSEEnabled")


class TimeToLive(Properties):
    """The attribute with the time after which an item is removed."""

    attribute_name: str
    enabled: bool


class Table(Properties):
    """AWS::DynamoDB::Table, billed on demand."""

    attribute_definitions: tuple[AttributeDefinition, ...]
    key_schema: tuple[KeyElement, ...]
    billing_mode: Literal["PAY_PER_REQUEST"]
    deletion_protection_enabled: bool | None = None
    global_secondary_indexes: tuple[GlobalSecondaryIndex, ...] | None = None
    point_in_time_recovery_specification: PointInTimeRecovery | None = None
    encryption: Encryption | None = msgspec.field(default=None, name="SSESpecification")
    table_name: str | None = None
    time_to_live_specification: TimeToLive | None = None


def create_table(properties: Table, context: Context) -> Created:
    """Create a table, wait for it, then set what DynamoDB takes in calls of their own."""
    dynamodb = context.backend.client("dynamodb")
    name = properties.table_name or context.name(255)
    dynamodb.create_table(**_table_request(properties), TableName=name)
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    if ttl := properties.time_to_live_specification:
        dynamodb.update_time_to_live(
            TableName=name,
            TimeToLiveSpecification={
                "AttributeName": ttl.attribute_name,
                "Enabled": ttl.enabled,
            },
        )
    if recovery := properties.point_in_time_recovery_specification:
        specification: Any = to_api(recovery)
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification=specification
        )
    return Created(name, {"Arn": context.arn("dynamodb", f"table/{name}")})


def _table_request(properties: Table) -> dict[str, Any]:
    """Return what goes into the one call that makes a table."""
    request = to_api(properties)
    for separate in ("TimeToLiveSpecification", "PointInTimeRecoverySpecification"):
        request.pop(separate, None)
    if properties.encryption:
        request["SSESpecification"] = {"Enabled": properties.encryption.enabled}
    return request


RESOURCE_TYPES = (ResourceType("AWS::DynamoDB::Table", Table, create_table),)
