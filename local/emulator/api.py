"""The calls that both contracts have. `workspace` and `central` have what differs.

A subclass of `Api` is one contract. Files, renderer, webhooks and server do not depend on it.
"""

import io
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
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from local.emulator import request_body
from local.emulator.designs import Design, DesignVersion, null_numbers
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
        limits, counts_refused = settings.limits, settings.rate_limit_counts_refused
        self.rate = RateLimit(limits.requests_per_minute, counts_refused=counts_refused)
        self._sync_rate = RateLimit(limits.sync_requests_per_minute, counts_refused=counts_refused)
        self._renderer = Renderer(settings, files, plan, webhooks, self.completed)
        self._routes: Sequence[Route] = (
            ("POST", "/v1/file/(async|sync)/(single|multiple)", self._generate),
            ("GET", f"/v1/file/download/{PART}/{PART}", self._download_one),
            ("GET", f"/v1/file/design/parameter/{PART}", self._parameters),
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
    def accepted(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, object]:
        """Return the 202's body; `several` if the call was `multiple`."""

    @abstractmethod
    def sync_headers(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, str]:
        """Return the headers that come with the PDF or the ZIP of a synchronous call."""

    @abstractmethod
    def download_id(self, record: FileRecord) -> str:
        """Return the part before the file's id in the path of its download."""

    @abstractmethod
    def completed(self, records: Sequence[FileRecord]) -> Event:
        """Return the webhook's body for files of one request that are made."""

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

    def _generate(self, request: Request, mode: str, number: str) -> Operation:
        sync, several = mode == "sync", number == "multiple"

        def subjects() -> Sequence[Content]:
            try:
                return request_body.read(request, self.rules, several=several).contents
            except Refusal:
                return ()

        def run() -> Answer:
            self.authenticate(request)
            self._keep_rate(self._sync_rate if sync else self.rate)
            generation = request_body.read(request, self.rules, several=several)
            design, version = self._design(generation.design_id, generation.version)
            for content in generation.contents:
                if null := list(null_numbers(version.parameters, content.params)):
                    names = "、".join(f"「{name}」" for name in null)
                    raise Refusal(400, f"パラメータ{names}は数値で指定してください")
            records = self._renderer.accept(
                design,
                generation.version,
                generation.contents,
                origin=f"http://{request.headers['host']}",
            )
            if sync:
                answer = self._wait_for_pdfs(records, several=several)
            else:
                body = self.accepted(records, several=several)
                answer = Answer.json(self.settings.accepted_status, body)
            return replace(answer, file_ids=tuple(record.file_id for record in records))

        return Operation(Call.SUBMIT, subjects, run)

    def _wait_for_pdfs(self, records: Sequence[FileRecord], *, several: bool) -> Answer:
        file_ids = [record.file_id for record in records]
        pdfs = self.files.wait_until_made(file_ids, self.settings.limits.sync_timeout_seconds)
        if pdfs is None:
            raise Refusal(504, "Gateway Timeout")
        headers = self.sync_headers(records, several=several)
        return _zip(records, pdfs, headers) if several else _pdf(records[0], pdfs[0], headers)

    def _download_one(self, request: Request, download_id: str, file_id: str) -> Operation:
        record = self.files.get(file_id)
        known = [record] if record is not None and self.download_id(record) == download_id else []
        return self.download(request, known)

    def download(
        self, request: Request, records: Sequence[FileRecord], *, as_zip: bool = False
    ) -> Operation:
        """Answer with these files. The list is empty if the request names no file that exists."""

        def run() -> Answer:
            self.authenticate(request)
            self._keep_rate(self.rate)
            return self.bytes_of(records, as_zip=as_zip)

        return Operation(Call.DOWNLOAD, lambda: records, run)

    def bytes_of(self, records: Sequence[FileRecord], *, as_zip: bool) -> Answer:
        """Answer with one PDF, or with the ZIP of all.

        Raises:
            Refusal: There is no file, or one is not made yet or expired.
        """
        if not records:
            raise Refusal(self.settings.unknown_status, self.settings.unknown_message)
        pdfs = [self._kept(record) for record in records]
        for record in records:
            self.files.count_download(record.file_id)
        if as_zip:
            return _zip(records, pdfs, {})
        return _pdf(records[0], pdfs[0], {"File-ID": records[0].file_id})

    def _kept(self, record: FileRecord) -> bytes:
        settings = self.settings
        pdf = self.files.pdf(record.file_id)
        if pdf is None and not self.files.is_made(record.file_id):
            raise Refusal(settings.not_ready_status, settings.not_ready_message)
        if pdf is None:
            raise Refusal(settings.expired_status, settings.expired_message)
        return pdf

    def _parameters(self, request: Request, design_id: str) -> Operation:
        def run() -> Answer:
            self.authenticate(request)
            if not request_body.UUID.fullmatch(design_id):
                raise Refusal(400, ["designId must be a UUID"])
            version = request.query.get("version")
            if version is not None and not re.fullmatch("[0-9]{1,9}", version):
                raise Refusal(400, ["version must be an integer number"])
            _, found = self._design(design_id.lower(), None if version is None else int(version))
            return Answer.json(200, found.parameters)

        return Operation(None, list, run)

    def _keep_rate(self, rate: RateLimit) -> None:
        """Count a request.

        Raises:
            Refusal: 429 if the limit is reached.
        """
        wait = rate.take()
        if wait > 0:
            headers = {"Retry-After": str(ceil(wait))}
            has_header = self.settings.rate_limit_retry_after
            raise Refusal(429, "Too Many Requests", headers if has_header else None)

    def _design(self, design_id: str, version: int | None) -> tuple[Design, DesignVersion]:
        """The design and its version; None is the newest."""
        design = self.designs.get(design_id)
        if design is None:
            raise Refusal(404, "デザインが見つかりません")
        found = design.versions.get(max(design.versions) if version is None else version)
        if found is None:
            raise Refusal(404, f"デザインのバージョン {version} が見つかりません")
        return design, found


def completed_event(
    workspace_id: str, record: FileRecord, files: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """The fields that the webhooks of both contracts have."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "event": "file.completed",
        "timestamp": now.replace("+00:00", "Z"),
        "workspaceId": workspace_id,
        "designId": record.design_id,
        "version": record.version,
        "files": files,
    }


def same(given: str, expected: str) -> bool:
    """Whether two secrets are the same, in constant time."""
    return compare_digest(given.encode(), expected.encode())


def _unknown_path(request: Request) -> Answer:
    raise Refusal(404, f"Cannot {request.method} {request.path}")


def _pdf(record: FileRecord, pdf: bytes, headers: Mapping[str, str]) -> Answer:
    # Clients of the service read `filename`, which has room for ASCII only.
    ascii_name = re.sub(r'[^ -~]|"', "_", record.file_name)
    disposition = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''"
    headers = {"Content-Disposition": disposition + quote(record.file_name), **headers}
    return Answer.of(200, pdf, "application/pdf", headers)


def _zip(
    records: Sequence[FileRecord], pdfs: Sequence[bytes], headers: Mapping[str, str]
) -> Answer:
    """All files of a request. Their names are numbered if two are the same."""
    names = [record.file_name for record in records]
    if len(set(names)) < len(names):
        names = [f"{number:03}-{name}" for number, name in enumerate(names, start=1)]
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name, pdf in zip(names, pdfs, strict=True):
            archive.writestr(ZipInfo(name), pdf)
    headers = {"Content-Disposition": 'attachment; filename="files.zip"', **headers}
    return Answer.of(200, buffer.getvalue(), "application/zip", headers)
