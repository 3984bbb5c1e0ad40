"""Submitter: a batch of requests from SQS goes to ReportFlow."""

import os
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from reportflow import aws, composition, settings
from reportflow.cold_start import prepare
from reportflow.composition import Consumer, Surroundings
from reportflow.consumer import Invocation, PartialBatchResponse, consume
from reportflow.contract import CONTRACTS
from reportflow.jobs import Step
from reportflow.payloads import Payloads
from reportflow.queues import Downloads, SqsQueue, records
from reportflow.settings import SubmitterSettings
from reportflow.submission import Submission

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: dict[str, Any], context: "LambdaContext") -> PartialBatchResponse:
    """Submit the records of one SQS event, and name those that must come again."""
    return _consumer()(records(event), invocation=Invocation.of(context))


@cache
def _consumer() -> Consumer:
    environment = settings.load(SubmitterSettings, os.environ)
    aws.limit_calls(aws.call_seconds(environment.submitter_timeout_seconds))
    return compose(environment, composition.surroundings(environment))


def compose(environment: SubmitterSettings, around: Surroundings) -> Consumer:
    """Return the function's work on a batch."""
    queue = SqsQueue(aws.sqs(), environment.request_queue_url, environment.request_dlq_url)
    contract = CONTRACTS[environment.contract]
    submission = Submission(
        composition.finisher(Step.SUBMIT, environment, queue, around),
        composition.service(environment, around),
        Payloads(aws.s3, environment.payload_buckets, max_request_bytes=contract.max_request_bytes),
        Downloads(
            aws.sqs(),
            environment.download_queue_url,
            check_delay_seconds=environment.check_delay_seconds,
        ),
        contract,
        around.rng,
        outcome_grace=timedelta(seconds=environment.outcome_grace_seconds),
    )
    return partial(consume, work=submission, queue=queue, rng=around.rng, clock=around.clock)


prepare(_consumer)
