"""Writes docs/settings.md: `python -m stacks.settings_page`, or `make docs`."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from stacks.conflicts import IDLE_MB, PAYLOAD_MB, READING_MB
from stacks.settings import DeploymentSettings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/settings.md"

RELATIONS: Final[dict[frozenset[str], str]] = {
    frozenset({"reportflow_requests_per_minute", "reportflow_burst"}): (
        "the burst is a part of the limit, and less than all of it"
    ),
    frozenset({"reportflow_requests_per_minute", "max_receive_count", "message_retention_days"}): (
        "while the rate limit is kept, `max_receive_count` lasts for `message_retention_days`, "
        "however often a message comes and finds no slot: 990 for 14 days, 690 for 7"
    ),
    frozenset({"download_batch_size", "max_file_mb"}): (
        "a batch of the largest files, and 64 MiB, fit into the 10,240 MiB of `/tmp` that Lambda "
        "gives at most"
    ),
    frozenset({"payload_buckets", "request_batch_size", "submitter_memory_mb"}): (
        "with `payload_buckets`, the submitter's memory holds a batch of 20 MB each: "
        f"{IDLE_MB + READING_MB} MiB, and {PAYLOAD_MB} for each message"
    ),
    frozenset({"status_ttl_days", "message_retention_days"}): (
        "a record outlives the message: at least `message_retention_days` and the 14 days of the "
        "dead-letter queue, or the PDF of a job that is forgotten would be made again"
    ),
    frozenset({"completion_deadline_seconds", "check_delay_seconds", "max_receive_count"}): (
        "`completion_deadline_seconds` is less than `check_delay_seconds` × `max_receive_count`: "
        "the job is given up before its check is"
    ),
    frozenset({"completion_deadline_seconds", "message_retention_days"}): (
        "`completion_deadline_seconds` ends some hours before `message_retention_days` do, or the "
        "check's own message would be given up first"
    ),
    frozenset({"orphan_grace_seconds", "submitter_timeout_seconds", "outcome_grace_seconds"}): (
        "`orphan_grace_seconds` is more than the sum of the other two: the webhook of an "
        "unanswered submission lasts until it can settle it"
    ),
    frozenset({"unfinished_alarm_seconds", "orphan_grace_seconds"}): (
        "`unfinished_alarm_seconds` is more than `orphan_grace_seconds`: a webhook for somebody "
        "else's file raises no alarm"
    ),
    frozenset({"max_attempts", "max_receive_count"}): (
        "`max_receive_count` is more than `max_attempts`: a job's attempts end before its "
        "message's deliveries do"
    ),
    frozenset({"archive_transition_days", "archive_transition_class"}): (
        "S3 takes an object into `STANDARD_IA` after 30 days at the earliest"
    ),
    frozenset({"archive_expiry_days", "archive_transition_days", "archive_transition_class"}): (
        "a PDF that moves is kept for the days that its class bills in any case: 30 in "
        "`STANDARD_IA`, 90 in `GLACIER_IR`"
    ),
    frozenset({"archive_expiry_days", "archive_noncurrent_days"}): (
        "with an expiry, `archive_noncurrent_days` is not 0: in a bucket with versions, what "
        "expires is only hidden"
    ),
    frozenset({"archive_lock_mode", "archive_lock_days"}): "both or neither",
    frozenset({"archive_expiry_days", "archive_lock_days"}): (
        "no PDF expires before its lock ends"
    ),
    frozenset({"archive_lock_mode", "removal_policy"}): (
        "with `compliance`, the bucket is retained: nobody can empty it"
    ),
}
"""What `stacks.conflicts` demands, in words; a test compares the names."""

_HEAD: Final = """\
# Settings

Written by `make docs` from `stacks/settings.py`; a test fails when it is not current.

Each may stand in `cdk.json` under `context`, or be given with `-c KEY=VALUE` to the CDK CLI and
with `--set KEY=VALUE` to `python -m local up`. All mistakes are reported at once, before anything
is deployed. What the numbers come to is in [limits.md](limits.md).
"""


def page() -> str:
    """The whole page."""
    settings = fields(DeploymentSettings)
    return "\n".join(
        [
            _HEAD,
            "| Setting | Meaning | Allowed | Default |",
            "|---|---|---|---|",
            *(_row(setting) for setting in settings),
            "",
            "## What must fit together",
            "",
            "| Settings | What must hold |",
            "|---|---|",
            *_relations([setting.name for setting in settings]),
            "",
        ]
    )


def _row(setting: Field[Any]) -> str:
    meaning, allowed = setting.metadata["doc"], setting.metadata["rule"].allowed
    cells = (f"`{setting.name}`", meaning, allowed, _default(setting))
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _default(setting: Field[Any]) -> str:
    if setting.default is MISSING:
        # `from_context` makes it of the other one.
        return "see there" if "Default: " in setting.metadata["doc"] else "must be given"
    if setting.default in {"", ()}:
        return "none"
    return f"`{setting.default}`"


def _relations(order: list[str]) -> Iterator[str]:
    for names, what in RELATIONS.items():
        told = ", ".join(f"`{name}`" for name in sorted(names, key=order.index))
        yield f"| {told} | {what} |"


if __name__ == "__main__":
    PAGE.write_text(page())
