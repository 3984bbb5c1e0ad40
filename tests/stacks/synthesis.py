"""Runs the CDK app the way a person does."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stacks.packaging import REPOSITORY

DEFAULTS = {"environment": "", "workspace_id": "your-workspace-id"}
"""No environment, and the one setting that has no default."""

CHANGED = {
    "environment": "prod",
    "workspace_id": "acme",
    "contract": "central",
    "reportflow_url": "http://127.0.0.1:9000/v1/",
    "reportflow_token_url": "http://127.0.0.1:9000/oauth/token",
    "former_reportflow_url": "http://127.0.0.1:9002/v1",
    "reportflow_files_url": "http://127.0.0.1:9001/files/",
    "reportflow_requests_per_minute": "600",
    "reportflow_burst": "6",
    "tags": "cost-center=42, team=billing",
    "stack_prefix": "Invoices",
    "removal_policy": "destroy",
    "payload_buckets": "acme-payloads, acme-more-payloads",
    "payload_key_arns": "arn:aws:kms:eu-west-1:111122223333:key/1a2b-3c",
    "request_senders": "444455556666, arn:aws:iam::111122223333:role/apps/billing, "
    "arn:aws:sns:us-east-1:111122223333:orders, "
    "arn:aws:events:us-east-1:111122223333:rule/shop/paid",
    "submitter_timeout_seconds": "31",
    "webhook_timeout_seconds": "11",
    "downloader_timeout_seconds": "61",
    "webhook_signature": "required",
    "submitter_memory_mb": "3201",
    "webhook_memory_mb": "202",
    "downloader_memory_mb": "203",
    "request_batch_size": "9",
    "download_batch_size": "7",
    "request_maximum_concurrency": "3",
    "download_maximum_concurrency": "4",
    "max_attempts": "6",
    "max_receive_count": "790",
    "message_retention_days": "8",
    "max_file_mb": "300",
    "orphan_grace_seconds": "777",
    "outcome_grace_seconds": "78",
    "check_delay_seconds": "79",
    "completion_deadline_seconds": "3900",
    "status_ttl_days": "99",
    "archive_transition_days": "40",
    "archive_transition_class": "STANDARD_IA",
    "archive_expiry_days": "4000",
    "archive_noncurrent_days": "41",
    "archive_lock_mode": "governance",
    "archive_lock_days": "3650",
    "alarm_email": "night-shift@example.com",
    "unfinished_alarm_seconds": "1234",
    "refused_webhooks_alarm": "11",
    "lost_webhooks_alarm": "6",
    "log_level": "DEBUG",
    "log_retention_days": "7",
}
"""Every setting, as `-c` gives it, at another value than its default."""


def run_app(
    folder: Path, settings: Mapping[str, str] = DEFAULTS, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `python app.py` on a machine without node, Docker or anything else on its PATH."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PATH": "",
            "CDK_OUTDIR": str(folder),
            "CDK_CONTEXT_JSON": json.dumps(settings),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def synthesize(folder: Path, settings: Mapping[str, str] = DEFAULTS, **environment: str) -> Path:
    done = run_app(folder, settings, **environment)
    assert done.returncode == 0, done.stderr
    return folder
