"""What a delivery of a message did, and what was done to it, as its surroundings saw it."""

from dataclasses import dataclass, field

import greenlet

from reportflow.queues import Record


@dataclass(eq=False)
class Delivery:
    """One record of a batch, and the task that works on it.

    `troubles` are the moments of the faults that can cost an attempt. `aws_failed` says that AWS
    failed, so that the job's record may lack a write. `statuses` are ReportFlow's answers, and
    `read_at` is when it first read each job. A delivery that died has no `ended_at`; `error` is
    what the others raised.
    """

    function: str
    record: Record
    began_at: float
    troubles: list[float] = field(default_factory=list)
    aws_failed: bool = False
    statuses: list[int] = field(default_factory=list)
    read_at: dict[str, float] = field(default_factory=dict)
    dead_letters: int = 0
    ended_at: float | None = None
    error: Exception | None = None

    @property
    def is_redriven(self) -> bool:
        """Whether its message was a dead letter."""
        return "errorCode" in self.record.attributes


def current() -> Delivery | None:
    """The delivery whose task is running; None outside of one."""
    found = getattr(greenlet.getcurrent(), "delivery", None)
    assert found is None or isinstance(found, Delivery)
    return found
