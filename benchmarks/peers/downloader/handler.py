"""Peer: the downloader as most teams would write it, from the documentation of Powertools."""

import os
from io import BytesIO
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
from pydantic import BaseModel

logger = Logger()
tracer = Tracer()
metrics = Metrics()
processor = BatchProcessor(event_type=EventType.SQS)
persistence = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"])
idempotency = IdempotencyConfig(event_key_jmespath="file_id")
jobs = boto3.resource("dynamodb").Table(os.environ["JOBS_TABLE"])
archive = boto3.client("s3")
bus = boto3.client("events")


class Queued(BaseModel):
    """A message of the download queue."""

    file_id: str
    uuid: str
    design_id: str
    version: int


@tracer.capture_method
@idempotent_function(  # type: ignore[untyped-decorator]  # the library types no part of it
    data_keyword_argument="message", persistence_store=persistence, config=idempotency
)
def store(message: dict[str, Any]) -> dict[str, str]:
    """Archive one file, and say so."""
    queued = Queued.model_validate(message)
    keys: Any = parameters.get_secret(os.environ["SECRET_ARN"], transform="json", max_age=300)
    response = requests.get(
        f"{os.environ['REPORTFLOW_FILES_URL']}/file/download/{queued.uuid}/{queued.file_id}",
        headers={"appKey": keys["appKey"], "secretKey": keys["secretKey"]},
        timeout=30,
    )
    response.raise_for_status()
    key = f"{queued.design_id}/{queued.file_id}.pdf"
    archive.upload_fileobj(BytesIO(response.content), os.environ["ARCHIVE_BUCKET"], key)
    jobs.update_item(
        Key={"jobId": queued.file_id},
        UpdateExpression="SET #status = :status, archiveKey = :key",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": "ARCHIVED", ":key": key},
    )
    bus.put_events(
        Entries=[
            {
                "Source": "reportflow",
                "DetailType": "PDF Archived",
                "Detail": queued.model_dump_json(),
                "EventBusName": os.environ["EVENT_BUS"],
            }
        ]
    )
    logger.info("archived", extra={"file_id": queued.file_id})
    metrics.add_metric(name="Archived", unit=MetricUnit.Count, value=1)
    return {"key": key}


def record_handler(record: SQSRecord) -> None:
    """Archive the file of one record."""
    store(message=record.json_body)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Archive the files of one SQS event."""
    idempotency.register_lambda_context(context)
    return process_partial_response(
        event=event, record_handler=record_handler, processor=processor, context=context
    )
