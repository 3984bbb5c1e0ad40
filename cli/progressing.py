"""How far a number of jobs has come: totals, rate, and the time that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from cli.output import duration, several
from cli.records import Record, ended


@dataclass(frozen=True)
class Totals:
    """How many of the jobs have finished, and how."""

    jobs: int
    archived: int
    failed: int

    @classmethod
    def of(cls, job_ids: Sequence[str], known: Mapping[str, Record]) -> "Totals":
        """The totals of these jobs by their records."""
        statuses = [known[job_id]["status"] for job_id in job_ids if job_id in known]
        return cls(len(job_ids), statuses.count("ARCHIVED"), statuses.count("FAILED"))

    @property
    def left(self) -> int:
        """How many have not finished."""
        return self.jobs - self.archived - self.failed

    def line(self, before: "Totals", elapsed: timedelta) -> str:
        """The totals, and the rate and remaining time by what finished since `before`."""
        told = f"{self.jobs - self.left} of {several(self.jobs, 'job')} finished: "
        told += f"{self.archived} archived, {self.failed} failed."
        finished = before.left - self.left
        if self.left and finished > 0 and elapsed:
            a_minute = finished / (elapsed / timedelta(minutes=1))
            left = duration(elapsed / finished * self.left)
            told += f" {a_minute:.3g} a minute, about {left} left."
        return told


def unfinished_first(job_ids: Sequence[str], known: Mapping[str, Record]) -> list[str]:
    """The jobs that have not finished in their order, then the failed, then the archived."""

    def rank(job_id: str) -> int:
        record = known.get(job_id)
        if record is None or not ended(record):
            return 0
        return 1 if record["status"] == "FAILED" else 2

    return sorted(job_ids, key=rank)
