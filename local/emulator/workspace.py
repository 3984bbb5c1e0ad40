"""The `workspace` contract: its paths, keys, answers and webhook body.

What distinguishes this contract from another stands here and in `request_body`; files, press,
webhooks and server know none of it.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from hmac import compare_digest
from math import ceil
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from local.emulator import request_body
from local.emulator.designs import Design, DesignVersion
from local.emulator.fault_plan import Call, Subject
from local.emulator.files import FileRecord, Files, Submission
from local.emulator.messages import Answer, Refusal, Request
from local.emulator.press import Press
from local.emulator.rate_limit import RateLimit
from local.emulator.request_body import Generation
from local.emulator.settings import EmulatorSettings


@dataclass(frozen=True)
class Operation:
    """What a request asks for.

    `call` is None where no fault can strike. `subjects` are the files it is about, as far as
    can be told; `run` does it and answers.

    Raises:
        Refusal: From `run`, the error to answer with.
    """

    call: Call | None
    subjects: Callable[[], Sequence[Subject]]
    run: Callable[[], Answer]


class Workspace:
    """The API of one workspace."""

    def __init__(
        self, settings: EmulatorSettings, designs: Sequence[Design], files: Files, press: Press
    ) -> None:
        self._settings = settings
        self._designs = {design.id: design for design in designs}
        self._files = files
        self._press = press
        self._rate = RateLimit(settings.requests_per_minute)
        part = "([^/]+)"
        self._routes: tuple[tuple[str, str, Callable[..., Operation]], ...] = (
            ("POST", "/v1/file/async/single", self._single),
            ("POST", "/v1/file/async/multiple", self._multiple),
            ("GET", f"/v1/file/download/{part}/{part}", self._download),
            ("GET", f"/v1/file/design/parameter/{part}", self._parameters),
            (
                "GET",
                f"/{re.escape(quote(settings.workspace_id))}/design/{part}/files/{part}",
                self._linked,
            ),
        )

    def operation(self, request: Request) -> Operation:
        """Find out what a request asks for; a path that is none of the API's is answered 404."""
        method = "GET" if request.method == "HEAD" else request.method
        for route_method, path, operation in self._routes:
            match = re.fullmatch(path, request.path)
            if match and method == route_method:
                return operation(request, *match.groups())
        return Operation(None, list, partial(_unknown_path, request))

    def _single(self, request: Request) -> Operation:
        return self._submit(request, request_body.single, _single_answer)

    def _multiple(self, request: Request) -> Operation:
        def read(request: Request) -> Generation:
            return request_body.multiple(request, self._settings.max_contents)

        return self._submit(request, read, _multiple_answer)

    def _submit(
        self,
        request: Request,
        read: Callable[[Request], Generation],
        answer: Callable[[str, Submission, Sequence[FileRecord]], object],
    ) -> Operation:
        def subjects() -> Sequence[Subject]:
            try:
                return read(request).contents
            except Refusal:
                return ()

        def run() -> Answer:
            self._authenticate(request)
            self._keep_rate()
            asked = read(request)
            design, design_version = self._design(asked.design_id, asked.version)
            for content in asked.contents:
                null = design_version.null_numbers(content.params)
                if null:
                    names = "、".join(f"「{name}」" for name in null)
                    raise Refusal(400, f"パラメータ{names}は数値で指定してください")
            submission = self._press.accept(design, asked.version, asked.contents)
            url = f"http://{request.headers['host']}{self._link(submission)}"
            body = answer(url, submission, self._files.records(submission.file_ids))
            return replace(Answer.json(202, body), file_ids=submission.file_ids)

        return Operation(Call.SUBMIT, subjects, run)

    def _download(self, request: Request, uuid: str, file_id: str) -> Operation:
        record = self._files.get(file_id)
        if record is not None and record.uuid != uuid:
            record = None

        def run() -> Answer:
            self._authenticate(request)
            self._keep_rate()
            if record is None:
                raise Refusal(404, "ファイルが見つかりません")
            return self._pdf(record)

        return Operation(Call.DOWNLOAD, lambda: [record] if record else [], run)

    def _linked(self, _: Request, design_id: str, link: str) -> Operation:
        submission = self._files.at(link)
        if submission is not None and submission.design.id != design_id:
            submission = None
        records = self._files.records(submission.file_ids) if submission else []

        def run() -> Answer:
            if not records:
                raise Refusal(404, "ファイルが見つかりません")
            if len(records) == 1:
                return self._pdf(records[0])
            return _zip([(record.file_name, self._pdf(record).body) for record in records])

        return Operation(Call.DOWNLOAD, lambda: records, run)

    def _parameters(self, request: Request, design_id: str) -> Operation:
        def run() -> Answer:
            self._authenticate(request)
            if not request_body.UUID.fullmatch(design_id):
                raise Refusal(400, ["designId must be a UUID"])
            version = request.query.get("version")
            if version is not None and not re.fullmatch("[0-9]{1,9}", version):
                raise Refusal(400, ["version must be an integer number"])
            _, found = self._design(design_id.lower(), None if version is None else int(version))
            return Answer.json(200, found.parameters)

        return Operation(None, list, run)

    def _authenticate(self, request: Request) -> None:
        for name, expected in (
            ("AppKey", self._settings.app_key),
            ("SecretKey", self._settings.secret_key),
        ):
            if not request.headers.get(name.lower()):
                raise Refusal(412, f"{name} ヘッダーがありません")
            given = request.headers[name.lower()]
            if not compare_digest(given.encode(), expected.encode()):
                raise Refusal(401, "認証に失敗しました")

    def _keep_rate(self) -> None:
        wait = self._rate.take()
        if wait > 0:
            headers = {"Retry-After": str(ceil(wait))}
            told = self._settings.rate_limit_retry_after
            raise Refusal(429, "Too Many Requests", headers if told else None)

    def _design(self, design_id: str, version: int | None) -> tuple[Design, DesignVersion]:
        """The design and its version; None is the newest."""
        design = self._designs.get(design_id)
        if design is None:
            raise Refusal(404, "デザインが見つかりません")
        found = design.versions.get(max(design.versions) if version is None else version)
        if found is None:
            raise Refusal(404, f"デザインのバージョン {version} が見つかりません")
        return design, found

    def _pdf(self, record: FileRecord) -> Answer:
        pdf = self._files.pdf(record.file_id)
        if pdf is None and not self._files.is_made(record.file_id):
            raise Refusal(self._settings.not_ready_status, self._settings.not_ready_message)
        if pdf is None:
            raise Refusal(404, "ファイルの保存期間が終了しました")
        self._files.count_download(record.file_id)
        disposition = f"attachment; filename*=UTF-8''{quote(record.file_name)}"
        return Answer.of(200, pdf, "application/pdf", {"Content-Disposition": disposition})

    def _link(self, submission: Submission) -> str:
        workspace = quote(self._settings.workspace_id)
        return f"/{workspace}/design/{submission.design.id}/files/{submission.link}"


def completed_event(
    workspace_id: str, submission: Submission, records: Sequence[FileRecord]
) -> Mapping[str, object]:
    """The webhook's body for files that are made."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "event": "file.completed",
        "timestamp": now.replace("+00:00", "Z"),
        "workspaceId": workspace_id,
        "designId": submission.design.id,
        "version": submission.version,
        "files": [
            {
                "fileId": record.file_id,
                "uuid": record.uuid,
                "fileName": record.file_name,
                "params": record.params,
            }
            for record in records
        ],
    }


def _unknown_path(request: Request) -> Answer:
    raise Refusal(404, f"Cannot {request.method} {request.path}")


def _single_answer(url: str, _: Submission, records: Sequence[FileRecord]) -> Mapping[str, object]:
    return {"url": url, "fileId": records[0].file_id}


def _multiple_answer(
    url: str, submission: Submission, records: Sequence[FileRecord]
) -> Mapping[str, object]:
    files = [{"fileName": record.file_name, "fileId": record.file_id} for record in records]
    return {"url": url, "fileId": submission.request_id, "files": files}


def _zip(files: Sequence[tuple[str, bytes]]) -> Answer:
    """All files of a request; what the service has at this address is unknown."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for number, (name, pdf) in enumerate(files, start=1):
            archive.writestr(ZipInfo(f"{number:03}-{name}"), pdf)
    return Answer.of(200, buffer.getvalue(), "application/zip")
