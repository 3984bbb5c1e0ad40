"""Checks that the settings fit together. Each value may be allowed, but not the combination."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reportflow.contract import CONTRACTS
from stacks.quotas import SQS_MAXIMUM_RETENTION_DAYS, STORAGE_CLASSES, TMP_MAXIMUM_MB

if TYPE_CHECKING:
    from stacks.settings import DeploymentSettings

IDLE_MB: Final = 100
"""Memory of an idle function, in MiB."""

READING_MB: Final = 600
"""Memory to parse one message of 20 MB, in MiB. The submitter parses one message at a time."""

PAYLOAD_MB: Final = 70
"""Memory that a message of 20 MB takes until ReportFlow answers, in MiB: the message, the request
and fragmentation."""

LARGEST_MB: Final[Mapping[str, int]] = {
    name: contract.max_request_bytes // 2**20 for name, contract in CONTRACTS.items()
}
"""The largest request by contract. Memory grows with it, from the numbers for 20 MB."""

NO_SLOT_SECONDS: Final = 0.015
"""The shortest delay of a message without a slot of the rate limiter, multiplied by the square of
its deliveries so far."""

LONGEST_DELAY: Final = 3600
"""The longest delay of a message, in seconds."""

LAST_HOURS: Final = 3
"""A message is given up this long before its retention ends, because the longest delay between two
deliveries is one hour, and the longest visibility timeout one and a half."""

SPARE_TMP_MB: Final = 64
"""Space in the downloader's /tmp that a batch's files must leave free, in MiB."""


@dataclass(frozen=True)
class Condition:
    """A condition between settings: a sentence for users, and its check.

    The sentence names each setting that the check reads, in backticks. It appears in
    docs/settings.md and in the error message, in which `fix` follows it as the next step.
    """

    sentence: str
    holds: Callable[["DeploymentSettings"], bool]
    fix: Callable[["DeploymentSettings"], str]

    @property
    def settings(self) -> list[str]:
        """The settings that the sentence names."""
        return list(dict.fromkeys(re.findall(r"`(contract|[a-z]+(?:_[a-z]+)+)`", self.sentence)))


def conflicts(
    settings: "DeploymentSettings", paths: Mapping[str, str]
) -> Iterator[tuple[set[str], str]]:
    """Yield each conflict: the settings, and an error message; `paths` as in `from_context`."""
    for condition in CONDITIONS:
        if not condition.holds(settings):
            names = condition.settings
            values = ", ".join(
                f"{paths.get(name, name)} = {getattr(settings, name)!r}" for name in names
            )
            sentence = condition.sentence.replace("`", "")
            yield set(names), f"{values}: {sentence} {condition.fix(settings)}"


def _rate_limited_seconds(settings: "DeploymentSettings") -> int:
    """Return the shortest time in which the rate limiter alone uses up a message's deliveries."""
    return int(
        sum(
            min(NO_SLOT_SECONDS * delivery**2, LONGEST_DELAY)
            for delivery in range(1, settings.max_receive_count)
        )
    )


def _batch_memory_mb(settings: "DeploymentSettings") -> int:
    """Return the memory that the submitter needs for a batch of the largest payloads."""
    single, each = _payload_memory_mb(settings.contract)
    return single + settings.request_batch_size * each


def _payload_memory_mb(contract: str) -> tuple[int, int]:
    """Return the memory for a batch of the contract's largest payloads: once, and for each."""
    largest = LARGEST_MB[contract]
    return IDLE_MB + READING_MB * largest // 20, PAYLOAD_MB * largest // 20


def _fix_batch_memory(settings: "DeploymentSettings") -> str:
    single, each = _payload_memory_mb(settings.contract)
    fitting = (settings.submitter_memory_mb - single) // each
    smaller = f", or request_batch_size to {fitting} or less" if fitting > 0 else ""
    return f"Set submitter_memory_mb to {_batch_memory_mb(settings)} or more{smaller}."


def _remembered_days(settings: "DeploymentSettings") -> int:
    """Return the age at which a message can come back from the dead-letter queue."""
    return settings.message_retention_days + SQS_MAXIMUM_RETENTION_DAYS


def _kept_days(settings: "DeploymentSettings") -> int:
    """Return the days after which it saves money to expire a PDF that has moved."""
    billed = STORAGE_CLASSES[settings.archive_transition_class].billed_days
    return settings.archive_transition_days + billed


CONDITIONS: Final = (
    Condition(
        "Unless `reportflow_requests_per_minute` is 0, `reportflow_burst` must be less than it, or "
        "a burst uses up the whole minute.",
        holds=lambda s: (
            s.reportflow_requests_per_minute == 0
            or s.reportflow_burst < s.reportflow_requests_per_minute
        ),
        fix=lambda s: (
            f"Set reportflow_burst to less than {s.reportflow_requests_per_minute}, or "
            f"reportflow_requests_per_minute to more than {s.reportflow_burst}."
        ),
    ),
    Condition(
        "Unless `reportflow_requests_per_minute` is 0, `max_receive_count` must last for "
        "`message_retention_days`, however often a message finds no slot of the rate limiter: 670 "
        "for 14 days, 500 for 7.",
        holds=lambda s: (
            s.reportflow_requests_per_minute == 0
            or _rate_limited_seconds(s) >= s.max_message_age_seconds
        ),
        fix=lambda s: (
            f"A message could use up its deliveries within {_rate_limited_seconds(s)} s. Raise "
            "max_receive_count, lower message_retention_days, or set "
            "reportflow_requests_per_minute to 0."
        ),
    ),
    Condition(
        f"`download_batch_size` × `max_file_mb` + {SPARE_TMP_MB} MiB must fit into Lambda's /tmp, "
        f"which has at most {TMP_MAXIMUM_MB:,} MiB.",
        holds=lambda s: s.downloader_tmp_mb <= TMP_MAXIMUM_MB,
        fix=lambda s: f"This batch needs {s.downloader_tmp_mb} MiB. Lower one of the two.",
    ),
    Condition(
        "With `payload_buckets`, `submitter_memory_mb` must be large enough for a batch of the "
        "largest payloads of the `contract`: at least "
        + ", ".join(
            f"{_payload_memory_mb(contract)[0]} + {_payload_memory_mb(contract)[1]} × "
            f"`request_batch_size` for {contract} ({largest} MB)"
            for contract, largest in LARGEST_MB.items()
        )
        + ".",
        holds=lambda s: not s.payload_buckets or s.submitter_memory_mb >= _batch_memory_mb(s),
        fix=_fix_batch_memory,
    ),
    Condition(
        "`status_ttl_days` must be at least `message_retention_days` + "
        f"{SQS_MAXIMUM_RETENTION_DAYS}: a message can come back from the dead-letter queue that "
        "late, and without its job's record the pipeline would make its PDF again.",
        holds=lambda s: s.status_ttl_days >= _remembered_days(s),
        fix=lambda s: f"Set status_ttl_days to {_remembered_days(s)} or more.",
    ),
    Condition(
        "`completion_deadline_seconds` must be less than `check_delay_seconds` × "
        "`max_receive_count`, or the completion check's message uses up its deliveries before the "
        "job is given up.",
        holds=lambda s: s.completion_deadline_seconds < s.check_delay_seconds * s.max_receive_count,
        fix=lambda s: (
            "Set completion_deadline_seconds to less than "
            f"{s.check_delay_seconds * s.max_receive_count}."
        ),
    ),
    Condition(
        "`completion_deadline_seconds` must be shorter than `message_retention_days` by more than "
        f"{LAST_HOURS} hours, or the completion check's message is given up before the job.",
        holds=lambda s: s.completion_deadline_seconds < s.max_message_age_seconds,
        fix=lambda s: f"Set completion_deadline_seconds to less than {s.max_message_age_seconds}.",
    ),
    Condition(
        "`orphan_grace_seconds` must be more than `submitter_timeout_seconds` + "
        "`outcome_grace_seconds`, or the webhook of an unanswered submission is given up before it "
        "can reconcile the job.",
        holds=lambda s: (
            s.orphan_grace_seconds > s.submitter_timeout_seconds + s.outcome_grace_seconds
        ),
        fix=lambda s: (
            "Set orphan_grace_seconds to more than "
            f"{s.submitter_timeout_seconds + s.outcome_grace_seconds}."
        ),
    ),
    Condition(
        "`unfinished_alarm_seconds` must be more than `orphan_grace_seconds`, or each webhook for "
        "another system's file raises the alarm.",
        holds=lambda s: s.unfinished_alarm_seconds > s.orphan_grace_seconds,
        fix=lambda s: f"Set unfinished_alarm_seconds to more than {s.orphan_grace_seconds}.",
    ),
    Condition(
        "`max_receive_count` must be more than `max_attempts`, or a message is given up before "
        "its job's attempts are used up.",
        holds=lambda s: s.max_receive_count > s.max_attempts,
        fix=lambda s: f"Set max_receive_count to more than {s.max_attempts}.",
    ),
    Condition(
        "`archive_transition_days` must be 0, or at least the age at which S3 moves an object to "
        "`archive_transition_class`: "
        f"{STORAGE_CLASSES['STANDARD_IA'].earliest_days} days for STANDARD_IA.",
        holds=lambda s: (
            s.archive_transition_days == 0
            or s.archive_transition_days
            >= STORAGE_CLASSES[s.archive_transition_class].earliest_days
        ),
        fix=lambda s: (
            "Set archive_transition_days to "
            f"{STORAGE_CLASSES[s.archive_transition_class].earliest_days} or more."
        ),
    ),
    Condition(
        "If `archive_transition_days` is not 0, `archive_expiry_days` must be 0, or at least that "
        "many days plus the days that `archive_transition_class` always bills: "
        f"{', '.join(f'{each.billed_days} for {name}' for name, each in STORAGE_CLASSES.items())}.",
        holds=lambda s: (
            s.archive_transition_days == 0
            or s.archive_expiry_days == 0
            or s.archive_expiry_days >= _kept_days(s)
        ),
        fix=lambda s: f"Set archive_expiry_days to {_kept_days(s)} or more.",
    ),
    Condition(
        "If `archive_expiry_days` is not 0, `archive_noncurrent_days` must not be 0: in a bucket "
        "with versions, an expired PDF is only hidden, and S3 stores and bills it for ever.",
        holds=lambda s: s.archive_expiry_days == 0 or s.archive_noncurrent_days > 0,
        fix=lambda _: "Set archive_noncurrent_days to 1 or more.",
    ),
    Condition(
        "`archive_lock_mode` must be off if, and only if, `archive_lock_days` is 0.",
        holds=lambda s: (s.archive_lock_mode == "off") == (s.archive_lock_days == 0),
        fix=lambda _: "Set both a mode and days, or neither.",
    ),
    Condition(
        "`archive_expiry_days` must be 0, or at least `archive_lock_days`, or the expiry hides "
        "PDFs that are still locked.",
        holds=lambda s: s.archive_expiry_days == 0 or s.archive_expiry_days >= s.archive_lock_days,
        fix=lambda s: f"Set archive_expiry_days to {s.archive_lock_days} or more.",
    ),
    Condition(
        "If `archive_lock_mode` is compliance, `removal_policy` must be retain: nobody can empty "
        "such a bucket before its locks end, so the bucket cannot be destroyed.",
        holds=lambda s: s.archive_lock_mode != "compliance" or s.removal_policy == "retain",
        fix=lambda _: "Set removal_policy to retain, or archive_lock_mode to governance.",
    ),
)
