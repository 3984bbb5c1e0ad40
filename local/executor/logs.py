"""CloudWatch Logs: log groups."""

from local.executor.resource import Context, Created, Properties, ResourceType


class LogGroup(Properties):
    """AWS::Logs::LogGroup; without a retention it keeps its logs for ever."""

    log_group_name: str | None = None
    retention_in_days: int | None = None


def create_log_group(properties: LogGroup, context: Context) -> Created:
    """Create a log group."""
    logs = context.backend.client("logs")
    name = properties.log_group_name or context.name(512)
    logs.create_log_group(logGroupName=name)
    if properties.retention_in_days is not None:
        logs.put_retention_policy(logGroupName=name, retentionInDays=properties.retention_in_days)
    return Created(name, {"Arn": context.arn("logs", f"log-group:{name}:*")})


RESOURCE_TYPES = (ResourceType("AWS::Logs::LogGroup", LogGroup, create_log_group),)
