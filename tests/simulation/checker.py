"""What must be true at every moment: watches each write, request, message and event."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reportflow.jobs import JobStatus
from tests.simulation import deliveries
from tests.simulation.at_rest import AtRest
from tests.simulation.deliveries import Delivery
from tests.simulation.expressions import Value
from tests.simulation.faults import Fault
from tests.simulation.giving_up import GivingUp, is_trouble, is_troubled
from tests.simulation.publications import Publications
from tests.simulation.reportflow_service import Document, Webhook, asked_for
from tests.simulation.sqs import Message
from tests.simulation.storage import StoredObject
from tests.simulation.submissions import LONG_LAG_SECONDS, Submissions
from tests.simulation.upstream import Sending
from tests.transitions import TRANSITIONS

if TYPE_CHECKING:
    from tests.simulation.world import World

type Written = Mapping[str, Value]

_STAMPS: Final = {
    JobStatus.SUBMITTING: ("submittingAt", "createdAt", "requestDigest"),
    JobStatus.SUBMITTED: ("submittedAt", "fileId"),
    JobStatus.ARCHIVED: ("archivedAt", "archiveKey", "sha256", "size", "expiresAt", "fileId"),
    JobStatus.FAILED: ("failedAt", "errorCode", "errorMessage", "failedStep", "expiresAt"),
}
_UNCOUNTED: Final = (
    Fault.CRASH,
    Fault.TIME_OUT,
    Fault.AWS_FAILED,
    Fault.AWS_THROTTLED,
    Fault.AWS_ANSWER_LOST,
)
"""After each of these an attempt may have left no trace on the job."""

_AWS_FAILED: Final = frozenset(
    {Fault.AWS_FAILED, Fault.AWS_THROTTLED, Fault.AWS_ANSWER_LOST, Fault.STALL}
)
_FINAL: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})


class Checker:
    """Watches one world and collects what it finds wrong."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self.forged: set[str] = set()
        self.sendings: dict[str, Sending] = {}
        self.restarts: Counter[str] = Counter()
        self._objects: dict[str, list[str]] = defaultdict(list)
        self.bodies: dict[str, Sending] = {}
        self.announced_files: dict[str, bool] = {}
        """The files whose webhook was accepted, and whether it said all that they hold."""

        self.unread: set[str] = set()
        """Jobs of dead letters whose payload AWS may have kept from the last delivery."""

        self._queued: set[str] = set()
        self._file_of: dict[str, str] = {}
        """The file that each message on the download queue is about."""

        self.lost_webhooks: list[str] = []
        self.submissions = Submissions(world, self.violated)
        self._giving_up = GivingUp(world, self.violated)
        self.publications = Publications(self.violated)
        self._listen(world)
        self.writes = 0

    def _listen(self, world: "World") -> None:
        world.chaos.noted = self._noted
        world.table.written = self.written
        world.table.read = self._read
        world.bucket.on_put = self.stored
        world.events.on_event = self.publications.published
        world.service.on_announced = self.announced
        world.service.on_request = self._requested
        world.service.on_answer = self._answered
        world.downloads.on_sent = self._queued_file
        world.request_dlq.on_sent = world.download_dlq.on_sent = self._dead_lettered

    def accepted(self, message_id: str, sending: Sending) -> None:
        """Upstream has sent a message."""
        self.sendings[message_id] = sending
        self.bodies[sending.body] = sending

    def redriven(self, dead: Message, message_id: str) -> None:
        """A dead letter became a message again."""
        self._world.narrator.tell(
            f"{dead.message_id} of {dead.text('jobId')} is redriven as {message_id}"
        )

    def defect(self, process: str, error: BaseException) -> None:
        """A function raised what it should not."""
        self.violated(f"{process} failed unexpectedly with {error!r}")

    def written(self, job_id: str, before: Written, after: Written) -> None:
        """A record was written."""
        self.writes += 1
        old = JobStatus(before["status"]["S"]) if before else None
        new = JobStatus(after["status"]["S"])
        if self._world.narrator.listening:
            self._tell(job_id, old, new, before, after)
        self.publications.written(job_id, before, after)
        if _is_announcement(before, after):
            return
        self._check_record(job_id, old, new, before, after)
        delivery = deliveries.current()
        if delivery is None:
            self.violated(f"{job_id} was written by nobody's delivery")
            return
        if new is JobStatus.ARCHIVED:
            self._check_word(job_id, after, delivery)
        self.submissions.written(job_id, before, after, delivery)
        self._giving_up.written(job_id, before, after, delivery)

    def _check_record(
        self,
        job_id: str,
        old: JobStatus | None,
        new: JobStatus,
        before: Written,
        after: Written,
    ) -> None:
        if (old is not new or old in _FINAL) and new not in TRANSITIONS[old]:
            self.violated(f"{job_id} went from {old} to {new}")
        if old is JobStatus.FAILED and new is JobStatus.SUBMITTING:
            self.restarts[job_id] += 1
            if before.get("messageId") == after["messageId"]:
                self.violated(f"{job_id} had failed, and the same message began it again")
        missing = [name for name in _STAMPS[new] if name not in after]
        if missing and not (new is JobStatus.SUBMITTING and old is JobStatus.SUBMITTING):
            self.violated(f"{job_id} is {new} without {', '.join(missing)}")
        if new is not JobStatus.SUBMITTING and "leaseOwner" in after:
            self.violated(f"{job_id} is {new} and has a lease")
        attempts = int(after.get("failedAttempts", {"N": "0"})["N"])
        if attempts > self._world.settings.max_attempts:
            self.violated(f"{job_id} has {attempts} failed attempts")

    def announced(self, document: Document, webhook: Webhook) -> None:
        """Our webhook answered 200 to a PDF that is there."""
        self.announced_files[document.file_id] = not webhook.bare
        if document.file_id not in self._queued:
            self.violated(f"the webhook for {document.file_id} was accepted and not queued")

    def _noted(self, fault: Fault) -> None:
        delivery = deliveries.current()
        if delivery is None:
            return
        if is_trouble(fault):
            delivery.troubles.append(self._world.scheduler.now)
        delivery.aws_failed |= fault in _AWS_FAILED

    def _read(self, job_id: str) -> None:
        delivery = deliveries.current()
        if delivery is not None and job_id not in delivery.read_at:
            delivery.read_at[job_id] = self._world.scheduler.now
            self._giving_up.read(job_id, delivery)

    def _requested(self, body: bytes | None) -> None:
        delivery = deliveries.current()
        assert delivery is not None, "only deliveries ask ReportFlow"
        if end := self._giving_up.end_of(delivery, delivery.began_at):
            self.violated(f"{delivery.record.message_id} is at its end, {end}, and goes on")
        if body is not None:
            self.submissions.asked(asked_for(body), delivery)

    def _answered(self, status: int) -> None:
        delivery = deliveries.current()
        assert delivery is not None, "only deliveries ask ReportFlow"
        delivery.statuses.append(status)
        if is_troubled(status):
            delivery.troubles.append(self._world.scheduler.now)
        self.submissions.answered(status, delivery)

    def _queued_file(self, message: Message) -> None:
        file_id = json.loads(message.body).get("fileId", "")
        self._queued.add(file_id)
        self._file_of[message.message_id] = file_id
        if file_id in self.forged:
            self.violated(f"a forged webhook for {file_id} was accepted")

    def _dead_lettered(self, message: Message) -> None:
        """A delivery ends once, unless it was the last one and its event could not be published."""
        delivery = deliveries.current()
        if delivery is None:
            return
        if delivery.aws_failed:
            self.unread.add(str(message.text("jobId")))
        if delivery.dead_letters <= 1:
            return
        unpublished = str(message.text("errorCode")).startswith("AWS_")
        if not (unpublished and self._giving_up.end_of(delivery)):
            self.violated(f"one delivery of {message.text('jobId')} left two dead letters")

    def _check_word(self, job_id: str, item: Written, delivery: Delivery) -> None:
        """See that the webhook by which the job was archived named its own document."""
        said = json.loads(delivery.record.body)
        if said["kind"] == "check":
            return
        template = {"S": said["designId"]}, {"N": str(said["version"])}
        digest = said["requestDigest"] or item["requestDigest"]["S"]
        if (*template, {"S": digest}) != (item["designId"], item["version"], item["requestDigest"]):
            self.violated(f"{job_id} was archived by the webhook of another document")

    def logged(self, text: str, details: Mapping[str, Any]) -> None:
        """A function has logged a line."""
        if text == "webhook lost":
            self._check_loss(details["job_id"])

    def _check_loss(self, job_id: str) -> None:
        """A webhook that is in the queue is not lost, however long it waits there.

        One that came while the check was running may count: it was late. So may one whose delivery
        could not write that it came, because it died, or the index did not yet have the job.
        """
        world = self._world
        unwritten = self.uncounted() or world.index_lag_seconds > LONG_LAG_SECONDS
        self.lost_webhooks.append(job_id)
        file_id = world.table.items[job_id]["fileId"]["S"]
        at_work_since = world.scheduler.now - world.settings.downloader_timeout_seconds
        for message in world.downloads.messages.values():
            if message.sent_at > at_work_since or (message.receive_count and unwritten):
                continue
            if self._file_of[message.message_id] == file_id:
                self.violated(f"{job_id}'s webhook was counted as lost and is in the queue")

    def stored(self, key: str, before: StoredObject | None, after: StoredObject) -> None:
        """An object was put into the archive."""
        self._world.narrator.tell(f"S3 stores {key}")
        self._giving_up.stored(key)
        job_id = after.metadata["job-id"]
        if before is not None:
            self.violated(f"{key} was written over")
        elif self._objects[job_id]:
            self.violated(f"{job_id} has a second object")
        self._objects[job_id].append(key)

    def finish(self) -> None:
        """Everything has come to rest, or should have."""
        AtRest(self._world, self).check()
        self.submissions.finish(self.restarts)
        self._giving_up.finish()

    def uncounted(self) -> int:
        """How many faults may each have left no trace of an attempt."""
        return sum(self._world.chaos.counts[fault] for fault in _UNCOUNTED)

    def _tell(
        self,
        job_id: str,
        old: JobStatus | None,
        new: JobStatus,
        before: Written,
        after: Written,
    ) -> None:
        changes = {
            name: next(iter(after[name].values())) if name in after else None
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name) and name not in ("updatedAt", "writeId")
        }
        self._world.narrator.tell(f"    {job_id}: {old} -> {new} {changes}")

    def violated(self, what: str) -> None:
        """Keep what is wrong."""
        self.violations.append(what)
        self._world.narrator.tell(f"*** VIOLATION: {what}")


def _is_announcement(before: Written, after: Written) -> bool:
    """Whether nothing was written but that the job's end was published."""
    if "unannouncedAt" not in before:
        return False
    kept = {name: value for name, value in before.items() if name != "unannouncedAt"}
    written = {name: after[name] for name in ("updatedAt", "writeId")}
    return kept | written == after
