"""Downloader: a batch of finished files goes from ReportFlow to the archive."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from random import SystemRandom
from typing import Any

from reportflow import aws, composition, settings
from reportflow.archive import S3Archive
from reportflow.archiving import Archiving, ArchivingPolicy
from reportflow.consumer import Context, Invocation, PartialBatchResponse, consume
from reportflow.events import Outbox
from reportflow.jobs_table import JobsTable
from reportflow.queues import SqsQueue, records


def handler(event: dict[str, Any], context: Context) -> PartialBatchResponse:
    """Archive the files of one SQS event, and name those that must come again."""
    invocation = Invocation.of(context)
    aws.limit_calls(invocation.store_time.total_seconds())
    return _consumer()(records(event), invocation=invocation)


@cache
def _consumer() -> Callable[..., PartialBatchResponse]:
    clock = partial(datetime.now, UTC)
    environment = settings.load(settings.DownloaderSettings, os.environ)
    jobs = JobsTable(aws.dynamodb(), environment.jobs_table, ttl_days=environment.status_ttl_days)
    queue = SqsQueue(aws.sqs(), environment.download_queue_url, environment.download_dlq_url)
    archiving = Archiving(
        jobs,
        composition.service(environment, clock),
        S3Archive(aws.s3(), environment.archive_bucket),
        queue,
        Outbox(jobs, aws.events, environment.event_bus, clock=clock),
        policy=ArchivingPolicy(
            max_file_bytes=environment.max_file_bytes,
            max_attempts=environment.max_attempts,
            patience=composition.patience(environment),
            orphan_grace=timedelta(seconds=environment.orphan_grace_seconds),
            check_interval=timedelta(seconds=environment.check_delay_seconds),
            completion_deadline=timedelta(seconds=environment.completion_deadline_seconds),
        ),
        clock=clock,
    )
    return partial(consume, work=archiving, queue=queue, rng=SystemRandom(), clock=clock)
