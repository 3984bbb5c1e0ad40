"""The `central` contract: one key or a token, ids of requests, and `passthrough`."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, override
from urllib.parse import quote

from local.emulator.api import PART, Api, Operation, Route, completed_event, same
from local.emulator.designs import Design
from local.emulator.fault_plan import Call, FaultPlan
from local.emulator.files import FileRecord, Files
from local.emulator.messages import Answer, Refusal, Request
from local.emulator.oauth import Tokens
from local.emulator.request_body import Option, Rules
from local.emulator.settings import EmulatorSettings, UrlForm
from local.emulator.webhooks import Event, Webhooks

SCOPE: Final = "pdf:generate"
SHARE_TYPES: Final = {"01": "workspace", "02": "invited", "03": "public"}
"""The value in the request, and the one in answers and webhooks."""

# No file name may have these. A lone surrogate has no UTF-8.
_FORBIDDEN = re.compile('[/\\\\:*?"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff]')


def _file_name(name: str) -> str:
    if _FORBIDDEN.search(name):
        raise ValueError('に使用できない文字が含まれています(/ \\ : * ? " < > | および制御文字)')
    return f"{name.removesuffix('.pdf')}.pdf"


class CentralApi(Api):
    """The contract of one host for all workspaces."""

    rules = Rules(
        _file_name,
        options={
            "shareType": Option(
                "share_type",
                lambda value: isinstance(value, str) and value in SHARE_TYPES,
                f"must be one of {', '.join(SHARE_TYPES)}",
            ),
            "passcodeEnabled": Option(
                "passcode_enabled",
                lambda value: isinstance(value, bool),
                "must be a boolean value",
            ),
            "passthrough": Option(
                "passthrough", lambda value: isinstance(value, dict), "must be an object"
            ),
        },
        unique_names=True,
    )

    def __init__(
        self,
        settings: EmulatorSettings,
        designs: Sequence[Design],
        files: Files,
        plan: FaultPlan,
        webhooks: Webhooks,
    ) -> None:
        self.tokens = Tokens(settings, SCOPE)
        super().__init__(settings, designs, files, plan, webhooks)

    @override
    def routes(self) -> Sequence[Route]:
        return [
            ("GET", f"/v1/file/download/{PART}", self._download_all),
            ("GET", "/v1/file/designs", self._list_designs),
            ("GET", f"/file/{PART}/{PART}", _page),
            ("POST", re.escape(self.settings.token_path), self._token),
        ]

    @override
    def authenticate(self, request: Request) -> None:
        key, token = request.headers.get("appkey"), request.headers.get("authorization")
        if key:
            if not same(key, self.settings.app_key):
                raise Refusal(401, "認証情報が不正です")
        elif token:
            scopes = self.tokens.scopes(token)
            if scopes is None:
                raise Refusal(401, "認証情報が不正です")
            if SCOPE not in scopes:
                raise Refusal(403, f"scope {SCOPE} が必要です")
        else:
            raise Refusal(412, "認証方式ヘッダーが存在しません")

    @override
    def accepted(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, object]:
        first = records[0]
        urls = {
            UrlForm.REQUEST: _request_url(first),
            UrlForm.FILE: f"{_request_url(first)}/{first.file_id}",
            UrlForm.PAGE: _page_url(first),
        }
        return {
            "requestId": first.request_id,
            "url": urls[self.settings.url_form],
            "files": [_file(record) for record in records],
        }

    @override
    def sync_headers(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, str]:
        return {
            "Request-Id": records[0].request_id,
            "File-URL": _request_url(records[0]),
            "X-File-Mapping": quote(json.dumps([_file(record) for record in records])),
        }

    @override
    def download_id(self, record: FileRecord) -> str:
        return record.request_id

    @override
    def completed(self, records: Sequence[FileRecord]) -> Event:
        files = [_file(record) for record in records]
        event = completed_event(self.settings.workspace_id, records[0], files)
        return {**event, "requestId": records[0].request_id}

    def _download_all(self, request: Request, request_id: str) -> Operation:
        return self.download(request, self.files.of_request(request_id), as_zip=True)

    def _list_designs(self, request: Request) -> Operation:
        def run() -> Answer:
            self.authenticate(request)
            designs = [
                {
                    "id": design.id,
                    "label": design.label,
                    "latestVersion": max(design.versions),
                    "thumbnail": "",
                    "updatedAt": "2026-01-01T00:00:00.000Z",
                }
                for design in self.designs.values()
            ]
            return Answer.json(200, {"designs": designs})

        return Operation(None, list, run)

    def _token(self, request: Request) -> Operation:
        return Operation(Call.TOKEN, list, partial(self.tokens.issue, request))


def _file(record: FileRecord) -> Mapping[str, object]:
    return {
        "fileId": record.file_id,
        "fileName": record.file_name,
        **({} if record.passthrough is None else {"passthrough": record.passthrough}),
        "share": {
            "shareType": SHARE_TYPES[record.share_type],
            "url": _page_url(record),
            "passcodeEnabled": record.passcode_enabled,
        },
    }


def _request_url(record: FileRecord) -> str:
    return f"{record.origin}/v1/file/download/{record.request_id}"


def _page_url(record: FileRecord) -> str:
    return f"{record.origin}/file/{record.request_id}/{record.file_id}"


def _page(_: Request, *_ids: str) -> Operation:
    """Answer with the web page that shows a file to people: it is not a PDF."""
    page = b"<!doctype html><html><title>Re:port Flow</title><body>Please sign in.</body></html>"
    return Operation(None, list, lambda: Answer.of(200, page, "text/html; charset=utf-8"))
