"""What only the `central` contract has; what it shares is in the other modules' tests."""

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from time import sleep
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

import pytest
import requests

from local.emulator import Contract, Emulator, UrlForm, harshest
from local.emulator.designs import CATALOG
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import CutBefore, Status
from tests.unit.emulator_client import (
    CENTRAL,
    body,
    download,
    download_url,
    information,
    made,
    multiple,
    post,
    receiver,
    refusal,
    submit,
    wait_until,
    with_content,
)

KEY = {"appkey": CENTRAL.app_key}
CLIENT = {"client_id": CENTRAL.client_id, "client_secret": CENTRAL.client_secret}
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(CENTRAL) as emulator:
        yield emulator


class TestAccepted:
    def test_answer(self, emulator: Emulator) -> None:
        passthrough = {"orderId": "A-1", "lines": [1, None]}
        data = with_content(shareType="03", passcodeEnabled=True, passthrough=passthrough)

        response = post(emulator, data)

        record = made(emulator)
        assert response.json() == {
            "requestId": record.request_id,
            "url": f"{emulator.url}/file/download/{record.request_id}",
            "files": [
                {
                    "fileId": record.file_id,
                    "fileName": "invoice.pdf",
                    "passthrough": passthrough,
                    "share": {
                        "shareType": "public",
                        "url": f"{emulator.origin}/file/{record.request_id}/{record.file_id}",
                        "passcodeEnabled": True,
                    },
                }
            ],
        }

    def test_answer_without_options(self, emulator: Emulator) -> None:
        [file] = submit(emulator).json()["files"]
        assert "passthrough" not in file
        assert file["share"]["shareType"] == "workspace"
        assert file["share"]["passcodeEnabled"] is False

    def test_answer_to_a_multiple_has_the_same_form(self, emulator: Emulator) -> None:
        response = post(emulator, multiple("a.pdf", "b.pdf"), "async/multiple")

        answer = response.json()
        assert answer.keys() == {"requestId", "url", "files"}
        assert {file.request_id for file in emulator.files()} == {answer["requestId"]}
        assert [file["fileName"] for file in answer["files"]] == ["a.pdf", "b.pdf"]

    @pytest.mark.parametrize(
        ("form", "content_type"),
        [
            (UrlForm.REQUEST, "application/zip"),
            (UrlForm.FILE, "application/pdf"),
            (UrlForm.PAGE, "text/html; charset=utf-8"),
        ],
    )
    def test_url_leads_where_it_is_configured_to(self, form: UrlForm, content_type: str) -> None:
        with Emulator(replace(CENTRAL, url_form=form)) as emulator:
            url = submit(emulator).json()["url"]
            made(emulator)
            response = requests.get(url, headers=KEY, timeout=10)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == content_type

    def test_passthrough_and_share_come_back_in_the_webhook(self) -> None:
        data = with_content(shareType="02", passthrough={"orderId": "A-1", "deep": {"a": [1]}})
        with receiver() as heard, Emulator(CENTRAL, heard.url) as emulator:
            answer = post(emulator, data).json()
            wait_until(lambda: heard.events)

        assert heard.events[0]["requestId"] == answer["requestId"]
        assert heard.events[0]["files"] == answer["files"]


class TestFileName:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("invoice", "invoice.pdf"),
            ("invoice.pdf", "invoice.pdf"),
            ("invoice.pdf.pdf", "invoice.pdf.pdf"),
            ("invoice.PDF", "invoice.PDF.pdf"),
            ("請求書 (1) #2 – été.pdf", "請求書 (1) #2 – été.pdf"),
            ("😀%41'&;.pdf", "😀%41'&;.pdf"),
        ],
    )
    def test_is_kept_with_one_ending(self, emulator: Emulator, name: str, kept: str) -> None:
        [file] = submit(emulator, name).json()["files"]
        record = made(emulator)

        assert file["fileName"] == record.file_name == kept
        disposition = download(emulator, record).headers["Content-Disposition"]
        assert disposition.isascii()
        assert unquote(disposition.split("UTF-8''")[1]) == kept

    @pytest.mark.parametrize("character", [*'/\\:*?"<>|', "\0", "\n", "\x1f", "\x7f", "\ud800"])
    def test_forbidden_character_is_400(self, emulator: Emulator, character: str) -> None:
        assert "fileName" in refusal(submit(emulator, f"a{character}b.pdf"), 400)

    @pytest.mark.parametrize("names", [("a.pdf", "a.pdf"), ("a.pdf", "A"), ("A.pdf", "a")])
    def test_names_of_one_request_must_differ(
        self, emulator: Emulator, names: tuple[str, ...]
    ) -> None:
        assert "fileName" in refusal(post(emulator, multiple(*names), "async/multiple"), 400)
        assert emulator.files() == ()


class TestOptions:
    @pytest.mark.parametrize(
        "change",
        [
            {"shareType": "04"},
            {"shareType": "workspace"},
            {"shareType": 1},
            {"shareType": None},
            {"passcodeEnabled": "true"},
            {"passcodeEnabled": 1},
            {"passthrough": "A-1"},
            {"passthrough": []},
            {"passthrough": None},
            {"colour": "red"},
            {"filename": "a.pdf"},
        ],
    )
    def test_other_values_and_fields_are_400_and_named(
        self, emulator: Emulator, change: dict[str, object]
    ) -> None:
        [field] = change
        message = refusal(post(emulator, with_content(**change)), 400)
        assert field in message
        assert emulator.files() == ()


class TestMetadata:
    def test_pdf_has_the_strings_and_numbers_of_passthrough(self, emulator: Emulator) -> None:
        passthrough = {
            "jobId": "job_1",
            "顧客 #1": "(山田) \\ \ud800",
            "amount": 12.5,
            "count": 3,
            "open": True,
            "nothing": None,
            "nested": {"secret": "hidden-1"},
            "list": ["hidden-2"],
            "Title": "Mine",
        }
        post(emulator, with_content(passthrough=passthrough))

        pdf = download(emulator, made(emulator)).content

        written = {name: information(pdf, name) for name in passthrough}
        assert written == {
            "jobId": "job_1",
            "顧客 #1": "(山田) \\ ?",
            "amount": "12.5",
            "count": "3",
            "open": "",
            "nothing": "",
            "nested": "",
            "list": "",
            "Title": "Mine",
        }
        assert b"hidden" not in pdf

    def test_pdf_has_none_without_passthrough(self, emulator: Emulator) -> None:
        submit(emulator)
        pdf = download(emulator, made(emulator)).content
        assert information(pdf, "Title") == "invoice"
        assert information(pdf, "jobId") == ""


class TestKeys:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 412),
            ({"appkey": ""}, 412),
            ({"SecretKey": CENTRAL.secret_key}, 412),
            ({"appkey": "ak_other"}, 401),
            ({"APPKEY": CENTRAL.app_key}, 200),
            ({"Authorization": "Bearer never-issued"}, 401),
            ({"Authorization": CENTRAL.app_key}, 401),
            ({"Authorization": "Bearer x", "appkey": CENTRAL.app_key}, 200),
        ],
    )
    @pytest.mark.parametrize("path", ["file/designs", f"file/design/parameter/{CATALOG[0].id}"])
    def test_are_checked(
        self, emulator: Emulator, path: str, headers: dict[str, str], status: int
    ) -> None:
        response = requests.get(f"{emulator.url}/{path}", headers=headers, timeout=10)
        if status == 200:
            assert response.ok
        else:
            refusal(response, status)

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "async/single"),
            ("POST", "async/multiple"),
            ("POST", "sync/single"),
            ("POST", "sync/multiple"),
            ("GET", "download/{request_id}"),
            ("GET", "download/{request_id}/{file_id}"),
        ],
    )
    def test_every_call_needs_one(self, emulator: Emulator, method: str, path: str) -> None:
        submit(emulator)
        record = made(emulator)
        path = path.format(request_id=record.request_id, file_id=record.file_id)
        url = f"{emulator.url}/file/{path}"
        refusal(requests.request(method, url, json=body(), timeout=10), 412)


class TestTokens:
    def token(self, emulator: Emulator, **changes: str) -> requests.Response:
        return requests.post(emulator.token_url, data=CLIENT | GRANT | changes, timeout=10)

    def designs(self, emulator: Emulator, token: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{emulator.url}/file/designs", headers=headers, timeout=10)

    def test_a_token_opens_every_call(self, emulator: Emulator) -> None:
        response = self.token(emulator, scope="pdf:generate")

        answer = response.json()
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert {name: answer[name] for name in answer if name != "access_token"} == {
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "pdf:generate",
        }
        headers = {"Authorization": f"bearer {answer['access_token']}"}
        url = f"{emulator.url}/file/async/single"
        assert requests.post(url, json=body(), headers=headers, timeout=10).status_code == 202
        assert requests.get(download_url(emulator, made(emulator)), headers=headers, timeout=10).ok

    def test_a_token_of_another_scheme_is_401(self, emulator: Emulator) -> None:
        token = self.token(emulator).json()["access_token"]
        headers = {"Authorization": f"Basic {token}"}
        refusal(requests.get(f"{emulator.url}/file/designs", headers=headers, timeout=10), 401)

    def test_the_client_may_use_http_basic(self, emulator: Emulator) -> None:
        response = requests.post(
            emulator.token_url,
            data=GRANT,
            auth=(CENTRAL.client_id, CENTRAL.client_secret),
            timeout=10,
        )
        assert self.designs(emulator, response.json()["access_token"]).ok

    @pytest.mark.parametrize(
        ("changes", "status", "error"),
        [
            ({"client_id": "other"}, 401, "invalid_client"),
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_secret": ""}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"scope": "pdf:generate everything"}, 400, "invalid_scope"),
        ],
    )
    def test_other_requests_are_refused(
        self, emulator: Emulator, changes: dict[str, str], status: int, error: str
    ) -> None:
        response = self.token(emulator, **changes)
        assert (response.status_code, response.json()["error"]) == (status, error)

    def test_wrong_basic_and_a_json_body_are_refused(self, emulator: Emulator) -> None:
        url = emulator.token_url
        for auth in ("Basic ???", "Basic bm8tY29sb24="):
            headers = {"Authorization": auth}
            assert requests.post(url, data=GRANT, headers=headers, timeout=10).status_code == 401
        assert requests.post(url, json=CLIENT | GRANT, timeout=10).status_code == 400

    def test_another_scope_is_403(self, emulator: Emulator) -> None:
        token = self.token(emulator, scope="designs:read").json()["access_token"]
        refusal(self.designs(emulator, token), 403)

    def test_a_token_expires(self) -> None:
        with Emulator(replace(CENTRAL, token_seconds=0.3)) as emulator:
            token = self.token(emulator).json()["access_token"]
            assert self.designs(emulator, token).ok
            sleep(0.3)
            refusal(self.designs(emulator, token), 401)

    def test_tokens_can_be_revoked(self, emulator: Emulator) -> None:
        token = self.token(emulator).json()["access_token"]
        assert requests.delete(f"{emulator.origin}/_emulator/tokens", timeout=10).ok
        refusal(self.designs(emulator, token), 401)
        assert self.designs(emulator, self.token(emulator).json()["access_token"]).ok

    def test_the_path_is_a_setting(self) -> None:
        with Emulator(replace(CENTRAL, token_path="/api/v1/oauth/token")) as emulator:
            assert emulator.token_url == f"{emulator.origin}/api/v1/oauth/token"
            assert self.token(emulator).ok
            assert requests.post(f"{emulator.origin}/oauth/token", timeout=10).status_code == 404

    def test_faults_happen_to_it(self, emulator: Emulator) -> None:
        emulator.faults.replace([Fault(Call.TOKEN, Status(503)), Fault(Call.TOKEN, CutBefore())])
        assert self.token(emulator).status_code == 503
        with pytest.raises(requests.ConnectionError):
            self.token(emulator)
        assert self.token(emulator).ok


class TestZip:
    def get(self, emulator: Emulator, request_id: str) -> requests.Response:
        url = f"{emulator.url}/file/download/{request_id}"
        return requests.get(url, headers=KEY, timeout=10)

    def test_has_every_file_of_the_request(self, emulator: Emulator) -> None:
        submit(emulator, "other.pdf")
        answer = post(emulator, multiple("a.pdf", "請求書 1"), "async/multiple").json()
        wait_until(lambda: all(file.sha256 for file in emulator.files()))

        response = self.get(emulator, answer["requestId"])

        assert response.headers["Content-Type"] == "application/zip"
        assert response.headers["Content-Disposition"] == 'attachment; filename="files.zip"'
        with ZipFile(BytesIO(response.content)) as archive:
            digests = {name: sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
        files = emulator.files()[1:]
        assert digests == {file.file_name: file.sha256 for file in files}
        assert [file.downloads for file in emulator.files()] == [0, 1, 1]

    def test_answers_as_the_download_of_a_file_does(self) -> None:
        settings = replace(CENTRAL, not_ready_status=409, unknown_status=410)
        with Emulator(replace(settings, render_seconds=(60, 60))) as emulator:
            answer = submit(emulator).json()
            refusal(self.get(emulator, answer["requestId"]), 409)
            refusal(self.get(emulator, answer["files"][0]["fileId"]), 410)
        with Emulator(replace(CENTRAL, retention_seconds=0, expired_status=418)) as emulator:
            submit(emulator)
            refusal(self.get(emulator, made(emulator).request_id), 418)

    def test_faults_happen_to_it(self, emulator: Emulator) -> None:
        submit(emulator, "a.pdf")
        emulator.faults.replace([Fault(Call.DOWNLOAD, Status(500), file_name_prefix="a")])
        record = made(emulator)
        assert self.get(emulator, record.request_id).status_code == 500
        assert self.get(emulator, record.request_id).ok


class TestDownload:
    def test_names_the_file_in_a_header(self, emulator: Emulator) -> None:
        submit(emulator)
        record = made(emulator)
        assert download(emulator, record).headers["File-ID"] == record.file_id


class TestSyncHeaders:
    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("sync/single", with_content(fileName="請求書.pdf", passthrough={"a": "é %41"})),
            ("sync/multiple", multiple("a.pdf", "請求書.pdf")),
        ],
    )
    def test_lead_to_the_files(self, emulator: Emulator, path: str, data: dict[str, Any]) -> None:
        response = post(emulator, data, path)

        records = emulator.files()
        request_id = response.headers["Request-Id"]
        assert {record.request_id for record in records} == {request_id}
        assert response.headers["File-URL"] == f"{emulator.url}/file/download/{request_id}"
        mapping = json.loads(unquote(response.headers["X-File-Mapping"]))
        assert [(file["fileId"], file["fileName"]) for file in mapping] == [
            (record.file_id, record.file_name) for record in records
        ]
        assert mapping[0]["share"]["shareType"] == "workspace"
        assert mapping[0].get("passthrough") == records[0].passthrough


def test_designs_are_listed(emulator: Emulator) -> None:
    response = requests.get(f"{emulator.url}/file/designs", headers=KEY, timeout=10)

    assert response.status_code == 200
    designs = response.json()["designs"]
    assert [(design["id"], design["label"], design["latestVersion"]) for design in designs] == [
        (design.id, design.label, max(design.versions)) for design in CATALOG
    ]
    assert designs[0].keys() == {"id", "label", "latestVersion", "thumbnail", "updatedAt"}


def test_the_harshest_settings_still_make_pdfs() -> None:
    settings = replace(harshest(Contract.CENTRAL), render_seconds=(1, 1))
    with receiver() as heard, Emulator(settings, heard.url) as emulator:
        answer = post(emulator, multiple("a", "b"), "async/multiple")
        early = download(emulator, emulator.files()[0])
        wait_until(lambda: len(heard.names()) == 2)

        assert answer.status_code == 200
        assert refusal(early, 404) == "Not Found"
        assert [len(event["files"]) for event in heard.events] == [1, 1]
        assert all(download(emulator, file).ok for file in emulator.files())
