"""Many messages at once on a fresh system: webhooks wait in the queue, and checks beside them."""

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from unittest.mock import patch

import pytest

from reportflow import rate_limiter
from reportflow.archiving import Archiving
from reportflow.jobs import JobStatus
from tests.simulation.faults import Fault
from tests.simulation.process import Moment
from tests.simulation.run import deliver_calmly
from tests.simulation.sqs import Order
from tests.simulation.upstream import one_job
from tests.simulation.world import World

BURST = tuple(one_job(f"job-{number:03}", number) for number in range(300))
CHECK_DELAY = 30
"""Seconds, as on one machine: the burst's last webhook waits much longer for its slot."""

ANY_ORDER = pytest.mark.parametrize("order", Order, ids=lambda order: order.name)


class Nobody:
    """Dies."""

    def dies(self, _function: str, _call: str, _moment: Moment) -> bool:
        return False


def burst(order: Order, *, lost: float = 0.0) -> World:
    """All jobs archived; so many of their webhooks were never sent."""

    def lose(world: World) -> AbstractContextManager[object]:
        world.chaos.rates[Fault.WEBHOOK_LOST] = lost
        return nullcontext()

    world = deliver_calmly(
        BURST,
        Nobody(),
        order=order,
        change=lose,
        check_delay_seconds=CHECK_DELAY,
        # A submission that waits longer for its slot takes it from a download.
        submitter_timeout_seconds=60,
    )
    assert {item["status"]["S"] for item in world.table.items.values()} == {JobStatus.ARCHIVED}
    return world


@ANY_ORDER
def test_a_webhook_that_waits_in_the_queue_is_not_counted_as_lost(order: Order) -> None:
    world = burst(order)

    assert world.checker.lost_webhooks == []
    assert world.checker.violations == []
    assert world.service.downloads == len(BURST)


@ANY_ORDER
@pytest.mark.parametrize("lost", [0.1, 1.0])
def test_of_a_burst_exactly_the_lost_webhooks_are_counted(order: Order, lost: float) -> None:
    world = burst(order, lost=lost)

    counted = world.checker.lost_webhooks
    assert len(counted) == len(set(counted)) == world.chaos.counts[Fault.WEBHOOK_LOST] > 0
    assert world.checker.violations == []
    assert world.service.downloads == len(BURST)


@pytest.mark.slow
@pytest.mark.parametrize("order", [Order.SENT, Order.ANY], ids=lambda order: order.name)
def test_the_checker_catches_a_check_that_does_not_let_messages_pass(order: Order) -> None:
    # All invocations are busy, so webhooks wait in the queue without having been seen.
    with (
        patch.object(rate_limiter, "NEAR", timedelta(hours=1)),
        patch.object(Archiving, "_let_messages_pass", lambda *_: None),
    ):
        world = burst(order)

    assert any("counted as lost" in violation for violation in world.checker.violations)
