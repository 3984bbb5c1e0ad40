"""Webhook: verifies what ReportFlow reports as finished, and queues it for the downloader."""

import json
import os
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from reportflow import aws, settings
from reportflow.cold_start import prepare
from reportflow.errors import Retryable
from reportflow.observability import count, logger
from reportflow.queues import Downloads
from reportflow.refusal import Refusal, Refused
from reportflow.secret import SecretStore
from reportflow.settings import WebhookSettings
from reportflow.webhook import Receiver


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer one request of API Gateway, payload format 2.0."""
    return answer(_receiver(), event)


def answer(receiver: Receiver, event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receiver's answer to the request."""
    try:
        reported = receiver.receive(event)
    except Refused as refused:
        logger().warning("webhook refused", extra={"reason": refused.reason})
        count(refused.reason, WebhooksRefused=1)
        return _answer(refused.reason.status)
    except Retryable as error:
        logger().error(
            "webhook not stored", extra={"error_code": error.code, "error": error.message}
        )
        count(error.code, WebhooksNotStored=1)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE)
    file_ids = [file.file_id for file in reported.files]
    logger().info("webhook stored", extra={"file_ids": file_ids})
    if entries := reported.wrong_entries:
        about = {"reason": Refusal.WRONG_ENTRY, "entries": entries}
        logger().warning("webhook refused", extra=about)
        count(Refusal.WRONG_ENTRY, WebhooksRefused=1)
    # A request without files brings no PDF, and does not show that webhooks arrive.
    count(WebhooksReceived=int(bool(file_ids)))
    return _answer(HTTPStatus.OK, received=True)


@cache
def _receiver() -> Receiver:
    environment = settings.load(WebhookSettings, os.environ)
    aws.limit_calls(aws.call_seconds(environment.webhook_timeout_seconds))
    secrets = SecretStore(aws.secretsmanager(), environment.secret_arn)
    prepare(secrets.get)
    return compose(environment, secrets)


def compose(environment: WebhookSettings, secrets: SecretStore) -> Receiver:
    """Return the function's work on a request."""
    return Receiver(
        secrets,
        Downloads(aws.sqs(), environment.download_queue_url),
        environment.workspace_id,
        # Any value but "off" requires signatures, even a mistyped one.
        signed=environment.webhook_signature != "off",
    )


def _answer(status: HTTPStatus, **content: bool) -> dict[str, Any]:
    """An answer that looks exactly like API Gateway's own: no spaces, no further headers."""
    return {
        "statusCode": status.value,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(content or {"message": status.phrase}, separators=(",", ":")),
    }


prepare(_receiver)
