"""What must be true when everything has come to rest, or should have."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from reportflow.jobs import JobStatus
from tests.simulation.expressions import Value
from tests.simulation.reportflow_service import Design, Document
from tests.simulation.submissions import LONG_LAG_SECONDS

if TYPE_CHECKING:
    from tests.simulation.checker import Checker
    from tests.simulation.sqs import Message
    from tests.simulation.world import World

type Written = Mapping[str, Value]

_REASON: Final = ("errorCode", "errorMessage", "failedStep", "jobId")
_CREDENTIALS: Final = frozenset(
    {"HTTP_401", "HTTP_403", "HTTP_412", "KEYS_MISSING", "SECRET_MALFORMED"}
)
_FINAL: Final = frozenset({JobStatus.ARCHIVED, JobStatus.FAILED})


class AtRest:
    """Compares what upstream sent with what became of it."""

    def __init__(self, world: "World", checker: "Checker") -> None:
        self._world = world
        self._checker = checker
        self._violated: Callable[[str], None] = checker.violated
        self._dead: dict[str, list[Message]] = defaultdict(list)
        self._unread: set[str] = set()

    def check(self) -> None:
        """Look at everything once."""
        world = self._world
        for queue in (world.requests, world.downloads):
            for message in queue.dropped:
                self._violated(f"{message.message_id} was dropped by its queue: {message.body}")
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
        for queue in (world.request_dlq, world.download_dlq):
            for message in queue.messages.values():
                if any(not message.text(name) for name in _REASON):
                    self._violated(f"{queue.name} got a message without a reason: {message.body}")
                    continue
                if message.text("errorCode") in _CREDENTIALS:
                    self._violated(
                        f"refused keys burned {message.text('jobId')}: {message.text('errorCode')}"
                    )
                if queue is world.request_dlq and message.body not in self._checker.bodies:
                    self._violated(f"a dead letter's body was changed: {message.body}")
                self._dead[str(message.text("jobId"))].append(message)

    def _check_jobs(self) -> None:
        items = self._world.table.items
        contents: dict[str, set[str]] = defaultdict(set)
        for message_id, sending in self._checker.sendings.items():
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
        """Whether the message ended under its own id: its job's stands in the payload."""
        return any(
            message.text("errorCode") == "PAYLOAD_MISSING" or message_id in self._checker.unread
            for message in self._dead[message_id]
        )

    def _check_end(self, job_id: str, item: Written, asked: set[str]) -> None:
        codes = {message.text("errorCode") for message in self._dead[job_id]}
        status = JobStatus(item["status"]["S"])
        # A failed job may be sent again with another document: nothing came of the first.
        # A redriven message may have lost its payload in the meantime.
        told = (
            codes & {"JOB_ID_REUSED", "PAYLOAD_MISSING"}
            or self._checker.restarts[job_id]
            or job_id in self._unread
        )
        if len(asked) > 1 and not told:
            self._violated(f"{job_id} named two documents and nobody was notified")
        if status is JobStatus.FAILED:
            # A redriven message whose payload is gone leaves the job as it stands.
            if not codes & {item["errorCode"]["S"], "PAYLOAD_MISSING"}:
                self._violated(
                    f"{job_id} failed with {item['errorCode']['S']} and was not dead-lettered"
                )
            # Where the webhook's own message was given up before, its dead letter says so.
            elif codes == {"NO_COMPLETION"} and self._was_announced(item, asked):
                self._violated(f"{job_id} was given up although its webhook was accepted")
        elif status is JobStatus.ARCHIVED:
            self._check_archived(job_id, item, asked, codes)
        elif job_id not in self._unread:
            self._violated(f"{job_id} is {status} for ever")

    def _was_announced(self, item: Written, asked: set[str]) -> bool:
        """Whether a webhook for the job's PDF was accepted, and no other job has that file.

        A lost answer may be reconciled with the file of a job that asked for the very same.
        """
        file_id = item["fileId"]
        if item["designId"]["S"] == Design.NO_PDF:
            return False
        document = self._world.service.by_file_id(file_id["S"])
        if document is None or document.content_key not in asked:
            return False
        owners = sum(other.get("fileId") == file_id for other in self._world.table.items.values())
        return file_id["S"] in self._checker.announced_files and owners == 1

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
        elif document.content_key not in asked and not self._is_unseen(item, document, codes):
            self._violated(f"{job_id} has another job's document")

    def _is_unseen(self, item: Written, document: Document, codes: set[str | None]) -> bool:
        """Whether a wrong document in the archive is reported, or nothing could show it in time.

        Only its webhook says what a file holds, and only the index says which job has adopted it.
        """
        if self._world.index_lag_seconds > LONG_LAG_SECONDS:
            return True
        told_all = self._checker.announced_files.get(document.file_id)
        template = {"S": document.design_id}, {"N": str(document.version)}
        shown = told_all or (
            told_all is not None and template != (item["designId"], item["version"])
        )
        return "FILE_MISMATCH" in codes or not shown

    def _check_bills(self) -> None:
        """Nobody is billed twice without a trace of it on the job, and no refusal is in vain."""
        allowed: Counter[str] = Counter()
        budget: Counter[str] = Counter()
        uncounted = self._checker.uncounted()
        counted: set[tuple[str, str]] = set()
        for message_id, sending in self._checker.sendings.items():
            job_id = sending.job_id or message_id
            if sending.content is None or (job_id, sending.content) in counted:
                continue
            counted.add((job_id, sending.content))
            item = self._world.table.items.get(job_id, {})
            duplicates = int(item.get("possibleDuplicates", {"N": "0"})["N"])
            lives = 1 + self._checker.restarts[job_id]
            allowed[sending.content] += lives + duplicates
            budget[sending.content] += lives * self._world.settings.max_attempts
        for content, made in self._world.service.made_of.items():
            if made > allowed[content]:
                self._violated(
                    f"{made} PDFs were made of {content}, the records count {allowed[content]}"
                )

        for content, refused in self._world.service.refused.items():
            if refused > budget[content] + uncounted:
                self._violated(f"{refused} times ReportFlow refused {content}")

    def _check_events(self) -> None:
        for job_id, item in self._world.table.items.items():
            if job_id in self._unread:
                continue
            if "unannouncedAt" in item and not self._redrive_publishes(job_id):
                self._violated(f"{job_id} still has its end to publish")
            if item["status"]["S"] in _FINAL and not self._checker.publications.is_published(
                job_id
            ):
                self._violated(f"no event says that {job_id} ended as {item['status']['S']}")

    def _redrive_publishes(self, job_id: str) -> bool:
        """Whether a dead letter says that AWS failed when a last delivery published the job."""
        return any(str(dead.text("errorCode")).startswith("AWS_") for dead in self._dead[job_id])
