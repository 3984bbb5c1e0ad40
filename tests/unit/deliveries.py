"""A message that is delivered again, the invocation that gets it, and its give-up limits."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from reportflow.consumer import GiveUpLimits, Invocation
from reportflow.contract.document import Document
from reportflow.contract.files import Accepted, Mark
from reportflow.queues import Record
from reportflow.submission import LEASE_MARGIN
from tests.unit.clock import Clock

INVOCATION_SECONDS = 30
OUTCOME_GRACE = timedelta(minutes=1)
PAST_THE_LEASE = INVOCATION_SECONDS + LEASE_MARGIN.total_seconds() + 0.1
PAST_THE_GRACE = PAST_THE_LEASE + OUTCOME_GRACE.total_seconds()
MAX_ATTEMPTS = 3
MAX_RECEIVES = 40

ORPHAN_GRACE = timedelta(minutes=15)
CHECK_INTERVAL = timedelta(minutes=5)
COMPLETION_DEADLINE = timedelta(hours=3)

GIVE_UP_LIMITS = GiveUpLimits(MAX_RECEIVES, timedelta(days=13))


def redelivered(record: Record) -> Record:
    """The same message once more, as SQS hands it over."""
    handle = record.receipt_handle + "+"
    return replace(record, receipt_handle=handle, receive_count=record.receive_count + 1)


def next_invocation(clock: Clock) -> Invocation:
    return Invocation(clock() + timedelta(seconds=INVOCATION_SECONDS))


class HalfAMinute(LambdaContext):
    """Lambda's context, with 30 seconds left."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 30_000


class Killed(BaseException):
    """The function's process is gone; nothing of ours handles it."""


class DeadEnd:
    """ReportFlow, as a function sees it that is killed before the answer."""

    def await_slot(self, deadline: datetime) -> None:
        """There always is one."""

    def submit(self, document: Document[Any], mark: Mark, deadline: datetime) -> Accepted:
        raise Killed(document.design_id, mark, deadline)
