"""Values of settings that are allowed alone, but not together."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS, STORAGE_CLASSES, TMP_MAXIMUM_MB

if TYPE_CHECKING:
    from stacks.settings import DeploymentSettings

type Conflict = tuple[set[str], str]
"""The keys of the settings, and what is wrong."""

IDLE_MB: Final = 100
"""Memory of a function that has been given nothing yet, in MiB."""

READING_MB: Final = 600
"""What reading the parameters of one message of 20 MB takes for a moment; one is read at a time."""

PAYLOAD_MB: Final = 70
"""What each message of 20 MB takes until ReportFlow has answered: as it came, as it is sent, and
what lies unused between them."""

PACED_SECONDS: Final = 2.5
"""The least wait of a message that found no slot of the rate limit, for each time that it came."""


def conflicts(settings: "DeploymentSettings") -> Iterator[Conflict]:
    """All that is wrong between the values of the settings."""
    yield from _of_jobs(settings)
    yield from _of_the_pace(settings)
    yield from _of_payloads(settings)
    yield from _of_the_archive(settings)


def _of_jobs(settings: "DeploymentSettings") -> Iterator[Conflict]:
    if settings.downloader_tmp_mb > TMP_MAXIMUM_MB:
        yield (
            {"download_batch_size", "max_file_mb"},
            (
                f"download_batch_size = {settings.download_batch_size}, "
                f"max_file_mb = {settings.max_file_mb}: such a batch needs "
                f"{settings.downloader_tmp_mb} MiB of /tmp and Lambda gives at most "
                f"{TMP_MAXIMUM_MB}; lower one of the two"
            ),
        )
    longest_wait = settings.message_retention_days + SQS_MAXIMUM_RETENTION_DAYS
    if settings.status_ttl_days < longest_wait:
        yield (
            {"status_ttl_days", "message_retention_days"},
            (
                f"status_ttl_days = {settings.status_ttl_days}: must be at least {longest_wait}, "
                "since a message can come back from the dead-letter queue that late, and the "
                "PDF of a job that is forgotten by then would be made again"
            ),
        )
    if (
        settings.completion_deadline_seconds
        >= settings.check_delay_seconds * settings.max_receive_count
    ):
        yield (
            {"completion_deadline_seconds", "check_delay_seconds", "max_receive_count"},
            (
                f"completion_deadline_seconds = {settings.completion_deadline_seconds}: must be "
                "less than check_delay_seconds × max_receive_count = "
                f"{settings.check_delay_seconds * settings.max_receive_count}, or the check's "
                "receives are used up before the job is given up"
            ),
        )
    if settings.completion_deadline_seconds >= settings.max_message_age_seconds:
        yield (
            {"completion_deadline_seconds", "message_retention_days"},
            (
                f"completion_deadline_seconds = {settings.completion_deadline_seconds}: must be "
                f"less than {settings.max_message_age_seconds}, after which a check's message is "
                f"given up at message_retention_days = {settings.message_retention_days}"
            ),
        )
    settled = settings.submitter_timeout_seconds + settings.outcome_grace_seconds
    if settings.orphan_grace_seconds <= settled:
        yield (
            {"orphan_grace_seconds", "submitter_timeout_seconds", "outcome_grace_seconds"},
            (
                f"orphan_grace_seconds = {settings.orphan_grace_seconds}: must be more than "
                f"submitter_timeout_seconds + outcome_grace_seconds = {settled}, or the "
                "webhook of an unanswered submission is given up before it can settle it"
            ),
        )
    if settings.unfinished_alarm_seconds <= settings.orphan_grace_seconds:
        yield (
            {"unfinished_alarm_seconds", "orphan_grace_seconds"},
            (
                f"unfinished_alarm_seconds = {settings.unfinished_alarm_seconds}: must be more "
                f"than orphan_grace_seconds = {settings.orphan_grace_seconds}, or each webhook "
                "for somebody else's file raises the alarm"
            ),
        )
    if settings.max_attempts >= settings.max_receive_count:
        yield (
            {"max_attempts", "max_receive_count"},
            (
                f"max_receive_count = {settings.max_receive_count}: must be more than "
                f"max_attempts = {settings.max_attempts}, or messages are given up before their "
                "job's attempts are used up"
            ),
        )


def _of_the_pace(settings: "DeploymentSettings") -> Iterator[Conflict]:
    limit, burst = settings.reportflow_requests_per_minute, settings.reportflow_burst
    if limit and burst >= limit:
        yield (
            {"reportflow_requests_per_minute", "reportflow_burst"},
            (
                f"reportflow_burst = {burst}: must be less than reportflow_requests_per_minute = "
                f"{limit}, or nothing is left of the minute after a burst"
            ),
        )
    receives = settings.max_receive_count
    lasting = int(PACED_SECONDS / 2 * receives * (receives - 1))
    if limit and lasting < settings.max_message_age_seconds:
        yield (
            {"reportflow_requests_per_minute", "max_receive_count", "message_retention_days"},
            (
                f"max_receive_count = {receives}: a message that waits for the rate limit could "
                f"use its receives up within {lasting} s, before its age ends it at "
                f"message_retention_days = {settings.message_retention_days}; raise the first, "
                "lower the last, or set reportflow_requests_per_minute = 0"
            ),
        )


def _of_payloads(settings: "DeploymentSettings") -> Iterator[Conflict]:
    batch, memory = settings.request_batch_size, settings.submitter_memory_mb
    needed = IDLE_MB + READING_MB + batch * PAYLOAD_MB
    if settings.payload_buckets and memory < needed:
        fitting = (memory - IDLE_MB - READING_MB) // PAYLOAD_MB
        smaller = f", or request_batch_size to {fitting} at most" if fitting > 0 else ""
        yield (
            {"payload_buckets", "request_batch_size", "submitter_memory_mb"},
            (
                f"request_batch_size = {batch}, submitter_memory_mb = {memory}: with "
                f"payload_buckets, such a batch of 20 MB each needs {needed} MiB; set "
                f"submitter_memory_mb to {needed} at least{smaller}"
            ),
        )


def _of_the_archive(settings: "DeploymentSettings") -> Iterator[Conflict]:
    expiry = settings.archive_expiry_days
    moved = settings.archive_transition_days
    storage_class = STORAGE_CLASSES[settings.archive_transition_class]
    if moved and moved < storage_class.earliest_days:
        yield (
            {"archive_transition_days", "archive_transition_class"},
            (
                f"archive_transition_days = {moved}: S3 moves nothing to "
                f"{settings.archive_transition_class} before {storage_class.earliest_days} days"
            ),
        )
    if moved and expiry and expiry < moved + storage_class.billed_days:
        yield (
            {"archive_expiry_days", "archive_transition_days", "archive_transition_class"},
            (
                f"archive_expiry_days = {expiry}: must be at least archive_transition_days + "
                f"{storage_class.billed_days} = {moved + storage_class.billed_days}, since "
                f"{settings.archive_transition_class} bills that many days of each object"
            ),
        )
    if expiry and not settings.archive_noncurrent_days:
        yield (
            {"archive_expiry_days", "archive_noncurrent_days"},
            (
                f"archive_expiry_days = {expiry}: needs archive_noncurrent_days, or what expires "
                "is only hidden, and stored and billed for ever"
            ),
        )
    if (settings.archive_lock_mode == "off") != (settings.archive_lock_days == 0):
        yield (
            {"archive_lock_mode", "archive_lock_days"},
            (
                f"archive_lock_mode = {settings.archive_lock_mode!r}, archive_lock_days = "
                f"{settings.archive_lock_days}: a lock has both a mode and days, or neither"
            ),
        )
    if expiry and expiry < settings.archive_lock_days:
        yield (
            {"archive_expiry_days", "archive_lock_days"},
            (
                f"archive_expiry_days = {expiry}: must be at least archive_lock_days = "
                f"{settings.archive_lock_days}, or PDFs are hidden that must be kept"
            ),
        )
    if settings.archive_lock_mode == "compliance" and settings.removal_policy == "destroy":
        yield (
            {"archive_lock_mode", "removal_policy"},
            (
                "archive_lock_mode = 'compliance', removal_policy = 'destroy': nobody can empty "
                "such a bucket before its locks end, so it cannot be destroyed; retain it"
            ),
        )
