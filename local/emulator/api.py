"""The calls that both contracts have; what differs stands in `workspace` and in `central`.

A subclass of `Api` is one contract. Files, press, webhooks and server know none of it.
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
from local.emulator.designs import Design, DesignVersion
from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import Content, FileRecord, Files, Submission
from local.emulator.messages import Answer, Refusal, Request
from local.emulator.press import Press
from local.emulator.rate_limit import RateLimit
from local.emulator.request_body import Generation, Rules
from local.emulator.settings import EmulatorSettings
from local.emulator.webhooks import Event, Webhooks

PART: Final = "([^/]+)"
"""One part of a path, given to the route's operation."""


@dataclass(frozen=True)
class Operation:
    """What a request asks for.

    `call` is None if no fault can happen to it. `subjects` are the files that it is about, as far
    as they are known; `run` does it and answers.

    Raises:
        Refusal: From `run`, the error to answer with.
    """

    call: Call | None
    subjects: Callable[[], Sequence[Content]]
    run: Callable[[], Answer]


type Route = tuple[str, str, Callable[..., Operation]]
"""Method, pattern of the path, and what makes an operation of the request and the path's parts."""


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
        limits = settings.limits
        counts_refused = settings.rate_limit_counts_refused
        self.settings = settings
        self.designs = {design.id: design for design in designs}
        self.files = files
        self.rates: Mapping[str, RateLimit] = {
            "async": RateLimit(limits.requests_per_minute, counts_refused=counts_refused),
            "sync": RateLimit(limits.sync_requests_per_minute, counts_refused=counts_refused),
        }
        self._press = Press(settings, files, plan, webhooks, self.completed)
        self._routes: Sequence[Route] = (
            ("POST", "/v1/file/(async|sync)/(single|multiple)", self._generate),
            ("GET", f"/v1/file/download/{PART}/{PART}", self._download),
            ("GET", f"/v1/file/design/parameter/{PART}", self._parameters),
            *self.routes(),
        )

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return the paths that only this contract has."""

    @abstractmethod
    def authenticate(self, request: Request) -> None:
        """Check who asks.

        Raises:
            Refusal: 412 without the headers, 401 with wrong ones.
        """

    @abstractmethod
    def accepted(
        self, submission: Submission, records: Sequence[FileRecord], *, several: bool
    ) -> Mapping[str, object]:
        """Return the 202's body; `several` is whether a `multiple` was asked for."""

    @abstractmethod
    def sync_headers(
        self, submission: Submission, records: Sequence[FileRecord], *, several: bool
    ) -> Mapping[str, str]:
        """Return the headers that come with the PDF or ZIP of a synchronous call."""

    @abstractmethod
    def download_id(self, record: FileRecord) -> str:
        """Return what stands before the file's id in the path of its download."""

    @abstractmethod
    def completed(self, submission: Submission, records: Sequence[FileRecord]) -> Event:
        """Return the webhook's body for files that are made."""

    def operation(self, request: Request) -> Operation:
        """Find out what a request asks for; an unknown path is answered 404."""
        method = "GET" if request.method == "HEAD" else request.method
        for route_method, path, operation in self._routes:
            match = re.fullmatch(path, request.path)
            if match and method == route_method:
                return operation(request, *match.groups())
        return Operation(None, list, partial(_unknown_path, request))

    def close(self) -> None:
        """Wait for the PDFs being made, and drop the others."""
        self._press.close()

    def _generate(self, request: Request, mode: str, number: str) -> Operation:
        several = number == "multiple"

        def read() -> Generation:
            if several:
                return request_body.multiple(request, self.rules, self.settings.max_contents)
            return request_body.single(request, self.rules)

        def subjects() -> Sequence[Content]:
            try:
                return read().contents
            except Refusal:
                return ()

        def run() -> Answer:
            self.authenticate(request)
            self.keep_rate(mode)
            asked = read()
            design, design_version = self._design(asked.design_id, asked.version)
            for content in asked.contents:
                null = design_version.null_numbers(content.params)
                if null:
                    names = "、".join(f"「{name}」" for name in null)
                    raise Refusal(400, f"パラメータ{names}は数値で指定してください")
            origin = f"http://{request.headers['host']}"
            submission = self._press.accept(design, asked.version, asked.contents, origin)
            if mode == "sync":
                answer = self._wait_for_pdfs(submission, several=several)
            else:
                records = self.files.records(submission.file_ids)
                body = self.accepted(submission, records, several=several)
                answer = Answer.json(self.settings.accepted_status, body)
            return replace(answer, file_ids=submission.file_ids)

        return Operation(Call.SUBMIT, subjects, run)

    def _wait_for_pdfs(self, submission: Submission, *, several: bool) -> Answer:
        seconds = self.settings.limits.sync_timeout_seconds
        pdfs = self.files.wait_until_made(submission.file_ids, seconds)
        if pdfs is None:
            raise Refusal(504, "Gateway Timeout")
        records = self.files.records(submission.file_ids)
        headers = self.sync_headers(submission, records, several=several)
        if several:
            return _zip([record.file_name for record in records], pdfs, headers)
        return _pdf(records[0], pdfs[0], headers)

    def _download(self, request: Request, download_id: str, file_id: str) -> Operation:
        record = self.files.get(file_id)
        known = [record] if record is not None and self.download_id(record) == download_id else []
        return self.download(request, known)

    def download(
        self, request: Request, records: Sequence[FileRecord], *, as_zip: bool = False
    ) -> Operation:
        """Answer with these files; an empty list means that the request names none that exist."""

        def run() -> Answer:
            self.authenticate(request)
            self.keep_rate("async")
            return self.bytes_of(records, as_zip=as_zip)

        return Operation(Call.DOWNLOAD, lambda: records, run)

    def bytes_of(self, records: Sequence[FileRecord], *, as_zip: bool) -> Answer:
        """Return one PDF, or a ZIP.

        Raises:
            Refusal: The files are unknown, not made yet, or not kept any more.
        """
        if not records:
            raise Refusal(self.settings.unknown_status, self.settings.unknown_message)
        pdfs = [self._kept(record) for record in records]
        for record in records:
            self.files.count_download(record.file_id)
        if as_zip:
            return _zip([record.file_name for record in records], pdfs, {})
        return _pdf(records[0], pdfs[0], {"File-ID": records[0].file_id})

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

    def keep_rate(self, kind: str) -> None:
        """Count a request.

        Raises:
            Refusal: 429 if the limit is reached.
        """
        wait = self.rates[kind].take()
        if wait > 0:
            headers = {"Retry-After": str(ceil(wait))}
            told = self.settings.rate_limit_retry_after
            raise Refusal(429, "Too Many Requests", headers if told else None)

    def _design(self, design_id: str, version: int | None) -> tuple[Design, DesignVersion]:
        """The design and its version; None is the newest."""
        design = self.designs.get(design_id)
        if design is None:
            raise Refusal(404, "デザインが見つかりません")
        found = design.versions.get(max(design.versions) if version is None else version)
        if found is None:
            raise Refusal(404, f"デザインのバージョン {version} が見つかりません")
        return design, found

    def _kept(self, record: FileRecord) -> bytes:
        pdf = self.files.pdf(record.file_id)
        if pdf is None and not self.files.is_made(record.file_id):
            raise Refusal(self.settings.not_ready_status, self.settings.not_ready_message)
        if pdf is None:
            raise Refusal(self.settings.expired_status, self.settings.expired_message)
        return pdf


def completed_event(
    workspace_id: str, submission: Submission, files: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """The fields that the webhooks of both contracts have."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "event": "file.completed",
        "timestamp": now.replace("+00:00", "Z"),
        "workspaceId": workspace_id,
        "designId": submission.design.id,
        "version": submission.version,
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


def _zip(names: Sequence[str], pdfs: Sequence[bytes], headers: Mapping[str, str]) -> Answer:
    """All files of a request; the names are numbered if two are the same."""
    if len(set(names)) < len(names):
        names = [f"{number:03}-{name}" for number, name in enumerate(names, start=1)]
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name, pdf in zip(names, pdfs, strict=True):
            archive.writestr(ZipInfo(name), pdf)
    headers = {"Content-Disposition": 'attachment; filename="files.zip"', **headers}
    return Answer.of(200, buffer.getvalue(), "application/zip", headers)
