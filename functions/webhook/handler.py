"""Webhook: what ReportFlow says is done is verified and queued for the downloader."""

import json
import os
from functools import cache
from http import HTTPStatus
from typing import Any

from reportflow import aws, settings
from reportflow.errors import Retryable
from reportflow.observability import count, logger
from reportflow.queues import Downloads
from reportflow.secret import SecretStore
from reportflow.webhook import Receiver, Refused


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one request of API Gateway, payload format 2.0."""
    try:
        files = _receiver().receive(event)
    except Refused as refused:
        logger().warning("webhook refused", extra={"reason": refused.reason})
        count(WebhooksRefused=1)
        return _answer(refused.reason.status, {"message": refused.reason.status.phrase})
    except Retryable as error:
        logger().error("webhook not stored", extra={"error_code": error.code})
        count(WebhooksNotStored=1)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, {"message": "Service Unavailable"})
    logger().info("webhook stored", extra={"file_ids": [file.file_id for file in files]})
    count(WebhooksReceived=1)
    return _answer(HTTPStatus.OK, {"received": True})


@cache
def _receiver() -> Receiver:
    environment = settings.load(settings.WebhookSettings, os.environ)
    return Receiver(
        SecretStore(aws.secretsmanager(), environment.secret_arn),
        Downloads(aws.sqs(), environment.download_queue_url),
        environment.workspace_id,
    )


def _answer(status: HTTPStatus, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
