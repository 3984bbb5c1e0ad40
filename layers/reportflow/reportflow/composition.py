"""What submitter and downloader are made of alike, by their settings."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import SystemRandom

from reportflow import aws
from reportflow.consumer import Patience
from reportflow.pacing import pace
from reportflow.secret import SecretStore
from reportflow.service import ReportFlow
from reportflow.settings import DownloaderSettings, SubmitterSettings


def service(
    settings: SubmitterSettings | DownloaderSettings, clock: Callable[[], datetime]
) -> ReportFlow:
    """ReportFlow with the account's keys, at the pace of the workspace."""
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


def patience(settings: SubmitterSettings | DownloaderSettings) -> Patience:
    """When the function gives a message up."""
    return Patience(settings.max_receive_count, timedelta(seconds=settings.max_message_age_seconds))
