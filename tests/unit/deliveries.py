"""A message that is delivered again, and the invocation that gets it."""

from dataclasses import replace
from datetime import timedelta

from reportflow.consumer import Invocation
from reportflow.queues import Record
from tests.unit.clock import Clock

INVOCATION_SECONDS = 30
PAST_THE_LEASE = INVOCATION_SECONDS + 60
MAX_ATTEMPTS = 3


def redelivered(record: Record) -> Record:
    """The same message once more, as SQS hands it over."""
    handle = record.receipt_handle + "+"
    return replace(record, receipt_handle=handle, receive_count=record.receive_count + 1)


def next_invocation(clock: Clock) -> Invocation:
    return Invocation(f"request-{clock()}", clock() + timedelta(seconds=INVOCATION_SECONDS))
