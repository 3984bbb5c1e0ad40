"""Peer: the webhook as most teams would write it, from the documentation of Powertools."""

import hmac
import os
from http import HTTPStatus
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

logger = Logger()
tracer = Tracer()
metrics = Metrics()
app = APIGatewayHttpResolver()
downloads = boto3.client("sqs")


class File(BaseModel):
    """One finished file."""

    file_id: str = Field(alias="fileId")
    uuid: str
    file_name: str = Field(alias="fileName")
    params: dict[str, Any]


class Completed(BaseModel):
    """The event `file.completed`."""

    event: str
    workspace_id: str = Field(alias="workspaceId")
    design_id: str = Field(alias="designId")
    version: int
    files: list[File]


class Queued(BaseModel):
    """A message of the download queue."""

    file_id: str
    uuid: str
    design_id: str
    version: int


@app.post("/webhooks/<token>")
@tracer.capture_method
def receive(token: str) -> Response[str]:
    """Check one webhook and queue its files."""
    secret: Any = parameters.get_secret(os.environ["SECRET_ARN"], transform="json", max_age=300)
    if not hmac.compare_digest(token.encode(), secret["webhookToken"].encode()):
        return Response(HTTPStatus.NOT_FOUND, "application/json", "{}")
    completed = Completed.model_validate_json(app.current_event.body or "")
    if completed.workspace_id != os.environ["WORKSPACE_ID"]:
        return Response(HTTPStatus.BAD_REQUEST, "application/json", "{}")
    downloads.send_message_batch(
        QueueUrl=os.environ["DOWNLOAD_QUEUE_URL"],
        Entries=[
            {
                "Id": str(number),
                "MessageBody": Queued(
                    file_id=file.file_id,
                    uuid=file.uuid,
                    design_id=completed.design_id,
                    version=completed.version,
                ).model_dump_json(),
            }
            for number, file in enumerate(completed.files)
        ],
    )
    logger.info("webhook stored", extra={"file_ids": [file.file_id for file in completed.files]})
    metrics.add_metric(name="WebhooksReceived", unit=MetricUnit.Count, value=1)
    return Response(HTTPStatus.OK, "application/json", '{"received":true}')


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer one request of API Gateway."""
    return app.resolve(event, context)
