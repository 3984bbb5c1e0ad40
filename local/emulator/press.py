"""The press: takes submissions, makes their PDFs after the answer, and has them announced."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from threading import Lock

from local.emulator.designs import Design
from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import Content, FileRecord, Files, Submission
from local.emulator.scheduler import Scheduler
from local.emulator.settings import EmulatorSettings
from local.emulator.webhooks import Event, Webhooks

type Announcement = Callable[[Submission, Sequence[FileRecord]], Event]


class Press:
    """Makes PDFs on a few threads; `announcement` gives the webhook's body for finished files."""

    def __init__(
        self,
        settings: EmulatorSettings,
        files: Files,
        plan: FaultPlan,
        webhooks: Webhooks,
        announcement: Announcement,
    ) -> None:
        self._settings = settings
        self._files = files
        self._plan = plan
        self._webhooks = webhooks
        self._announcement = announcement
        self._delays = random.Random(settings.seed)  # noqa: S311  # delays are no secret
        self._scheduler = Scheduler("render", settings.render_workers)
        self._announcing = Lock()

    def accept(
        self, design: Design, version: int, contents: Sequence[Content], origin: str
    ) -> Submission:
        """Take a request that was sent to `origin`; its PDFs are made later."""
        submission = self._files.add(design, version, contents, origin)
        for file_id, content in zip(submission.file_ids, contents, strict=True):
            job = _Job(
                self, submission, file_id, self._delays.uniform(*self._settings.render_seconds)
            )
            fault = self._plan.dispatch(Call.RENDER, [content])
            if fault is None:
                job.post()
            else:
                fault.apply(job)
        return submission

    def close(self) -> None:
        """Wait for the PDFs being made, and drop the others."""
        self._scheduler.close()

    def schedule(self, submission: Submission, file_id: str, after: float) -> None:
        """Have a PDF made in `after` seconds."""
        self._scheduler.post(lambda: self._make(submission, file_id), after)

    def _make(self, submission: Submission, file_id: str) -> None:
        [record] = self._files.records([file_id])
        design_version = submission.design.versions[submission.version]
        title = PurePath(record.file_name).stem
        pdf = design_version.render(file_id, title, record.params, record.metadata)
        # Two files of one request that end together announce it once.
        with self._announcing:
            self._files.store(file_id, pdf)
            together = self._settings.one_webhook_per_request
            finished = submission.file_ids if together else (file_id,)
            complete = all(self._files.is_made(id_) for id_ in finished)
        if complete:
            event = self._announcement(submission, self._files.records(finished))
            self._webhooks.announce(event, finished)


@dataclass(frozen=True)
class _Job:
    """One PDF to be made, `delay` seconds from when it is posted."""

    press: Press
    submission: Submission
    file_id: str
    delay: float

    def post(self, after: float = 0) -> None:
        """Make it in `after` seconds and the usual delay."""
        self.press.schedule(self.submission, self.file_id, self.delay + after)

    def hold(self, seconds: float) -> None:
        """Make it `seconds` late: the order of generations is nobody's promise."""
        self.post(seconds)
