"""EventBridge: buses."""

from local.executor.resource import Context, Created, Properties, ResourceType


class EventBus(Properties):
    """AWS::Events::EventBus of the account's own events."""

    name: str


def create_event_bus(properties: EventBus, context: Context) -> Created:
    """Create a bus."""
    arn = context.backend.client("events").create_event_bus(Name=properties.name)["EventBusArn"]
    return Created(properties.name, {"Arn": arn, "Name": properties.name})


RESOURCE_TYPES = (ResourceType("AWS::Events::EventBus", EventBus, create_event_bus),)
