"""One request sent and judged: what the suite and the long run have in common."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.properties.case import Case
from tests.properties.invariants import verdict_on, violations
from tests.properties.over_http import (
    Front,
    can_be_sent,
    front,
    raw,
    wrong_exchange,
)
from tests.properties.receiver import Outcome, Receiver, receiver
from tests.properties.signing import is_signed


@dataclass
class Judge:
    """Sends requests in several ways and counts what became of them.

    `plain` takes unsigned requests, `signed` does not.
    """

    plain: Receiver
    signed: Receiver
    front: Front
    fates: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)

    def in_process(self, case: Case, *, signed: bool = False) -> list[str]:
        """Hand the request to the function; what is wrong with the outcome."""
        outcome = (self.signed if signed else self.plain).send(case)
        verdict = verdict_on(outcome, is_signed if signed else None)
        self.fates[verdict.fate] += 1
        self.statuses[str(outcome.status)] += 1
        return violations(case, outcome, verdict)

    def while_aws_fails(self, case: Case, *, drops: bool) -> list[str]:
        """As `in_process`, while the queue refuses everything or drops part of it."""
        stand_in = self.plain.aws
        stand_in.drops, stand_in.refuses_queue = drops, not drops
        try:
            outcome = self.plain.send(case)
        finally:
            stand_in.drops = stand_in.refuses_queue = False
        self.statuses[f"{outcome.status} while AWS failed"] += 1
        return violations(case, outcome, verdict_on(outcome), works=False)

    def over_http(self, case: Case) -> list[str]:
        """Send the request through the HTTP front end; it must fare as it does without."""
        if not can_be_sent(case):
            return []
        expected = self.plain.send(case)
        answers, outcomes = self.front.exchange(raw(case))
        self.statuses["over HTTP"] += 1
        found = self._judged(case, outcomes) + wrong_exchange(answers, outcomes)
        # The front end itself refuses what is too long for it, and methods that it does not know.
        refused_before = not outcomes and answers and answers[0][0] in {404, 413, 414, 431, 501}
        if not refused_before and answers != [(expected.status, expected.body)]:
            found.append(f"over HTTP it was answered {answers}, in process {expected.status}")
        return found

    def bytes_sent(self, sent: bytes) -> list[str]:
        """Send bytes that are nearly HTTP; what reaches the function is judged as ever."""
        answers, outcomes = self.front.exchange(sent)
        self.statuses["broken HTTP"] += 1
        return self._judged(Case(body=sent), outcomes) + wrong_exchange(answers, outcomes)

    def _judged(self, case: Case, outcomes: list[Outcome]) -> list[str]:
        return [
            found
            for outcome in outcomes
            for found in violations(case, outcome, verdict_on(outcome))
        ]


@contextmanager
def judging() -> Iterator[Judge]:
    """A judge with receivers after a cold start."""
    with ExitStack() as stack:
        signed = stack.enter_context(receiver(WEBHOOK_SIGNATURE="required"))
        plain = stack.enter_context(receiver())
        # The first call makes what is made once; the second receiver's variables stay in force.
        yield Judge(plain, signed, stack.enter_context(front(plain)))
