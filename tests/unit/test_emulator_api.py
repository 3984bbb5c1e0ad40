import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from urllib.parse import urlsplit
from zipfile import ZipFile

import pytest
import requests

from local.emulator import Contract, Emulator, EmulatorSettings, Ids
from local.emulator.designs import CATALOG, INVOICE, REPORT, Design
from local.emulator.request_body import MAX_CONTENTS
from tests.unit.emulator_client import (
    BOTH,
    FAST,
    KEYS,
    PARAMS,
    body,
    download,
    download_url,
    made,
    multiple,
    post,
    refusal,
    submit,
    wait_until,
    with_content,
)


@pytest.fixture(params=BOTH, ids=lambda settings: settings.contract)
def settings(request: pytest.FixtureRequest) -> EmulatorSettings:
    assert isinstance(request.param, EmulatorSettings)
    return request.param


@pytest.fixture
def emulator(settings: EmulatorSettings) -> Iterator[Emulator]:
    with Emulator(settings) as emulator:
        yield emulator


@pytest.fixture
def workspace() -> Iterator[Emulator]:
    """For what is this contract's only; the other's is in `test_emulator_central`."""
    with Emulator(FAST) as emulator:
        yield emulator


def file_id(response: requests.Response) -> object:
    """The first file's id in a 202."""
    answer = response.json()
    return answer["files"][0]["fileId"] if "files" in answer else answer["fileId"]


class TestSubmit:
    def test_answers_202_with_url_and_file_id(self, workspace: Emulator) -> None:
        response = submit(workspace)

        assert response.json().keys() == {"url", "fileId"}
        assert made(workspace).uuid not in response.text

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_accepts_and_makes_the_file(self, settings: EmulatorSettings, status: int) -> None:
        with Emulator(replace(settings, accepted_status=status)) as emulator:
            response = submit(emulator)
            record = made(emulator)

        assert response.status_code == status
        assert file_id(response) == record.file_id
        assert (record.design_id, record.version) == (INVOICE.id, 1)
        assert (record.file_name, record.params) == ("invoice.pdf", PARAMS)

    def test_takes_japanese_file_names_and_header_names_in_any_case(
        self, emulator: Emulator
    ) -> None:
        headers = {name.upper(): value for name, value in KEYS.items()}
        data = json.dumps(body("請求書_1-2.山田ｶﾅー.pdf")).encode()
        url = f"{emulator.url}/file/async/single"
        content_type = {"content-type": "Application/JSON; charset=UTF-8"}

        response = requests.post(url, data=data, headers=headers | content_type, timeout=10)

        assert response.status_code == 202

    def test_each_request_makes_a_file_of_its_own(self, emulator: Emulator) -> None:
        first, second = submit(emulator), submit(emulator)

        assert file_id(first) != file_id(second)
        assert first.json()["url"] != second.json()["url"]
        wait_until(lambda: all(file.sha256 for file in emulator.files()))
        assert len({file.sha256 for file in emulator.files()}) == 2

    def test_fifty_at_once_are_all_made(self, emulator: Emulator) -> None:
        names = [f"file-{number}.pdf" for number in range(50)]
        with ThreadPoolExecutor(50) as threads:
            responses = list(threads.map(lambda name: submit(emulator, name), names))

        assert {response.status_code for response in responses} == {202}
        wait_until(lambda: all(file.sha256 for file in emulator.files()))
        assert sorted(file.file_name for file in emulator.files()) == sorted(names)
        by_id = {file.file_id: file.file_name for file in emulator.files()}
        told = [by_id[str(file_id(response))] for response in responses]
        assert told == names

    @pytest.mark.parametrize(
        ("ids", "pattern"),
        [
            (Ids.PREFIXED, "file_[0-9a-f]{32}"),
            (Ids.UUID, "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
            (Ids.SHORT, "[0-9A-Za-z]{16}"),
        ],
    )
    def test_ids_look_as_configured(
        self, settings: EmulatorSettings, ids: Ids, pattern: str
    ) -> None:
        with Emulator(replace(settings, ids=ids)) as emulator:
            assert re.fullmatch(pattern, str(file_id(submit(emulator))))
            assert download(emulator, made(emulator)).ok


class TestRefusedSubmission:
    @pytest.mark.parametrize("name", KEYS)
    def test_missing_key_is_412(self, workspace: Emulator, name: str) -> None:
        response = post(workspace, body(), **{name: ""})
        assert name in refusal(response, 412)

    @pytest.mark.parametrize("name", KEYS)
    def test_wrong_key_is_401(self, workspace: Emulator, name: str) -> None:
        refusal(post(workspace, body(), **{name: "wrong"}), 401)

    @pytest.mark.parametrize(
        ("data", "named"),
        [
            (body() | {"designId": "invoice"}, "designId"),
            (body() | {"designId": None}, "designId"),
            (body() | {"designId": f"{{{INVOICE.id}}}"}, "designId"),
            (body() | {"version": "1"}, "version"),
            (body() | {"version": 1.5}, "version"),
            (body() | {"version": True}, "version"),
            ({"designId": INVOICE.id, "content": body()["content"]}, "version"),
            ({"designId": INVOICE.id, "version": 1}, "content"),
            (body() | {"content": []}, "content"),
            (with_content(fileName=""), "fileName"),
            (with_content(fileName=None), "fileName"),
            (with_content(fileName="a/b.pdf"), "fileName"),
            (with_content(fileName="a.pdf\n"), "fileName"),
            (with_content(params=None), "params"),
            (with_content(params=[1]), "params"),
            (with_content(params={"amount": None}), "amount"),
            (with_content(params={"items": [{"quantity": 1}, {"quantity": None}]}), "items.1"),
            ([body()], "object"),
        ],
    )
    def test_bad_field_is_400_and_named(self, emulator: Emulator, data: object, named: str) -> None:
        assert named in refusal(post(emulator, data), 400)
        assert emulator.files() == ()

    @pytest.mark.parametrize("name", ["a b.pdf", "été.pdf", "a(1).pdf"])
    def test_file_name_of_other_characters_is_400(self, workspace: Emulator, name: str) -> None:
        assert "fileName" in refusal(post(workspace, with_content(fileName=name)), 400)

    def test_all_mistakes_are_reported_at_once(self, emulator: Emulator) -> None:
        response = post(emulator, {"designId": "x", "version": "y", "content": {"fileName": "/"}})

        message = refusal(response, 400)
        assert isinstance(response.json()["message"], list)
        for field in ("designId", "version", "fileName", "params"):
            assert field in message

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"null",
            b"\xff\xfe",
        ],
    )
    def test_what_is_no_json_object_is_400(self, emulator: Emulator, data: bytes) -> None:
        refusal(post(emulator, data), 400)

    @pytest.mark.parametrize("nest", [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
    def test_params_nested_too_deeply_are_400(
        self, emulator: Emulator, nest: tuple[str, str]
    ) -> None:
        def nested(depth: int) -> bytes:
            value = nest[0] * depth + "1" + nest[1] * depth
            return json.dumps(body(deep="@")).replace('"@"', value).encode()

        assert "deep" in refusal(post(emulator, nested(3_000)), 400)
        assert post(emulator, nested(240)).status_code == 202
        assert made(emulator).sha256

    @pytest.mark.parametrize(
        "value", ["NaN", "1e999", "[" * 100_000 + "]" * 100_000, "1" * 5000, "'x'", "1,"]
    )
    def test_a_parameter_that_is_no_json_is_400(self, emulator: Emulator, value: str) -> None:
        data = json.dumps(body(x="HERE")).replace('"HERE"', value)
        assert "JSON" in refusal(post(emulator, data.encode()), 400)

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "", "application/json; charset=shift_jis"]
    )
    def test_other_content_type_is_400(self, emulator: Emulator, content_type: str) -> None:
        refusal(post(emulator, body(), **{"Content-Type": content_type}), 400)

    @pytest.mark.parametrize(
        "change", [{"designId": "00000000-0000-4000-8000-000000000000"}, {"version": 99}]
    )
    def test_unknown_design_or_version_is_404(
        self, emulator: Emulator, change: dict[str, object]
    ) -> None:
        refusal(post(emulator, body() | change), 404)

    def test_body_over_20_mb_is_413(self, workspace: Emulator) -> None:
        refusal(submit(workspace, notes="x" * 20 * 1024 * 1024), 413)

    def test_413_comes_before_the_body(self, emulator: Emulator) -> None:
        documented = {Contract.WORKSPACE: 20 * 1024 * 1024, Contract.CENTRAL: 50 * 1024 * 1024}
        largest = emulator.settings.limits.max_body_bytes
        assert largest == documented[emulator.settings.contract]
        length = largest + 1
        port = int(emulator.origin.rsplit(":", 1)[1])
        head = f"POST /v1/file/async/single HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    def test_413_is_heard_by_who_sends_the_body_all_the_same(self) -> None:
        head = b"POST /v1/file/async/single HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        with Emulator(replace(FAST, max_body_bytes=1000)) as emulator:
            port = int(emulator.origin.rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(head + b"x" * 9_000_000)
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    @pytest.mark.parametrize("length", ["-1", "x", "1e3"])
    def test_bad_content_length_is_400(self, emulator: Emulator, length: str) -> None:
        port = int(emulator.origin.rsplit(":", 1)[1])
        head = f"POST /v1/file/async/single HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")

    def test_chunked_body_is_411(self, emulator: Emulator) -> None:
        url = f"{emulator.url}/file/async/single"
        response = requests.post(url, data=iter([b"{}"]), headers=KEYS, timeout=10)
        refusal(response, 411)

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/file/async/single"), ("POST", "/file"), ("GET", "/../x")]
    )
    def test_unknown_path_is_404(self, emulator: Emulator, method: str, path: str) -> None:
        response = requests.request(method, emulator.url + path, headers=KEYS, timeout=10)
        refusal(response, 404)


class TestMultiple:
    def test_makes_a_file_for_each_content(self, emulator: Emulator) -> None:
        response = post(emulator, multiple("a.pdf", "b.pdf"), "async/multiple")

        assert response.status_code == 202
        answered = [(file["fileName"], file["fileId"]) for file in response.json()["files"]]
        assert answered == [(file.file_name, file.file_id) for file in emulator.files()]
        assert [name for name, _ in answered] == ["a.pdf", "b.pdf"]

    def test_answers_202_with_an_id_of_its_own(self, workspace: Emulator) -> None:
        answer = post(workspace, multiple("a.pdf", "b.pdf"), "async/multiple").json()

        assert answer.keys() == {"url", "fileId", "files"}
        assert answer["fileId"].startswith("batch_")
        assert all(file.keys() == {"fileName", "fileId"} for file in answer["files"])

    def test_its_url_gives_all_of_them(self, workspace: Emulator) -> None:
        url = post(workspace, multiple("a.pdf", "a.pdf"), "async/multiple").json()["url"]
        wait_until(lambda: all(file.sha256 for file in workspace.files()))

        response = requests.get(url, timeout=10)

        with ZipFile(BytesIO(response.content)) as archive:
            digests = [sha256(archive.read(name)).hexdigest() for name in archive.namelist()]
        assert digests == [file.sha256 for file in workspace.files()]

    def test_one_bad_content_refuses_the_request(self, emulator: Emulator) -> None:
        response = post(emulator, multiple("a.pdf", "/"), "async/multiple")
        assert "contents.1.fileName" in refusal(response, 400)
        assert emulator.files() == ()

    @pytest.mark.parametrize("contents", [None, {}, []])
    def test_contents_must_be_some(self, emulator: Emulator, contents: object) -> None:
        data = {"designId": INVOICE.id, "version": 1, "contents": contents}
        assert "contents" in refusal(post(emulator, data, "async/multiple"), 400)

    def test_contents_must_not_be_too_many(self, emulator: Emulator) -> None:
        data = multiple(*map(str, range(MAX_CONTENTS + 1)))
        assert "contents" in refusal(post(emulator, data, "async/multiple"), 400)


class TestDownload:
    def test_gives_the_bytes_that_were_made(self, emulator: Emulator) -> None:
        submit(emulator, "請求書.pdf")
        record = made(emulator)

        response = download(emulator, record)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/pdf"
        assert sha256(response.content).hexdigest() == record.sha256
        assert len(response.content) == record.size == int(response.headers["Content-Length"])
        assert emulator.files()[0].downloads == 1

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("invoice.pdf", "attachment; filename=\"invoice.pdf\"; filename*=UTF-8''invoice.pdf"),
            ("請-1.pdf", "attachment; filename=\"_-1.pdf\"; filename*=UTF-8''%E8%AB%8B-1.pdf"),
        ],
    )
    def test_names_the_file_for_every_client(
        self, emulator: Emulator, name: str, header: str
    ) -> None:
        submit(emulator, name)
        response = download(emulator, made(emulator))
        assert response.headers["Content-Disposition"] == header

    def test_url_of_the_202_needs_no_keys(self, workspace: Emulator) -> None:
        url = submit(workspace).json()["url"]
        record = made(workspace)

        assert sha256(requests.get(url, timeout=10).content).hexdigest() == record.sha256

    def test_head_has_the_length_and_sends_no_body(self, workspace: Emulator) -> None:
        url = urlsplit(submit(workspace).json()["url"])
        record = made(workspace)
        head = f"HEAD {url.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
            connection.sendall(head.encode())
            with connection.makefile("rb") as answer:
                lines = answer.read().split(b"\r\n")

        assert f"Content-Length: {record.size}".encode() in lines
        assert lines[-2:] == [b"", b""]

    def test_url_of_the_202_answers_as_the_download_does(self) -> None:
        with Emulator(replace(FAST, render_seconds=(60, 60), not_ready_status=425)) as emulator:
            url = submit(emulator).json()["url"]
            refusal(requests.get(url, timeout=10), 425)
            refusal(requests.get(url + "0", timeout=10), 404)
            refusal(requests.get(url.replace(INVOICE.id, REPORT.id), timeout=10), 404)

    def test_while_it_is_made_the_configured_answer(self, settings: EmulatorSettings) -> None:
        settings = replace(
            settings, render_seconds=(60, 60), not_ready_status=409, not_ready_message="soon"
        )
        with Emulator(settings) as emulator:
            submit(emulator)
            assert refusal(download(emulator, emulator.files()[0]), 409) == "soon"

    def test_unknown_file_or_path_has_the_configured_answer(
        self, settings: EmulatorSettings
    ) -> None:
        settings = replace(settings, unknown_status=400, unknown_message="none")
        with Emulator(settings) as emulator:
            submit(emulator)
            record = made(emulator)
            elsewhere = replace(record, uuid=record.file_id, request_id=record.file_id)

            assert refusal(download(emulator, replace(record, file_id="file_x")), 400) == "none"
            assert refusal(download(emulator, elsewhere), 400) == "none"

    def test_past_retention_the_configured_answer(self, settings: EmulatorSettings) -> None:
        settings = replace(
            settings, retention_seconds=0, expired_status=410, expired_message="over"
        )
        with Emulator(settings) as emulator:
            submit(emulator)
            assert refusal(download(emulator, made(emulator)), 410) == "over"

    @pytest.mark.parametrize(("keys", "status"), [({}, 412), (KEYS | {"AppKey": "x"}, 401)])
    def test_needs_the_keys(self, emulator: Emulator, keys: dict[str, str], status: int) -> None:
        submit(emulator)
        record = made(emulator)
        refusal(requests.get(download_url(emulator, record), headers=keys, timeout=10), status)
        assert emulator.files()[0].downloads == 0


class TestSync:
    def test_single_answers_with_the_pdf(self, emulator: Emulator) -> None:
        response = post(emulator, body("請求書.pdf"), "sync/single")

        [record] = emulator.files()
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/pdf"
        assert sha256(response.content).hexdigest() == record.sha256
        assert record.downloads == 0
        assert download(emulator, record).content == response.content

    def test_multiple_answers_with_a_zip(self, emulator: Emulator) -> None:
        response = post(emulator, multiple("a.pdf", "請求書.pdf"), "sync/multiple")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/zip"
        with ZipFile(BytesIO(response.content)) as archive:
            assert archive.namelist() == ["a.pdf", "請求書.pdf"]
            digests = [sha256(archive.read(name)).hexdigest() for name in archive.namelist()]
        assert digests == [file.sha256 for file in emulator.files()]

    def test_headers_lead_to_the_files(self, workspace: Emulator) -> None:
        one = post(workspace, body(), "sync/single")
        assert one.headers["File-ID"] == workspace.files()[0].file_id
        assert requests.get(one.headers["File-URL"], timeout=10).content == one.content

        several = post(workspace, multiple("a.pdf", "請求書.pdf"), "sync/multiple")
        assert json.loads(several.headers["X-File-Mapping"]) == [
            {"fileName": file.file_name, "fileId": file.file_id} for file in workspace.files()[1:]
        ]

    def test_bad_field_is_400_and_named(self, emulator: Emulator) -> None:
        assert "fileName" in refusal(post(emulator, with_content(fileName="/"), "sync/single"), 400)

    def test_a_pdf_that_takes_too_long_is_504(self, settings: EmulatorSettings) -> None:
        slow = replace(settings, render_seconds=(0.3, 0.3), sync_timeout_seconds=0.05)
        with Emulator(slow) as emulator:
            refusal(post(emulator, body(), "sync/single"), 504)
            assert made(emulator).sha256

    def test_documented_time(self) -> None:
        assert [each.limits.sync_timeout_seconds for each in BOTH] == [30, 120]


class TestDesignParameters:
    def get(
        self, emulator: Emulator, path: str, keys: dict[str, str] | None = None
    ) -> requests.Response:
        url = f"{emulator.url}/file/design/parameter/{path}"
        return requests.get(url, headers=KEYS if keys is None else keys, timeout=10)

    @pytest.mark.parametrize("design", CATALOG, ids=lambda design: design.label)
    def test_describe_each_version(self, emulator: Emulator, design: Design) -> None:
        for number, version in design.versions.items():
            answer = self.get(emulator, f"{design.id.upper()}?version={number}")
            assert (answer.status_code, answer.json()) == (200, version.parameters)

    def test_without_a_version_describe_the_newest(self, settings: EmulatorSettings) -> None:
        first, second = INVOICE.versions[1], REPORT.versions[1]
        design = replace(INVOICE, versions={1: first, 2: second})
        with Emulator(settings, designs=[design]) as emulator:
            assert self.get(emulator, design.id).json() == second.parameters

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("invoice?version=1", 400),
            (f"{INVOICE.id}?version=one", 400),
            (f"{INVOICE.id}?version=99", 404),
            ("00000000-0000-4000-8000-000000000000?version=1", 404),
        ],
    )
    def test_errors(self, emulator: Emulator, path: str, status: int) -> None:
        refusal(self.get(emulator, path), status)

    def test_needs_the_keys(self, emulator: Emulator) -> None:
        refusal(self.get(emulator, INVOICE.id, {}), 412)


def test_unknown_path_of_the_control_is_404(emulator: Emulator) -> None:
    refusal(requests.get(f"{emulator.origin}/_emulator/other", timeout=10), 404)
