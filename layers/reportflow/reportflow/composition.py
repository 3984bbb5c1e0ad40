"""Builds from the settings the parts that submitter and downloader share."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom

from reportflow import aws
from reportflow.cold_start import prepare
from reportflow.consumer import GiveUpLimits
from reportflow.contract import CONTRACTS, Contract
from reportflow.contract.client import Endpoint, ReportFlow
from reportflow.events import Outbox
from reportflow.finishing import Finisher
from reportflow.jobs import Step
from reportflow.jobs_table import JobsTable
from reportflow.queues import SqsQueue
from reportflow.rate_limiter import rate_limiter
from reportflow.secret import SecretStore
from reportflow.settings import ConsumerSettings


def contract(settings: ConsumerSettings) -> Contract:
    """Return the contract that the deployment speaks."""
    return CONTRACTS[settings.contract]


def service(settings: ConsumerSettings, clock: Callable[[], datetime]) -> ReportFlow:
    """Return the ReportFlow client with the account's keys and the workspace's rate limiter."""
    secrets = SecretStore(aws.secretsmanager(), settings.secret_arn)
    prepare(secrets.get)
    return ReportFlow(
        Endpoint(contract(settings), settings.reportflow_url),
        secrets,
        rate_limiter(
            aws.dynamodb(),
            settings.jobs_table,
            requests_per_minute=settings.reportflow_requests_per_minute,
            burst=settings.reportflow_burst,
            clock=clock,
            rng=SystemRandom(),
        ),
        clock=clock,
        files_url=settings.reportflow_files_url,
        token_url=settings.reportflow_token_url,
        former=_former(settings),
    )


def _former(settings: ConsumerSettings) -> Endpoint | None:
    [other] = CONTRACTS.keys() - {settings.contract}
    url = settings.former_reportflow_url
    return Endpoint(CONTRACTS[other], url) if url else None


def finisher(
    step: Step, settings: ConsumerSettings, queue: SqsQueue, clock: Callable[[], datetime]
) -> Finisher:
    """Return what ends the jobs and messages of the function that runs `step`."""
    jobs = JobsTable(aws.dynamodb(), settings.jobs_table, ttl_days=settings.status_ttl_days)
    age = timedelta(seconds=settings.max_message_age_seconds)
    return Finisher(
        step,
        jobs,
        queue,
        Outbox(jobs, aws.events, settings.event_bus, clock=clock),
        GiveUpLimits(settings.max_receive_count, age),
        clock,
    )
