"""All resource types that the executor knows."""

from collections.abc import Mapping
from typing import Any

from local.executor import (
    cloudwatch,
    dynamodb,
    events,
    functions,
    http_api,
    iam,
    kms,
    logs,
    s3,
    secretsmanager,
    sns,
    sqs,
)
from local.executor.resource import ResourceType

_SERVICES = (
    *(cloudwatch, dynamodb, events, functions, http_api, iam, kms),
    *(logs, s3, secretsmanager, sns, sqs),
)

RESOURCE_TYPES: Mapping[str, ResourceType[Any]] = {
    resource_type.name: resource_type
    for service in _SERVICES
    for resource_type in service.RESOURCE_TYPES
}
