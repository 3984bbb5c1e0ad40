"""Builds from the settings what submitter and downloader both need."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom

from reportflow import aws
from reportflow.consumer import Patience
from reportflow.pacing import pace
from reportflow.secret import SecretStore
from reportflow.service import ReportFlow
from reportflow.settings import ConsumerSettings


def service(settings: ConsumerSettings, clock: Callable[[], datetime]) -> ReportFlow:
    """Return the ReportFlow client with the account's keys and the workspace's rate limiter."""
    return ReportFlow(
        settings.reportflow_url,
        settings.reportflow_files_url,
        SecretStore(aws.secretsmanager(), settings.secret_arn),
        pace(
            aws.dynamodb(),
            settings.jobs_table,
            requests_per_minute=settings.reportflow_requests_per_minute,
            burst=settings.reportflow_burst,
            clock=clock,
            rng=SystemRandom(),
        ),
        clock=clock,
    )


def patience(settings: ConsumerSettings) -> Patience:
    """Return the function's give-up limits."""
    return Patience(settings.max_receive_count, timedelta(seconds=settings.max_message_age_seconds))
