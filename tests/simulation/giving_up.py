"""A job fails only when its limits are used up, and it does not go on after that.

The checks do not use the record's own counters. They count what the surroundings did to the job's
deliveries.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from reportflow.jobs import JobStatus
from tests.simulation.deliveries import Delivery
from tests.simulation.expressions import Value
from tests.simulation.faults import Fault
from tests.simulation.reportflow_service import Design
from tests.simulation.scheduler import EPOCH
from tests.simulation.storage import StoredObject

if TYPE_CHECKING:
    from tests.simulation.world import World

type Written = Mapping[str, Value]

PAYLOAD_RECEIVES: Final = 5
"""Deliveries after which a payload that is not there is given up."""

WRITE_SECONDS: Final = 60
"""The write of a 202 may take so long after the moment that it records."""

_TROUBLES: Final = frozenset(
    {
        Fault.STALL,
        Fault.AWS_FAILED,
        Fault.AWS_DENIED,
        Fault.AWS_ANSWER_LOST,
        Fault.UNREACHABLE,
        Fault.LOST_BEFORE,
        Fault.LOST_AFTER,
        Fault.READ_TIMED_OUT,
        Fault.ANSWER_CUT,
        Fault.ANSWER_HTML,
        Fault.BODY_CUT,
        Fault.BODY_SHORT,
        Fault.BODY_HTML,
        Fault.BODY_SLOW,
    }
)
"""Faults that can cost a job an attempt of its retry budget; some answers can, too."""

_BUDGET: Final = re.compile(
    r"HTTP_(408|425|5\d\d)|AWS_(InternalServerError|AccessDenied|UNREACHABLE)|SERVICE_UNREACHABLE|ANSWER_LOST"
    r"|TRUNCATED|UNEXPECTED_CONTENT_TYPE|DOWNLOAD_TOO_SLOW"
)
"""Temporary failures: a job fails with one of them only when its retry budget is used up."""

_SURE: Final = {
    "submitter": re.compile(r"HTTP_50[0-3]|SERVICE_UNREACHABLE"),
    "downloader": re.compile(
        r"HTTP_(425|50[0-3])|SERVICE_UNREACHABLE|ANSWER_LOST|TRUNCATED|UNEXPECTED_CONTENT_TYPE"
    ),
}
"""Those that cost an attempt, whatever else went wrong in the delivery."""

_REFUSAL: Final = re.compile(r"HTTP_(4\d\d)")


def is_trouble(fault: Fault) -> bool:
    """Whether the fault can cost the delivery's job an attempt."""
    return fault in _TROUBLES


def is_troubled(status: int) -> bool:
    """Whether the answer can cost the delivery's job an attempt."""
    return status >= 500 or status in (408, 425)


class GivingUp:
    """Keeps each job's deliveries, and when its retry budget started anew."""

    def __init__(self, world: "World", violated: Callable[[str], None]) -> None:
        self._world = world
        self._violated = violated
        self._deliveries: dict[str, list[Delivery]] = defaultdict(list)
        self._budgets: dict[str, list[float]] = defaultdict(lambda: [0.0])
        self._submitted_at: dict[str, float] = {}
        self._failed_at: dict[str, float] = {}
        self._stored_at: dict[str, float] = {}
        self._rules: Mapping[str, Callable[[str, Written, Delivery], bool]] = {
            "ARCHIVE_CONFLICT": self._is_key_taken,
            "FILE_GONE": self._is_gone,
            "FILE_MISMATCH": self._is_late,
            "INVALID_MESSAGE": self._is_invalid,
            "NOT_A_PDF": self._is_no_pdf,
            "NO_COMPLETION": self._never_came,
            "OUTCOME_UNKNOWN": self._were_lost,
            "PAYLOAD_BUCKET_UNKNOWN": self._is_invalid,
            "PAYLOAD_MISSING": self._lost_its_payload,
        }

    def read(self, job_id: str, delivery: Delivery) -> None:
        """A delivery has read the job for the first time."""
        self._deliveries[job_id].append(delivery)

    def stored(self, key: str) -> None:
        """A delivery has put an object into the archive."""
        self._stored_at[key] = self._world.scheduler.now

    def written(self, job_id: str, before: Written, after: Written, delivery: Delivery) -> None:
        """A delivery has written the record, and not only that its final state was published."""
        new = JobStatus(after["status"]["S"])
        failed = new is JobStatus.FAILED and before.get("failedAt") != after["failedAt"]
        if failed:
            self._check_failure(job_id, before, after, delivery)
            self._failed_at[job_id] = self._world.scheduler.now
        if new is JobStatus.SUBMITTED and before["status"]["S"] != new:
            self._submitted_at[job_id] = self._world.scheduler.now
        if failed or not before or before["status"]["S"] != new:
            self._budgets[job_id].append(self._world.scheduler.now)

    def finish(self) -> None:
        """Everything has come to rest: no job had more failures than its budget has."""
        most = self._world.settings.max_attempts
        for job_id, deliveries in self._deliveries.items():
            begins = self._budgets[job_id]
            for begin, end in zip(begins, [*begins[1:], float("inf")], strict=True):
                within = [
                    delivery
                    for delivery in deliveries
                    if delivery.began_at >= begin and (delivery.ended_at or end) < end
                ]
                failures = _one_after_another(filter(_cost_a_retry, within))
                if failures >= most:
                    self._violated(f"{job_id} failed {failures} times and was not given up")

    def _check_failure(
        self, job_id: str, before: Written, after: Written, delivery: Delivery
    ) -> None:
        """See that a job which a delivery has just given up has come to that end."""
        code = after["errorCode"]["S"]
        if not self._is_used_up(job_id, code, after, delivery):
            self._violated(f"{job_id} failed too early with {code}")
        if delivery.function == "downloader" and self._could_find_the_pdf(job_id, after, delivery):
            self._violated(f"{job_id} failed with {code}, and its PDF is in the archive")
        again = before and before["status"]["S"] == JobStatus.FAILED
        if again and delivery.read_at[job_id] < self._failed_at[job_id]:
            self._violated(
                f"{job_id} failed with {before['errorCode']['S']} and once more with {code}"
            )

    def _is_used_up(self, job_id: str, code: str, item: Written, delivery: Delivery) -> bool:
        if _BUDGET.fullmatch(code):
            return self._troubled(job_id) >= self._world.settings.max_attempts
        if refusal := _REFUSAL.fullmatch(code):
            return int(refusal[1]) in delivery.statuses
        if code in ("RECEIVES_USED_UP", "WAITED_TOO_LONG"):
            return self.end_of(delivery) == code
        rule = self._rules.get(code)
        return rule is not None and rule(job_id, item, delivery)

    def _never_came(self, job_id: str, item: Written, delivery: Delivery) -> bool:
        said_so = any(status >= 400 for status in delivery.statuses)
        return said_so and self._is_late(job_id, item, delivery)

    def _is_late(self, job_id: str, _: Written, delivery: Delivery) -> bool:
        """Whether ReportFlow has had its time since the submission, or since a redrive."""
        submitted_at = self._submitted_at[job_id] - WRITE_SECONDS
        since = _sent_at(delivery) if delivery.is_redriven else submitted_at
        deadline = self._world.settings.completion_deadline_seconds
        return self._world.scheduler.now - since >= deadline

    def _were_lost(self, job_id: str, _: Written, __: Delivery) -> bool:
        return self._world.checker.submissions.were_all_lost(job_id)

    def _is_gone(self, _: str, __: Written, delivery: Delivery) -> bool:
        return delivery.is_redriven and HTTPStatus.NOT_FOUND in delivery.statuses

    def _is_no_pdf(self, _: str, item: Written, __: Delivery) -> bool:
        document = self._world.service.by_file_id(item["fileId"]["S"])
        return document is not None and document.design_id == Design.NO_PDF

    def _is_key_taken(self, job_id: str, item: Written, _: Delivery) -> bool:
        """Whether the archive holds under the job's key what is not, or may not be, its PDF."""
        stored = self._world.bucket.objects.get(_key(job_id, item))
        return stored is not None and not _is_pdf_of(item, stored)

    def _could_find_the_pdf(self, job_id: str, item: Written, delivery: Delivery) -> bool:
        """Whether the archive had the job's PDF when the delivery began, and could say so."""
        key = _key(job_id, item)
        stored = self._world.bucket.objects.get(key)
        if stored is None or self._stored_at.get(key, delivery.began_at) >= delivery.began_at:
            return False
        excused = delivery.aws_failed and self.end_of(delivery)
        return _is_pdf_of(item, stored) and not excused

    def _is_invalid(self, _: str, __: Written, delivery: Delivery) -> bool:
        sending = self._world.checker.bodies.get(delivery.record.body)
        return sending is not None and sending.content is None

    def _lost_its_payload(self, _: str, __: Written, delivery: Delivery) -> bool:
        sending = self._world.checker.bodies.get(delivery.record.body)
        payload = sending.payload if sending is not None else None
        gone = payload is not None and payload[0] not in self._world.payloads
        return gone and delivery.record.receive_count >= PAYLOAD_RECEIVES

    def end_of(self, delivery: Delivery, at: float | None = None) -> str:
        """What ends the delivery's message at this moment, now if none; empty if nothing."""
        record, settings = delivery.record, self._world.settings
        if record.receive_count >= settings.max_receive_count:
            return "RECEIVES_USED_UP"
        now = self._world.scheduler.now if at is None else at
        too_old = now - _sent_at(delivery) >= settings.max_message_age_seconds
        return "WAITED_TOO_LONG" if too_old else ""

    def _troubled(self, job_id: str) -> int:
        """How many deliveries may have cost the job a retry of its present budget."""
        begin = self._budgets[job_id][-1]
        return sum(
            any(moment >= begin for moment in delivery.troubles)
            for delivery in self._deliveries[job_id]
        )


def _key(job_id: str, item: Written) -> str:
    day = datetime.fromisoformat(item["createdAt"]["S"])
    return f"{item['designId']['S']}/{day:%Y/%m/%d}/{job_id}/{item['fileName']['S']}"


def _is_pdf_of(item: Written, stored: StoredObject) -> bool:
    return {"S": stored.metadata["request-digest"]} == item["requestDigest"] and (
        {"S": stored.metadata["file-id"]} != item.get("doubtfulFileId")
    )


def _sent_at(delivery: Delivery) -> float:
    return (delivery.record.sent_at - EPOCH).total_seconds()


def _cost_a_retry(delivery: Delivery) -> bool:
    """Whether it surely did. A check costs none before the deadline, so none is counted."""
    is_check = delivery.function == "downloader" and '"check"' in delivery.record.body
    code = getattr(delivery.error, "code", "")
    return not is_check and _SURE[delivery.function].fullmatch(code) is not None


def _one_after_another(deliveries: Iterable[Delivery]) -> int:
    """How many of them there are if those that went on side by side count once."""
    count, free_at = 0, 0.0
    for delivery in sorted(deliveries, key=lambda delivery: delivery.ended_at or 0.0):
        if delivery.began_at >= free_at:
            count += 1
            free_at = delivery.ended_at or 0.0
    return count
