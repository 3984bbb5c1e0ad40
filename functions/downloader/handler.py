"""Downloader: a batch of finished files goes from ReportFlow to the archive."""

import os
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from reportflow import aws, composition, settings
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving
from reportflow.cold_start import prepare
from reportflow.composition import Consumer, Surroundings
from reportflow.consumer import Invocation, PartialBatchResponse, consume
from reportflow.jobs import Step
from reportflow.queues import SqsQueue, records
from reportflow.settings import DownloaderSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> PartialBatchResponse:
    """Archive the files of one SQS event, and name those that must come again."""
    return _consumer()(records(event), invocation=Invocation.of(context))


@cache
def _consumer() -> Consumer:
    environment = settings.load(DownloaderSettings, os.environ)
    aws.limit_calls(aws.call_seconds(environment.downloader_timeout_seconds))
    return compose(environment, composition.surroundings(environment))


def compose(environment: DownloaderSettings, around: Surroundings) -> Consumer:
    """Return the function's work on a batch."""
    queue = SqsQueue(aws.sqs(), environment.download_queue_url, environment.download_dlq_url)
    archiving = Archiving(
        composition.finisher(Step.ARCHIVE, environment, queue, around),
        composition.service(environment, around),
        S3Archive(aws.s3(), environment.archive_bucket),
        max_file_bytes=environment.max_file_bytes,
        orphan_grace=timedelta(seconds=environment.orphan_grace_seconds),
        check_interval=timedelta(seconds=environment.check_delay_seconds),
        completion_deadline=timedelta(seconds=environment.completion_deadline_seconds),
    )
    return partial(consume, work=archiving, queue=queue, rng=around.rng, clock=around.clock)


prepare(_consumer, aws.events)
