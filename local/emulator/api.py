"""The calls that both contracts have. `workspace` and `central` have what differs.

A subclass of `Api` is one contract. Files, renderer, webhooks and server do not depend on it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hmac import compare_digest
from math import ceil
from typing import Final
from urllib.parse import quote

from local.emulator import request_body
from local.emulator.designs import Design
from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import Content, FileRecord, Files
from local.emulator.messages import Answer, Refusal, Request
from local.emulator.rate_limit import RateLimit
from local.emulator.renderer import Renderer
from local.emulator.request_body import Rules
from local.emulator.settings import EmulatorSettings
from local.emulator.webhooks import Event, Webhooks

PART: Final = "([^/]+)"
"""One part of a path. The route's operation gets it."""


@dataclass(frozen=True)
class Operation:
    """What a request asks for.

    `call` is None if no fault can happen to it. `subjects` returns the files that it is about, if
    they are known. `run` does it and answers.

    Raises:
        Refusal: From `run`, the error to answer with.
    """

    call: Call | None
    subjects: Callable[[], Sequence[Content]]
    run: Callable[[], Answer]


type Route = tuple[str, str, Callable[..., Operation]]
"""Method, pattern of the path, and a function from the request and the path's parts to an
operation.
"""


class Api(ABC):
    """The API of one workspace."""

    rules: Rules
    """What a content must be like."""

    def __init__(
        self,
        settings: EmulatorSettings,
        designs: Sequence[Design],
        files: Files,
        plan: FaultPlan,
        webhooks: Webhooks,
    ) -> None:
        self.settings = settings
        self.designs = {design.id: design for design in designs}
        self.files = files
        self.rate = RateLimit(
            settings.limits.requests_per_minute, counts_refused=settings.rate_limit_counts_refused
        )
        self._renderer = Renderer(settings, files, plan, webhooks, self.completed)
        self._routes: Sequence[Route] = (
            ("POST", "/v1/file/async/single", self._generate),
            ("GET", f"/v1/file/download/{PART}/{PART}", self._download),
            *self.routes(),
        )

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the paths that only this contract has."""

    @abstractmethod
    def authenticate(self, request: Request) -> None:
        """Check the caller's keys.

        Raises:
            Refusal: 412 without the headers, 401 with wrong ones.
        """

    @abstractmethod
    def accepted(self, record: FileRecord) -> Mapping[str, object]:
        """Return the 202's body."""

    @abstractmethod
    def download_id(self, record: FileRecord) -> str:
        """Return the part before the file's id in the path of its download."""

    @abstractmethod
    def completed(self, record: FileRecord) -> Event:
        """Return the webhook's body for a file that is made."""

    def operation(self, request: Request) -> Operation:
        """Find out what a request asks for; an unknown path is answered 404."""
        method = "GET" if request.method == "HEAD" else request.method
        for route_method, path, operation in self._routes:
            match = re.fullmatch(path, request.path)
            if match and method == route_method:
                return operation(request, *match.groups())
        return Operation(None, list, partial(_unknown_path, request))

    def close(self) -> None:
        """Wait for the PDFs that are being made, and drop the others."""
        self._renderer.close()

    def _generate(self, request: Request) -> Operation:
        def subjects() -> Sequence[Content]:
            try:
                return [request_body.read(request, self.rules).content]
            except Refusal:
                return ()

        def run() -> Answer:
            self.authenticate(request)
            self._keep_rate()
            generation = request_body.read(request, self.rules)
            design = self._design(generation.design_id, generation.version)
            origin = f"http://{request.headers['host']}"
            record = self._renderer.accept(design, generation.version, generation.content, origin)
            answer = Answer.json(self.settings.accepted_status, self.accepted(record))
            return replace(answer, file_id=record.file_id)

        return Operation(Call.SUBMIT, subjects, run)

    def _download(self, request: Request, download_id: str, file_id: str) -> Operation:
        record = self.files.get(file_id)
        if record is not None and self.download_id(record) != download_id:
            record = None

        def run() -> Answer:
            self.authenticate(request)
            self._keep_rate()
            return self.pdf_of(record)

        return Operation(Call.DOWNLOAD, lambda: [] if record is None else [record], run)

    def pdf_of(self, record: FileRecord | None) -> Answer:
        """Answer with the PDF.

        Raises:
            Refusal: The file is unknown (None), not made yet, or expired.
        """
        settings = self.settings
        if record is None:
            raise Refusal(settings.unknown_status, settings.unknown_message)
        pdf = self.files.pdf(record.file_id)
        if pdf is None and not self.files.is_made(record.file_id):
            raise Refusal(settings.not_ready_status, settings.not_ready_message)
        if pdf is None:
            raise Refusal(settings.expired_status, settings.expired_message)
        self.files.count_download(record.file_id)
        # Clients of the service read `filename`, which has room for ASCII only.
        ascii_name = re.sub(r'[^ -~]|"', "_", record.file_name)
        disposition = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''"
        headers = {
            "Content-Disposition": disposition + quote(record.file_name),
            "File-ID": record.file_id,
        }
        return Answer.of(200, pdf, "application/pdf", headers)

    def _keep_rate(self) -> None:
        """Count a request.

        Raises:
            Refusal: 429 if the limit is reached.
        """
        wait = self.rate.take()
        if wait > 0:
            headers = {"Retry-After": str(ceil(wait))}
            has_header = self.settings.rate_limit_retry_after
            raise Refusal(429, "Too Many Requests", headers if has_header else None)

    def _design(self, design_id: str, version: int) -> Design:
        design = self.designs.get(design_id)
        if design is None:
            raise Refusal(404, "デザインが見つかりません")
        if version not in design.versions:
            raise Refusal(404, f"デザインのバージョン {version} が見つかりません")
        return design


def completed_event(
    workspace_id: str, record: FileRecord, file: Mapping[str, object]
) -> dict[str, object]:
    """The fields that the webhooks of both contracts have."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "event": "file.completed",
        "timestamp": now.replace("+00:00", "Z"),
        "workspaceId": workspace_id,
        "designId": record.design_id,
        "version": record.version,
        "files": [file],
    }


def same(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in constant time."""
    return compare_digest(given.encode(), expected.encode())


def _unknown_path(request: Request) -> Answer:
    raise Refusal(404, f"Cannot {request.method} {request.path}")
