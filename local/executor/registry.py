"""All resource types that the executor knows."""

from collections.abc import Mapping
from typing import Any

from local.executor import dynamodb, functions, http_api, iam, logs, s3, secretsmanager, sqs
from local.executor.resource import ResourceType

_SERVICES = (dynamodb, functions, http_api, iam, logs, s3, secretsmanager, sqs)

RESOURCE_TYPES: Mapping[str, ResourceType[Any]] = {
    resource_type.name: resource_type
    for service in _SERVICES
    for resource_type in service.RESOURCE_TYPES
}
