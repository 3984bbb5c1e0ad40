"""What only the `central` contract has; what it shares is in the other modules' tests."""

from collections.abc import Iterator
from dataclasses import replace
from time import sleep
from urllib.parse import unquote

import pytest
import requests

from local.emulator import Contract, Emulator, harshest
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import CutBefore, Status
from tests.unit.emulator_client import (
    CENTRAL,
    body,
    download,
    download_url,
    information,
    made,
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
            "url": f"{emulator.origin}/file/{record.request_id}/{record.file_id}",
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

    def test_url_is_a_page_for_people(self, emulator: Emulator) -> None:
        url = submit(emulator).json()["url"]
        made(emulator)

        response = requests.get(url, headers=KEY, timeout=10)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"

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


def ask(emulator: Emulator, headers: dict[str, str]) -> requests.Response:
    """Ask for a file that there is not: 404 for an accepted key or token."""
    url = f"{emulator.url}/file/download/request/file"
    return requests.get(url, headers=headers, timeout=10)


class TestKeys:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 412),
            ({"appkey": ""}, 412),
            ({"SecretKey": CENTRAL.secret_key}, 412),
            ({"appkey": "ak_other"}, 401),
            ({"APPKEY": CENTRAL.app_key}, 404),
            ({"Authorization": "Bearer never-issued"}, 401),
            ({"Authorization": CENTRAL.app_key}, 401),
            ({"Authorization": "Bearer x", "appkey": CENTRAL.app_key}, 404),
        ],
    )
    def test_are_checked(self, emulator: Emulator, headers: dict[str, str], status: int) -> None:
        refusal(ask(emulator, headers), status)

    def test_a_submission_needs_one(self, emulator: Emulator) -> None:
        url = f"{emulator.url}/file/async/single"
        refusal(requests.post(url, json=body(), timeout=10), 412)


class TestTokens:
    def token(self, emulator: Emulator, **changes: str) -> requests.Response:
        return requests.post(emulator.token_url, data=CLIENT | GRANT | changes, timeout=10)

    def ask(self, emulator: Emulator, token: object) -> int:
        return ask(emulator, {"Authorization": f"Bearer {token}"}).status_code

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
        refusal(ask(emulator, headers), 401)

    def test_the_client_may_use_http_basic(self, emulator: Emulator) -> None:
        response = requests.post(
            emulator.token_url,
            data=GRANT,
            auth=(CENTRAL.client_id, CENTRAL.client_secret),
            timeout=10,
        )
        assert self.ask(emulator, response.json()["access_token"]) == 404

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
        assert self.ask(emulator, token) == 403

    def test_a_token_expires(self) -> None:
        with Emulator(replace(CENTRAL, token_seconds=0.3)) as emulator:
            token = self.token(emulator).json()["access_token"]
            assert self.ask(emulator, token) == 404
            sleep(0.3)
            assert self.ask(emulator, token) == 401

    def test_tokens_can_be_revoked(self, emulator: Emulator) -> None:
        token = self.token(emulator).json()["access_token"]
        assert requests.delete(f"{emulator.origin}/_emulator/tokens", timeout=10).ok
        assert self.ask(emulator, token) == 401
        assert self.ask(emulator, self.token(emulator).json()["access_token"]) == 404

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


class TestDownload:
    def test_names_the_file_in_a_header(self, emulator: Emulator) -> None:
        submit(emulator)
        record = made(emulator)
        assert download(emulator, record).headers["File-ID"] == record.file_id


def test_the_harshest_settings_still_make_pdfs() -> None:
    settings = replace(harshest(Contract.CENTRAL), render_seconds=(1, 1))
    with receiver() as heard, Emulator(settings, heard.url) as emulator:
        answer = submit(emulator, "a")
        early = download(emulator, emulator.files()[0])
        wait_until(heard.names)

        assert answer.status_code == 200
        assert refusal(early, 404) == "Not Found"
        assert download(emulator, emulator.files()[0]).ok
