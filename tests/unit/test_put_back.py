"""How long a message stays away that finds no slot of the rate limit."""

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import override

import pytest

from reportflow.consumer import MAX_DELAY_SECONDS, GiveUpLimits, put_back
from reportflow.errors import NoSlot, PipelineError
from reportflow.jobs import Step
from reportflow.queues import Record
from stacks.settings import DeploymentSettings
from tests.unit.clock import START

RECORD = Record("message-1", "receipt-1", "{}", 1, START, {})


@dataclass
class Waits:
    """A queue that records how long it was to keep its message from view, each time."""

    seconds: list[float] = field(default_factory=list)

    def return_after(self, _record: Record, seconds: float) -> None:
        self.seconds.append(seconds)

    def waiting(self) -> int:
        raise NotImplementedError

    def dead_letter(self, record: Record, error: PipelineError, step: Step, job_id: str) -> None:
        raise NotImplementedError


class Soonest(random.Random):
    """Gives the least of what it would give."""

    @override
    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.mark.parametrize(
    ("receive_count", "least", "most"),
    [(1, 20, 20), (30, 20, 20), (100, 150, 150), (989, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS)],
)
def test_without_a_slot_a_message_waits_as_long_as_the_error_says_and_longer_each_time(
    receive_count: int, least: float, most: float
) -> None:
    waits = Waits()
    rng = random.Random(7)

    for _ in range(20):
        record = replace(RECORD, receive_count=receive_count)
        put_back(record, NoSlot(timedelta(seconds=20)), waits.return_after, rng)

    assert least <= min(waits.seconds) <= max(waits.seconds) <= most
    assert len(set(waits.seconds)) > 1 or least == most


def test_a_message_that_never_finds_a_slot_is_given_up_by_its_age_and_not_by_its_receives() -> None:
    defaults = DeploymentSettings(workspace_id="acme")
    give_up_limits = GiveUpLimits(
        defaults.max_receive_count, timedelta(seconds=defaults.max_message_age_seconds)
    )
    waits = Waits()
    record = RECORD

    while (
        end := give_up_limits.reached(record, START + timedelta(seconds=sum(waits.seconds)))
    ) is None:
        put_back(record, NoSlot(timedelta()), waits.return_after, Soonest())
        record = replace(record, receive_count=record.receive_count + 1)

    assert end.code == "WAITED_TOO_LONG"
