"""Builds from the settings the parts that submitter and downloader share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random, SystemRandom

from reportflow import aws
from reportflow.cold_start import prepare
from reportflow.consumer import GiveUpLimits, PartialBatchResponse
from reportflow.contract import CONTRACTS
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.events import Outbox
from reportflow.finishing import Finisher
from reportflow.jobs import Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import SqsQueue
from reportflow.rate_limiter import NoRateLimit, RateLimit, RateLimiter, SharedRateLimiter
from reportflow.secret import SecretStore
from reportflow.settings import ConsumerSettings

type Consumer = Callable[..., PartialBatchResponse]
"""`consumer.consume` with all but the batch and the invocation."""


@dataclass(frozen=True)
class Surroundings:
    """What a function works with besides its settings and AWS: keys, rate limit, time and chance.

    `rng` makes the tags of jobs, which must be unguessable.
    """

    secrets: SecretStore
    limiter: RateLimiter
    clock: Callable[[], datetime]
    rng: Random


def surroundings(settings: ConsumerSettings) -> Surroundings:
    """Return those of a deployed function. It reads the secret at once."""
    secrets = SecretStore(aws.secretsmanager(), settings.secret_arn)
    prepare(secrets.get)
    clock, rng = partial(datetime.now, UTC), SystemRandom()
    limiter: RateLimiter = NoRateLimit()
    if per_minute := settings.reportflow_requests_per_minute:
        limit = RateLimit(per_minute, settings.reportflow_burst)
        limiter = SharedRateLimiter(aws.dynamodb(), settings.jobs_table, limit, clock=clock)
    return Surroundings(secrets, limiter, clock, rng)


def service(settings: ConsumerSettings, around: Surroundings) -> ReportFlow:
    """Return the ReportFlow client with the account's keys and the workspace's rate limiter."""
    former = [
        Endpoint(contract, settings.former_reportflow_url)
        for name, contract in CONTRACTS.items()
        if name != settings.contract and settings.former_reportflow_url
    ]
    return ReportFlow(
        Endpoint(CONTRACTS[settings.contract], settings.reportflow_url),
        around.secrets,
        around.limiter,
        clock=around.clock,
        files_url=settings.reportflow_files_url,
        token_url=settings.reportflow_token_url,
        former=former,
    )


def finisher(
    step: Step, settings: ConsumerSettings, queue: SqsQueue, around: Surroundings
) -> Finisher:
    """Return what ends the jobs and messages of the function that runs `step`."""
    jobs = JobsTable(aws.dynamodb(), settings.jobs_table, ttl_days=settings.status_ttl_days)
    age = timedelta(seconds=settings.max_message_age_seconds)
    return Finisher(
        step,
        jobs,
        queue,
        Outbox(jobs, aws.events, settings.event_bus, clock=around.clock),
        GiveUpLimits(settings.max_receive_count, age),
        settings.max_attempts,
        around.clock,
    )
