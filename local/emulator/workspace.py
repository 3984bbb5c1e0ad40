"""The `workspace` contract: two keys, a link in the 202, and the parameters in the webhook."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import override
from urllib.parse import quote

from local.emulator.api import PART, Api, Operation, Route, completed_event, same
from local.emulator.fault_plan import Call
from local.emulator.files import FileRecord
from local.emulator.messages import Refusal, Request
from local.emulator.request_body import Rules
from local.emulator.webhooks import Event

_FILE_NAME = re.compile(
    "[A-Za-z0-9._"
    "\u3005-\u3007\u3040-\u309f\u30a0-\u30ff"  # 々〆〇, hiragana, katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kanji
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f"  # full-width, half-width
    "-]+"
)


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError("は英数字、日本語、-、_、. のみ使用できます")
    return name


class WorkspaceApi(Api):
    """The contract of the workspace's own sub-domain."""

    rules = Rules(_file_name)

    @override
    def routes(self) -> Sequence[Route]:
        workspace = re.escape(quote(self.settings.workspace_id))
        return [("GET", f"/{workspace}/design/{PART}/files/{PART}", self._linked)]

    @override
    def authenticate(self, request: Request) -> None:
        for name, expected in (
            ("AppKey", self.settings.app_key),
            ("SecretKey", self.settings.secret_key),
        ):
            given = request.headers.get(name.lower())
            if not given:
                raise Refusal(412, f"{name} ヘッダーがありません")
            if not same(given, expected):
                raise Refusal(401, "認証に失敗しました")

    @override
    def accepted(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, object]:
        if not several:
            return {"url": self._url(records[0]), "fileId": records[0].file_id}
        return {
            "url": self._url(records[0]),
            "fileId": records[0].request_id,
            "files": _names_and_ids(records),
        }

    @override
    def sync_headers(self, records: Sequence[FileRecord], *, several: bool) -> Mapping[str, str]:
        if several:
            return {"X-File-Mapping": json.dumps(_names_and_ids(records))}
        return {"File-URL": self._url(records[0]), "File-ID": records[0].file_id}

    @override
    def download_id(self, record: FileRecord) -> str:
        return record.uuid

    @override
    def completed(self, records: Sequence[FileRecord]) -> Event:
        files = [
            {
                "fileId": record.file_id,
                "uuid": record.uuid,
                "fileName": record.file_name,
                "params": record.params,
            }
            for record in records
        ]
        return completed_event(self.settings.workspace_id, records[0], files)

    def _linked(self, _: Request, design_id: str, link: str) -> Operation:
        """Answer at the `url` of a 202, which needs no keys."""
        records = [record for record in self.files.at(link) if record.design_id == design_id]
        as_zip = len(records) > 1
        return Operation(
            Call.DOWNLOAD, lambda: records, lambda: self.bytes_of(records, as_zip=as_zip)
        )

    def _url(self, record: FileRecord) -> str:
        workspace = quote(self.settings.workspace_id)
        return f"{record.origin}/{workspace}/design/{record.design_id}/files/{record.link}"


def _names_and_ids(records: Sequence[FileRecord]) -> Sequence[Mapping[str, str]]:
    return [{"fileName": record.file_name, "fileId": record.file_id} for record in records]
