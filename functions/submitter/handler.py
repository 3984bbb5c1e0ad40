"""Submitter: a batch of requests from SQS goes to ReportFlow."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from random import SystemRandom
from typing import Any

from reportflow import aws, composition, settings
from reportflow.cold_start import prepare
from reportflow.consumer import Context, Invocation, PartialBatchResponse, consume
from reportflow.jobs import Step
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, SqsQueue, records
from reportflow.submission import Submission


def handler(event: dict[str, Any], context: Context) -> PartialBatchResponse:
    """Submit the records of one SQS event, and name those that must come again."""
    return _consumer()(records(event), invocation=Invocation.of(context))


@cache
def _consumer() -> Callable[..., PartialBatchResponse]:
    clock = partial(datetime.now, UTC)
    environment = settings.load(settings.SubmitterSettings, os.environ)
    aws.limit_calls(aws.call_seconds(environment.submitter_timeout_seconds))
    queue = SqsQueue(aws.sqs(), environment.request_queue_url, environment.request_dlq_url)
    contract = composition.contract(environment)
    submission = Submission(
        composition.finisher(Step.SUBMIT, environment, queue, clock),
        composition.service(environment, clock),
        Payloads(aws.s3, environment.payload_buckets, max_request_bytes=contract.max_request_bytes),
        Downloads(
            aws.sqs(),
            environment.download_queue_url,
            check_delay_seconds=environment.check_delay_seconds,
        ),
        contract,
        max_attempts=environment.max_attempts,
        outcome_grace=timedelta(seconds=environment.outcome_grace_seconds),
    )
    return partial(consume, work=submission, queue=queue, rng=SystemRandom(), clock=clock)


prepare(_consumer)
