"""What can go wrong, how often it does in one run, and how often it did."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Each is counted under its text."""

    CRASH = "process killed"
    TIME_OUT = "invocation timed out"
    STALL = "call stalled"
    AWS_THROTTLED = "AWS throttled"
    AWS_FAILED = "AWS failed"
    AWS_DENIED = "AWS denied by a policy"
    AWS_ANSWER_LOST = "AWS did it, answer lost"
    AWS_REPEATED = "AWS did it twice (SDK's retry)"
    AWS_BATCH_PARTIAL = "AWS took part of a batch"
    DELIVERED_TWICE = "message delivered twice at once"
    DELETED_IN_VAIN = "deleted message came again"
    DELETE_LOST = "message not deleted"
    REDRIVEN = "dead letter redriven"
    UNREACHABLE = "ReportFlow unreachable"
    LOST_BEFORE = "request lost before it was taken"
    LOST_AFTER = "answer lost after the request was taken"
    READ_TIMED_OUT = "no answer within the time-out"
    ANSWER_LATE = "answer later than the time-out"
    ANSWER_CUT = "answer cut off"
    ANSWER_HTML = "HTML in place of an answer"
    INTERIM_ANSWER = "interim answer before the final one"
    ANSWER_CROSSED = "answer went to another request"
    LEFT_OVER = "more bytes behind an answer"
    SERVER_ERROR = "ReportFlow answered 5xx"
    GATEWAY_TIME_OUT = "ReportFlow's gateway timed out"
    RATE_LIMITED = "ReportFlow answered 429"
    KEYS_REVOKED = "keys revoked"
    LONG_OUTAGE = "keys revoked for longer than a message may wait"
    RENDER_LATE = "PDF made late"
    RENDER_LOST = "PDF never made"
    WEBHOOK_LOST = "webhook lost"
    WEBHOOK_LATE = "webhook late"
    WEBHOOK_EARLY = "webhook before the PDF"
    WEBHOOK_TWICE = "webhook doubled"
    WEBHOOK_FOREIGN = "webhook for a file nobody asked for"
    WEBHOOK_FORGED = "webhook forged"
    WEBHOOK_OTHER = "webhook named another design or version"
    WEBHOOK_BARE = "webhook without what the file holds"
    WEBHOOK_MULTIPLE = "webhook about several files"
    BODY_CUT = "download cut off"
    BODY_SHORT = "download ended early without a word"
    BODY_HTML = "HTML in place of a PDF"
    BODY_SLOW = "download slow"
    KEY_TAKEN = "another document under a job's key"
    SENT_TWICE = "job sent twice by upstream"
    PAYLOAD_LOST = "payload deleted before it was read"


_RATES: Final[Mapping[Fault, float]] = {
    Fault.CRASH: 0.004,
    Fault.STALL: 0.004,
    Fault.AWS_THROTTLED: 0.006,
    Fault.AWS_FAILED: 0.006,
    Fault.AWS_ANSWER_LOST: 0.006,
    Fault.AWS_REPEATED: 0.01,
    Fault.AWS_BATCH_PARTIAL: 0.02,
    Fault.DELIVERED_TWICE: 0.03,
    Fault.DELETED_IN_VAIN: 0.02,
    Fault.DELETE_LOST: 0.02,
    Fault.REDRIVEN: 0.4,
    Fault.UNREACHABLE: 0.05,
    Fault.LOST_BEFORE: 0.03,
    Fault.LOST_AFTER: 0.03,
    Fault.ANSWER_LATE: 0.03,
    Fault.ANSWER_CUT: 0.02,
    Fault.ANSWER_HTML: 0.02,
    Fault.INTERIM_ANSWER: 0.05,
    Fault.ANSWER_CROSSED: 0.02,
    Fault.LEFT_OVER: 0.03,
    Fault.SERVER_ERROR: 0.05,
    Fault.GATEWAY_TIME_OUT: 0.02,
    Fault.RATE_LIMITED: 0.05,
    Fault.KEYS_REVOKED: 0.3,
    Fault.RENDER_LATE: 0.05,
    Fault.RENDER_LOST: 0.01,
    Fault.WEBHOOK_LOST: 0.08,
    Fault.WEBHOOK_LATE: 0.08,
    Fault.WEBHOOK_EARLY: 0.03,
    Fault.WEBHOOK_TWICE: 0.1,
    Fault.WEBHOOK_FOREIGN: 0.03,
    Fault.WEBHOOK_FORGED: 0.02,
    Fault.BODY_CUT: 0.03,
    Fault.BODY_SHORT: 0.03,
    Fault.BODY_HTML: 0.02,
    Fault.BODY_SLOW: 0.02,
    Fault.SENT_TWICE: 0.1,
    Fault.PAYLOAD_LOST: 0.05,
    Fault.KEY_TAKEN: 0.01,
    Fault.WEBHOOK_OTHER: 0.03,
    Fault.WEBHOOK_BARE: 0.1,
    Fault.WEBHOOK_MULTIPLE: 0.1,
    Fault.LONG_OUTAGE: 0.1,
}
"""Chance of each at one occasion, before the seed makes it rarer or more frequent."""

_SWARM: Final = (0.0, 0.0, 0.5, 1.0, 1.0, 3.0)
"""A run in which everything goes wrong never gets far: each seed leaves some kinds out and brings
others in masses."""


class Chaos:
    """One run's dice. All randomness of the run is in `rng`."""

    def __init__(self, rng: random.Random, rates: Mapping[Fault, float]) -> None:
        self.rng = rng
        self.rates = dict.fromkeys(Fault, 0.0) | dict(rates)
        self.counts: Counter[Fault] = Counter()
        self.tell: Callable[[str], None] | None = None
        self.noted: Callable[[Fault], None] | None = None
        aws = (Fault.AWS_THROTTLED, Fault.AWS_FAILED, Fault.AWS_ANSWER_LOST, Fault.AWS_REPEATED)
        self._aws = tuple((fault, self.rates[fault]) for fault in aws)
        self._aws_total = sum(rate for _, rate in self._aws)

    def strikes(self, fault: Fault) -> bool:
        """Whether it happens now."""
        rate = self.rates[fault]
        if rate == 0.0 or self.rng.random() >= rate:
            return False
        self.note(fault)
        return True

    def aws_fault(self) -> Fault | None:
        """What happens to a call of AWS."""
        if self._aws_total == 0.0:
            return None
        roll = self.rng.random()
        if roll >= self._aws_total:
            return None
        for fault, rate in self._aws:
            if roll < rate:
                self.note(fault)
                return fault
            roll -= rate
        return None

    def note(self, fault: Fault) -> None:
        """Count a fault that something else decided."""
        self.counts[fault] += 1
        if self.noted is not None:
            self.noted(fault)
        if self.tell is not None:
            self.tell(f"  ! {fault}")

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self.rates = dict.fromkeys(Fault, 0.0)
        self._aws_total = 0.0

    def latency(self) -> float:
        """Seconds that a call takes to arrive; a stall can outlast the invocation."""
        # Asked at each call's both ends: `strikes` only where it can.
        if self.rates[Fault.STALL] and self.strikes(Fault.STALL):
            return self.rng.uniform(1, 45)
        return self.rng.random() * 0.05


def swarm(rng: random.Random) -> dict[Fault, float]:
    """A seed's own choice of faults."""
    return {fault: min(rate * rng.choice(_SWARM), 0.9) for fault, rate in _RATES.items()}
