"""One seed, from the first message to the last invariant."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from reportflow.rate_limiter import RateLimit
from stacks.settings import DeploymentSettings
from tests.simulation.faults import Chaos, Fault, swarm
from tests.simulation.narrator import Narrator
from tests.simulation.process import Fates, Moment
from tests.simulation.scheduler import DAY, HOUR
from tests.simulation.sqs import Order
from tests.simulation.upstream import Sending, sendings
from tests.simulation.wire import in_place_of_sockets
from tests.simulation.world import Circumstances, World, in_place_of_threads

REST: Final = 10 * DAY
"""After so much virtual time, whatever is not at its end never will be."""

type Change = Callable[[World], AbstractContextManager[object]]


def unchanged(_: World) -> AbstractContextManager[object]:
    """Leaves the world as it is."""
    return nullcontext()


@dataclass(frozen=True)
class Run:
    """How a seed went. `outcomes` counts the jobs by their end, and failures by their code."""

    seed: int
    violations: tuple[str, ...]
    faults: Mapping[Fault, int]
    outcomes: Mapping[str, int]
    story: tuple[str, ...]
    virtual_seconds: float


class RandomDeaths:
    """Any process can die at any call."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    def dies(self, _function: str, _call: str, _moment: Moment) -> bool:
        """See `Fates.dies`."""
        rate = self._chaos.rates[Fault.CRASH]
        return rate > 0.0 and self._chaos.rng.random() < rate


def simulate(seed: int, jobs: int, *, listening: bool = False, change: Change = unchanged) -> Run:
    """Run one seed, an odd one by the contract `central`.

    `change` breaks the code or the world for its duration.
    """
    rng = random.Random(seed)
    chaos = Chaos(rng, swarm(rng))
    narrator = Narrator(listening=listening)
    if listening:
        chaos.tell = narrator.tell
    with in_place_of_threads(narrator):
        world = World(rng, chaos, RandomDeaths(chaos), _circumstances(seed, rng), narrator)
        trouble_ends = rng.uniform(1, 12) * HOUR
        _send(world, jobs)
        _plan(world, trouble_ends)
        with change(world), in_place_of_sockets(world.service):
            world.scheduler.run(trouble_ends)
            chaos.stop()
            narrator.tell("nothing goes wrong any more")
            world.scheduler.run(trouble_ends + REST)
    world.checker.finish()
    return Run(
        seed,
        tuple(world.checker.violations),
        dict(chaos.counts),
        _outcomes(world),
        tuple(narrator.lines),
        world.scheduler.now,
    )


def deliver_calmly(
    plan: Iterable[Sending],
    fates: Fates,
    *,
    seed: int = 0,
    order: Order = Order.VISIBLE,
    change: Change = unchanged,
    **settings: Any,
) -> World:
    """Run messages through a world in which nothing goes wrong but what `fates` and `change` say.

    The invariants are checked; the world is at rest. `settings` are those of the deployment.
    """
    rng = random.Random(seed)
    narrator = Narrator()
    circumstances = Circumstances(
        settings=DeploymentSettings(workspace_id="acme", **settings),
        limit=RateLimit(100, 5),
        order=order,
    )
    with in_place_of_threads(narrator):
        world = World(rng, Chaos(rng, {}), fates, circumstances, narrator)
        for sending in plan:
            world.scheduler.after(sending.at, partial(world.send, sending))
        with change(world), in_place_of_sockets(world.service):
            world.scheduler.run(REST)
    world.checker.finish()
    return world


def _circumstances(seed: int, rng: random.Random) -> Circumstances:
    check_delay, deadline = rng.choice(((60, 3600), (300, 3600), (300, 21_600), (900, 21_600)))
    max_attempts = rng.choice((5, 24))
    return Circumstances(
        settings=DeploymentSettings(
            workspace_id="acme",
            contract="central" if seed % 2 else "workspace",
            max_attempts=max_attempts,
            max_receive_count=rng.choice((100, 990)),
            orphan_grace_seconds=rng.choice((120, 900)),
            outcome_grace_seconds=rng.choice((1, 60, 600)),
            check_delay_seconds=check_delay,
            completion_deadline_seconds=deadline,
            request_batch_size=rng.choice((1, 10)),
            download_batch_size=rng.choice((1, 5)),
            message_retention_days=rng.choice((1, 14)),
        ),
        not_ready_status=rng.choice((404, 409, 425, 503)),
        webhook_attempts=rng.choice((1, 3)),
        requests_a_minute=rng.choice((1_000_000, 60)),
        limit=RateLimit(60, 6) if max_attempts == 24 else None,
        urls_work=rng.random() < 0.7,
        index_lag_seconds=rng.choice((0.05, 2.0, 60.0)),
        order=rng.choice(tuple(Order)),
    )


def _send(world: World, jobs: int) -> None:
    plan = sendings(
        world.rng,
        jobs,
        world.rng.choice((5, 600, 4000)),
        twice=world.chaos.rates[Fault.SENT_TWICE],
        trouble=world.rng.random() < 0.8,
    )
    for sending in plan:
        if sending.again:
            world.chaos.note(Fault.SENT_TWICE)
        world.scheduler.after(sending.at, partial(world.send, sending))


def _plan(world: World, trouble_ends: float) -> None:
    """What happens to a run as a whole: rotations of the keys, strange webhooks, operators."""
    rng, chaos, scheduler = world.rng, world.chaos, world.scheduler
    if chaos.strikes(Fault.KEYS_REVOKED):
        revoked_at = rng.random() * trouble_ends / 2
        fixed_at = min(revoked_at + rng.random() * 6 * HOUR, trouble_ends)
        if chaos.strikes(Fault.LONG_OUTAGE):
            fixed_at = revoked_at + rng.uniform(0.5, 2) * DAY
        fresh = ("app-2", "secret-2")

        def revoke() -> None:
            world.service.keys = fresh

        def fix() -> None:
            world.vault.values.update(appKey=fresh[0], secretKey=fresh[1], centralAppKey=fresh[0])

        scheduler.after(revoked_at, revoke)
        scheduler.after(fixed_at, fix)
    for number in range(20):
        if chaos.strikes(Fault.WEBHOOK_FOREIGN):
            scheduler.after(rng.random() * trouble_ends, partial(world.post_foreign, number))
        if chaos.strikes(Fault.WEBHOOK_FORGED):
            scheduler.after(rng.random() * trouble_ends, partial(world.post_forged, number))
    if rng.random() < chaos.rates[Fault.REDRIVEN]:
        for _ in range(3):
            scheduler.after(rng.random() * trouble_ends, lambda: _redrive(world))


def _redrive(world: World) -> None:
    for dead_letters, source in (
        (world.request_dlq, world.requests),
        (world.download_dlq, world.downloads),
    ):
        for message in list(dead_letters.messages.values()):
            if world.rng.random() < 0.5:
                world.redrive(message, dead_letters, source)


def _outcomes(world: World) -> Mapping[str, int]:
    return Counter(
        item["errorCode"]["S"] if "errorCode" in item else item["status"]["S"]
        for item in world.table.items.values()
    )
