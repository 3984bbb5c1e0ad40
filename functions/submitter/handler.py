"""Submitter: a batch of requests from SQS goes to ReportFlow."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from random import SystemRandom
from typing import Any

from reportflow import aws, composition, settings
from reportflow.consumer import Context, Invocation, PartialBatchResponse, consume
from reportflow.events import Outbox
from reportflow.jobs_table import JobsTable
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, SqsQueue, records
from reportflow.submission import Submission, SubmissionPolicy


def handler(event: dict[str, Any], context: Context) -> PartialBatchResponse:
    """Submit the records of one SQS event, and name those that must come again."""
    invocation = Invocation.of(context)
    aws.limit_calls(invocation.store_time.total_seconds())
    return _consumer()(records(event), invocation=invocation)


@cache
def _consumer() -> Callable[..., PartialBatchResponse]:
    clock = partial(datetime.now, UTC)
    environment = settings.load(settings.SubmitterSettings, os.environ)
    jobs = JobsTable(aws.dynamodb(), environment.jobs_table, ttl_days=environment.status_ttl_days)
    queue = SqsQueue(aws.sqs(), environment.request_queue_url, environment.request_dlq_url)
    submission = Submission(
        jobs,
        composition.service(environment, clock),
        Payloads(aws.s3, environment.payload_buckets),
        queue,
        Downloads(
            aws.sqs(),
            environment.download_queue_url,
            check_delay_seconds=environment.check_delay_seconds,
        ),
        Outbox(jobs, aws.events, environment.event_bus, clock=clock),
        policy=SubmissionPolicy(
            max_attempts=environment.max_attempts,
            patience=composition.patience(environment),
            outcome_grace=timedelta(seconds=environment.outcome_grace_seconds),
        ),
        clock=clock,
    )
    return partial(consume, work=submission, queue=queue, rng=SystemRandom(), clock=clock)
