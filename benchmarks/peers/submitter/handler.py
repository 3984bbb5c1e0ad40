"""Peer: the submitter as most teams would write it, from the documentation of Powertools."""

import os
from datetime import UTC, datetime
from typing import Any

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

logger = Logger()
tracer = Tracer()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.SQS)
persistence = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"])
idempotency = IdempotencyConfig(event_key_jmespath="jobId")
jobs = boto3.resource("dynamodb").Table(os.environ["JOBS_TABLE"])
downloads = boto3.client("sqs")


class Content(BaseModel):
    """What the PDF shows."""

    file_name: str = Field(alias="fileName", min_length=1, max_length=200)
    params: dict[str, Any]


class Request(BaseModel):
    """The message of upstream."""

    job_id: str = Field(alias="jobId", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    design_id: str = Field(alias="designId")
    version: int = Field(ge=1)
    content: Content


@tracer.capture_method
@idempotent_function(  # type: ignore[untyped-decorator]  # the library types no part of it
    data_keyword_argument="message", persistence_store=persistence, config=idempotency
)
def submit(message: dict[str, Any]) -> dict[str, str]:
    """Ask for one PDF, and record the answer."""
    request = Request.model_validate(message)
    keys: Any = parameters.get_secret(os.environ["SECRET_ARN"], transform="json", max_age=300)
    response = requests.post(
        f"{os.environ['REPORTFLOW_URL']}/file/async/single",
        json=request.model_dump(by_alias=True, exclude={"job_id"}),
        headers={"appKey": keys["appKey"], "secretKey": keys["secretKey"]},
        timeout=10,
    )
    response.raise_for_status()
    file_id = response.json()["fileId"]
    jobs.put_item(
        Item={
            "jobId": request.job_id,
            "status": "SUBMITTED",
            "fileId": file_id,
            "submittedAt": datetime.now(UTC).isoformat(),
        }
    )
    downloads.send_message(
        QueueUrl=os.environ["DOWNLOAD_QUEUE_URL"], MessageBody=request.job_id, DelaySeconds=300
    )
    logger.info("submitted", extra={"job_id": request.job_id})
    metrics.add_metric(name="Submitted", unit=MetricUnit.Count, value=1)
    return {"fileId": file_id}


def record_handler(record: SQSRecord) -> None:
    """Submit one record."""
    submit(message=record.json_body)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Submit the records of one SQS event."""
    idempotency.register_lambda_context(context)
    return process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
