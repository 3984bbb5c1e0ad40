"""Which delivery may submit a job, and when; and which file an unanswered job may adopt."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from reportflow.jobs import JobStatus
from tests.simulation.deliveries import Delivery
from tests.simulation.expressions import Value
from tests.simulation.reportflow_service import Document

if TYPE_CHECKING:
    from tests.simulation.world import World

type Written = Mapping[str, Value]

LOST_SUBMISSIONS: Final = 4
"""So many submissions of a job may stay without an answer before a person decides."""

LONG_LAG_SECONDS: Final = 10
"""An index that lags so far behind hides a job from its webhook for minutes, with the backoff."""


@dataclass(eq=False)
class Submission:
    """A lease, and the request that its holder made while it held it, if it made one.

    ReportFlow's answer `refused` it, or its 202 was `stored`. It is `over` once its job has left
    SUBMITTING. It `is_overtaken` if a marked webhook ended the lease without its holder.
    """

    job_id: str
    owner: str
    delivery: Delivery
    asked_at: float | None = None
    content: str = ""
    refused: bool = False
    stored: bool = False
    over: bool = False
    is_overtaken: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether the record could not say that ReportFlow has nothing of it."""
        came_to_none = self.refused or self.asked_at is None
        could_say_so = self.delivery.ended_at is not None and not self.delivery.aws_failed
        return not self.stored and not (came_to_none and could_say_so)


class Submissions:
    """Watches the claims on the table and the requests on the wire."""

    def __init__(self, world: "World", violated: Callable[[str], None]) -> None:
        self._world = world
        self._violated = violated
        self._of_job: dict[str, list[Submission]] = defaultdict(list)
        self._of_delivery: dict[Delivery, Submission] = {}

    def written(self, job_id: str, before: Written, after: Written, delivery: Delivery) -> None:
        """A delivery has written the record."""
        owner = after.get("leaseOwner", {"S": ""})["S"]
        if owner and owner != before.get("leaseOwner", {"S": ""})["S"]:
            claimed = Submission(job_id, owner, delivery)
            self._of_job[job_id].append(claimed)
            self._of_delivery[delivery] = claimed
        if _is_submitting(after):
            return
        held = self._of_delivery.get(delivery)
        if after["status"]["S"] != JobStatus.SUBMITTED or not _is_submitting(before):
            pass
        elif held is None or held.job_id != job_id:
            self._check_adoption(job_id, before, after["fileId"]["S"])
        else:
            held.stored = True
        for submission in self._of_job[job_id]:
            submission.over = True

    def asked(self, content: str, delivery: Delivery) -> None:
        """A delivery asks ReportFlow for a PDF."""
        now = self._world.scheduler.now
        claimed = self._of_delivery.get(delivery)
        if claimed is None:
            self._violated(f"{content} was submitted without a claim")
            return
        job_id = claimed.job_id
        if not self._holds(claimed) and not claimed.is_overtaken:
            self._violated(f"{job_id} was submitted by a delivery that does not hold it")
        grace = self._world.settings.outcome_grace_seconds
        for other in self._of_job[job_id]:
            if other.asked_at is None or other.refused or other.over:
                continue
            if now - other.asked_at < grace:
                self._violated(f"{job_id} was submitted again before its webhook could come")
        claimed.asked_at = now
        claimed.content = content
        claimed.refused = False

    def answered(self, status: int, delivery: Delivery) -> None:
        """ReportFlow's answer begins with this status."""
        claimed = self._of_delivery.get(delivery)
        if claimed is not None:
            claimed.refused = status >= 400 and status != 504

    def were_all_lost(self, job_id: str) -> bool:
        """Whether so many submissions of the job were lost that a person must decide."""
        lost = sum(submission.is_lost for submission in self._of_job[job_id])
        return lost >= LOST_SUBMISSIONS

    def finish(self, restarts: Mapping[str, int]) -> None:
        """Everything has come to rest: no job was submitted on and on without an answer."""
        for job_id, submissions in self._of_job.items():
            lost = sum(
                submission.asked_at is not None and not submission.refused
                for submission in submissions
            )
            if lost > LOST_SUBMISSIONS + restarts[job_id]:
                self._violated(f"{job_id} was submitted {lost} times without an answer")

    def _check_adoption(self, job_id: str, before: Written, file_id: str) -> None:
        """A job may adopt a file with its mark, or one that no answer can bring any more."""
        world = self._world
        document = world.service.by_file_id(file_id)
        if document is not None and document.marked_job is not None:
            if document.marked_job != job_id:
                self._violated(f"{job_id} took {file_id}, which is marked as another job's")
            for submission in self._of_job[job_id]:
                submission.is_overtaken = True
            return
        if datetime.fromisoformat(before["leaseExpiresAt"]["S"]) > world.scheduler.clock():
            self._violated(f"{job_id} was adopted while a delivery held it")
        for other_id, submissions in self._of_job.items():
            if other_id == job_id or world.index_lag_seconds > LONG_LAG_SECONDS:
                continue
            if document is not None and any(
                self._may_bring(submission, document) for submission in submissions
            ):
                self._violated(f"{job_id} took {file_id}, whose answer is in flight to {other_id}")

    def _may_bring(self, submission: Submission, document: Document) -> bool:
        """Whether the document may be the answer to a submission that still waits for it."""
        return (
            submission.content == document.content_key
            and submission.asked_at is not None
            and submission.asked_at <= document.taken_at
            and submission.delivery.ended_at is None
            and self._holds(submission)
        )

    def _holds(self, submission: Submission) -> bool:
        item = self._world.table.items[submission.job_id]
        return (
            _is_submitting(item)
            and item.get("leaseOwner") == {"S": submission.owner}
            and datetime.fromisoformat(item["leaseExpiresAt"]["S"]) > self._world.scheduler.clock()
        )


def _is_submitting(item: Written) -> bool:
    return item["status"]["S"] == JobStatus.SUBMITTING
