"""What must be true: at every write, and when everything has come to rest."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from reportflow.jobs import TRANSITIONS, JobStatus
from tests.simulation.expressions import Value
from tests.simulation.faults import Fault
from tests.simulation.reportflow_service import Design, Document
from tests.simulation.sqs import Message
from tests.simulation.storage import StoredObject
from tests.simulation.upstream import Sending

if TYPE_CHECKING:
    from tests.simulation.world import World

type Written = Mapping[str, Value]

_REASON: Final = ("errorCode", "errorMessage", "failedStep", "jobId")
_CREDENTIALS: Final = frozenset(
    {"HTTP_401", "HTTP_403", "HTTP_412", "KEYS_MISSING", "SECRET_MALFORMED"}
)
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

LONG_LAG_SECONDS: Final = 10
"""An index that lags so far behind hides a job from its webhook for minutes, with the backoff."""

_ENDED: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})


class Checker:
    """Watches one world and collects what it finds wrong."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.violations: list[str] = []
        self.forged: set[str] = set()
        self.sendings: dict[str, Sending] = {}
        self._restarts: Counter[str] = Counter()
        self._objects: dict[str, list[str]] = defaultdict(list)
        self._bodies: set[str] = set()
        self._announced: set[str] = set()
        self.lost_webhooks: list[str] = []
        self.writes = 0

    def accepted(self, message_id: str, sending: Sending) -> None:
        """Upstream has sent a message."""
        self.sendings[message_id] = sending
        self._bodies.add(sending.body)

    def redriven(self, dead: Message, message_id: str) -> None:
        """A dead letter became a message again."""
        self._world.narrator.tell(
            f"{dead.message_id} of {dead.text('jobId')} is redriven as {message_id}"
        )

    def defect(self, process: str, error: BaseException) -> None:
        """A function raised what it should not."""
        self._violated(f"{process} failed unexpectedly with {error!r}")

    def written(self, job_id: str, before: Written, after: Written) -> None:
        """A record was written."""
        self.writes += 1
        old = JobStatus(before["status"]["S"]) if before else None
        new = JobStatus(after["status"]["S"])
        if self._world.narrator.listening:
            self._tell(job_id, old, new, before, after)
        if _is_announcement(before, after):
            return
        if (old is not new or old in _ENDED) and new not in TRANSITIONS[old]:
            self._violated(f"{job_id} went from {old} to {new}")
        if old is JobStatus.FAILED and new is JobStatus.SUBMITTING:
            self._restarts[job_id] += 1
            if before.get("messageId") == after["messageId"]:
                self._violated(f"{job_id} had failed, and the same message began it again")
        missing = [name for name in _STAMPS[new] if name not in after]
        if missing and not (new is JobStatus.SUBMITTING and old is JobStatus.SUBMITTING):
            self._violated(f"{job_id} is {new} without {', '.join(missing)}")
        if new is not JobStatus.SUBMITTING and "leaseOwner" in after:
            self._violated(f"{job_id} is {new} and has a lease")
        attempts = int(after.get("failedAttempts", {"N": "0"})["N"])
        if attempts > self._world.settings.max_attempts:
            self._violated(f"{job_id} has {attempts} failed attempts")

    def announced(self, document: Document) -> None:
        """Our webhook answered 200 to a PDF that is there."""
        self._announced.add(document.file_id)

    def logged(self, text: str, details: Mapping[str, Any]) -> None:
        """A function has logged a line."""
        if text == "webhook lost":
            self._check_loss(details["job_id"])

    def _check_loss(self, job_id: str) -> None:
        """A webhook that is in the queue is not lost, however long it waits there.

        One that came while the check was at work may count: it was late. So may one whose delivery
        could not write that it came, because it died, or the index did not yet have the job.
        """
        world = self._world
        unwritten = self._uncounted() or world.index_lag_seconds > LONG_LAG_SECONDS
        self.lost_webhooks.append(job_id)
        file_id = world.table.items[job_id]["fileId"]["S"]
        at_work_since = world.scheduler.now - world.settings.downloader_timeout_seconds
        for message in world.downloads.messages.values():
            if message.sent_at > at_work_since or (message.receive_count and unwritten):
                continue
            if json.loads(message.body).get("fileId") == file_id:
                self._violated(f"{job_id}'s webhook was counted as lost and is in the queue")

    def stored(self, key: str, before: StoredObject | None, after: StoredObject) -> None:
        """An object was put into the archive."""
        self._world.narrator.tell(f"S3 stores {key}")
        job_id = after.metadata["job-id"]
        if before is not None:
            self._violated(f"{key} was written over")
        elif self._objects[job_id]:
            self._violated(f"{job_id} has a second object")
        self._objects[job_id].append(key)

    def finish(self) -> None:
        """Everything has come to rest, or should have."""
        world = self._world
        for queue in (world.requests, world.downloads):
            for message in queue.messages.values():
                self._violated(
                    f"{message.message_id} is still on its queue, "
                    f"received {message.receive_count} times: {message.body[:80]}"
                )
        for function in world.functions.values():
            if function.in_flight:
                self._violated(f"{function.in_flight} invocations of {function.name} never end")
        self._check_dead_letters()
        self._check_jobs()
        self._check_bills()
        self._check_events()

    def _check_dead_letters(self) -> None:
        world = self._world
        self._dead: dict[str, list[Message]] = defaultdict(list)
        for queue in (world.request_dlq, world.download_dlq):
            for message in queue.messages.values():
                if any(not message.text(name) for name in _REASON):
                    self._violated(f"{queue.name} got a message without a reason: {message.body}")
                    continue
                if message.text("errorCode") in _CREDENTIALS:
                    self._violated(
                        f"refused keys burned {message.text('jobId')}: {message.text('errorCode')}"
                    )
                if queue is world.request_dlq and message.body not in self._bodies:
                    self._violated(f"a dead letter's body was changed: {message.body}")
                self._dead[str(message.text("jobId"))].append(message)

    def _check_jobs(self) -> None:
        items = self._world.table.items
        contents: dict[str, set[str]] = defaultdict(set)
        self._unread: set[str] = set()
        for message_id, sending in self.sendings.items():
            job_id = sending.job_id or message_id
            if sending.content is None:
                if not self._dead[job_id]:
                    self._violated(f"invalid message {message_id} got lost")
                continue
            if sending.payload is not None and self._lost_its_payload(message_id):
                self._unread.add(job_id)
            contents[job_id].add(sending.content)
        for job_id, asked in contents.items():
            item = items.get(job_id)
            if item is None and job_id in self._unread:
                continue
            if item is None:
                self._violated(f"{job_id} got lost")
                continue
            self._check_end(job_id, item, asked)
        for job_id in items.keys() - contents.keys():
            if items[job_id]["status"]["S"] != JobStatus.FAILED:
                self._violated(f"nobody asked for {job_id}")

    def _lost_its_payload(self, message_id: str) -> bool:
        """Whether the message ended under its own id.

        Its job's was never read; or it was, and the index by which the job that it began is found
        lagged too far behind.
        """
        return any(
            message.text("errorCode") == "PAYLOAD_MISSING" for message in self._dead[message_id]
        )

    def _check_end(self, job_id: str, item: Written, asked: set[str]) -> None:
        codes = {message.text("errorCode") for message in self._dead[job_id]}
        status = JobStatus(item["status"]["S"])
        # A failed job may be sent again with another document: nothing came of the first.
        # A redriven message may have lost its payload in the meantime.
        told = (
            codes & {"JOB_ID_REUSED", "PAYLOAD_MISSING"}
            or self._restarts[job_id]
            or job_id in self._unread
        )
        if len(asked) > 1 and not told:
            self._violated(f"{job_id} stood for two documents and nobody was told")
        if status is JobStatus.FAILED:
            # A redriven message whose payload is gone leaves the job as it stands.
            if not codes & {item["errorCode"]["S"], "PAYLOAD_MISSING"}:
                self._violated(
                    f"{job_id} failed with {item['errorCode']['S']} and was not dead-lettered"
                )
            # Where the webhook's own message was given up before, its letter tells of that.
            elif codes == {"NO_COMPLETION"} and self._was_announced(item, asked):
                self._violated(f"{job_id} was given up although its webhook was accepted")
        elif status is JobStatus.ARCHIVED:
            self._check_archived(job_id, item, asked, codes)
        elif job_id not in self._unread:
            self._violated(f"{job_id} is {status} for ever")

    def _was_announced(self, item: Written, asked: set[str]) -> bool:
        """Whether a webhook for the job's PDF was accepted, and no other job has that file.

        A lost answer may be settled with the file of a job that asked for the very same.
        """
        file_id = item["fileId"]
        if item["designId"]["S"] == Design.NO_PDF:
            return False
        document = self._world.service.by_file_id(file_id["S"])
        if document is None or document.content_key not in asked:
            return False
        owners = sum(other.get("fileId") == file_id for other in self._world.table.items.values())
        return file_id["S"] in self._announced and owners == 1

    def _check_archived(
        self, job_id: str, item: Written, asked: set[str], codes: set[str | None]
    ) -> None:
        stored = self._world.bucket.objects.get(item["archiveKey"]["S"])
        if stored is None:
            self._violated(f"{job_id} is archived and has no object")
            return
        document = self._world.service.by_file_id(item["fileId"]["S"])
        if document is None or stored.content != document.pdf():
            self._violated(f"{job_id} has other bytes than ReportFlow made for its file")
        elif document.content_key not in asked and not self._is_unseen(document, codes):
            self._violated(f"{job_id} has another job's document")

    def _is_unseen(self, document: Document, codes: set[str | None]) -> bool:
        """Whether a wrong document in the archive is reported, or nothing could show it in time.

        Only its webhook says what a file holds, and only the index says which job has adopted it.
        """
        if self._world.index_lag_seconds > LONG_LAG_SECONDS:
            return True
        return "FILE_MISMATCH" in codes or document.file_id not in self._announced

    def _check_bills(self) -> None:
        """Nobody is billed twice without a trace of it on the job, and no refusal is in vain."""
        allowed: Counter[str] = Counter()
        budget: Counter[str] = Counter()
        uncounted = self._uncounted()
        counted: set[tuple[str, str]] = set()
        for message_id, sending in self.sendings.items():
            job_id = sending.job_id or message_id
            if sending.content is None or (job_id, sending.content) in counted:
                continue
            counted.add((job_id, sending.content))
            item = self._world.table.items.get(job_id, {})
            duplicates = int(item.get("possibleDuplicates", {"N": "0"})["N"])
            lives = 1 + self._restarts[job_id]
            allowed[sending.content] += lives + duplicates
            budget[sending.content] += lives * self._world.settings.max_attempts
        for content, made in self._world.service.made_of.items():
            if made > allowed[content]:
                self._violated(
                    f"{made} PDFs were made of {content}, the records tell of {allowed[content]}"
                )

        for content, refused in self._world.service.refused.items():
            if refused > budget[content] + uncounted:
                self._violated(f"{refused} times ReportFlow refused {content}")

    def _uncounted(self) -> int:
        return sum(self._world.chaos.counts[fault] for fault in _UNCOUNTED)

    def _check_events(self) -> None:
        """Each end is told, as the record has it, and the same end under the same id."""
        told: dict[str, Mapping[str, Any]] = {}
        for event in self._world.events:
            detail = json.loads(event["Detail"])
            known = told.setdefault(detail["eventId"], {**event, "Detail": detail})
            if known != {**event, "Detail": detail}:
                self._violated(f"two events of {detail['jobId']} have the same id")
        ends = {
            (event["DetailType"], event["Detail"]["jobId"], _end_of(event["Detail"]))
            for event in told.values()
        }
        for job_id, item in self._world.table.items.items():
            if "unannouncedAt" in item and job_id not in self._unread:
                self._violated(f"{job_id} still has its end to tell")
            status = JobStatus(item["status"]["S"])
            if status is JobStatus.ARCHIVED:
                end = ("PDF Archived", job_id, item["archiveKey"]["S"])
            elif status is JobStatus.FAILED:
                end = ("PDF Failed", job_id, item["errorCode"]["S"])
            else:
                continue
            if end not in ends and job_id not in self._unread:
                self._violated(f"nobody was told that {job_id} ended as {end[0]}")

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

    def _violated(self, what: str) -> None:
        self.violations.append(what)
        self._world.narrator.tell(f"*** VIOLATION: {what}")


def _is_announcement(before: Written, after: Written) -> bool:
    """Whether nothing was written but that the job's end has been announced."""
    kept = {name: value for name, value in before.items() if name != "unannouncedAt"}
    written = {name: after[name] for name in ("updatedAt", "writeId")}
    return "unannouncedAt" in before and kept | written == after


def _end_of(detail: Mapping[str, Any]) -> str:
    return str(detail.get("key") or detail.get("errorCode"))
