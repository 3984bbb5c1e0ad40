"""Takes submissions, makes their PDFs after the answer, and sends their webhooks."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from local.emulator.designs import Design
from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import Content, FileRecord, Files
from local.emulator.layout import render
from local.emulator.scheduler import Scheduler
from local.emulator.settings import EmulatorSettings
from local.emulator.webhooks import Event, Webhooks

type EventOf = Callable[[Sequence[FileRecord]], Event]


class Renderer:
    """Makes PDFs on a few threads; `event_of` gives the webhook's body for finished files."""

    def __init__(
        self,
        settings: EmulatorSettings,
        files: Files,
        plan: FaultPlan,
        webhooks: Webhooks,
        event_of: EventOf,
    ) -> None:
        self._settings = settings
        self._files = files
        self._plan = plan
        self._webhooks = webhooks
        self._event_of = event_of
        self._delays = random.Random(settings.seed)  # noqa: S311  # delays are no secret
        self._scheduler = Scheduler("render", settings.render_workers)

    def accept(
        self, design: Design, version: int, contents: Sequence[Content], origin: str
    ) -> Sequence[FileRecord]:
        """Take a request that was sent to `origin`. Its PDFs are made later."""
        records = self._files.add(design.id, version, contents, origin)
        for record in records:
            delay = self._delays.uniform(*self._settings.render_seconds)
            job = _Job(self, partial(self._make, design, record), delay)
            fault = self._plan.dispatch(Call.RENDER, [record])
            if fault is None:
                job.post()
            else:
                fault.apply(job)
        return records

    def close(self) -> None:
        """Wait for the PDFs being made, and drop the others."""
        self._scheduler.close()

    def schedule(self, make: Callable[[], None], after: float) -> None:
        """Make a PDF in `after` seconds."""
        self._scheduler.post(make, after)

    def _make(self, design: Design, record: FileRecord) -> None:
        title = PurePath(record.file_name).stem
        words = design.versions[record.version].words
        pdf = render(words, record.file_id, title, record.params, record.metadata)
        files = self._files.store(record.file_id, pdf)
        if not self._settings.one_webhook_per_request:
            files = [file for file in files if file.file_id == record.file_id]
        if all(file.sha256 for file in files):
            self._webhooks.send(self._event_of(files), files)


@dataclass(frozen=True)
class _Job:
    """One PDF to be made, `delay` seconds from when it is posted."""

    renderer: Renderer
    make: Callable[[], None]
    delay: float

    def post(self, after: float = 0) -> None:
        """Make it in `after` seconds and the usual delay."""
        self.renderer.schedule(self.make, self.delay + after)

    def hold(self, seconds: float) -> None:
        """Make it `seconds` late: ReportFlow does not promise an order."""
        self.post(seconds)
