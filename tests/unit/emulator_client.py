"""What the emulator's tests share: a client of its API, and a receiver of its webhook."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import Any

import pypdfium2
import requests
from pypdfium2 import raw

from local.emulator import UNLIMITED, Contract, Emulator, EmulatorSettings
from local.emulator.designs import INVOICE
from local.emulator.files import FileRecord

FAST = EmulatorSettings(render_seconds=(0, 0), webhook_backoff_seconds=0.02)
CENTRAL = replace(
    FAST,
    contract=Contract.CENTRAL,
    requests_per_minute=UNLIMITED,
    sync_requests_per_minute=UNLIMITED,
)
BOTH = (FAST, CENTRAL)
# `central` takes the first and ignores the second.
KEYS = {"AppKey": FAST.app_key, "SecretKey": FAST.secret_key}
PARAMS = {"customerName": "John Doe", "invoiceNumber": "INV-2024-001", "amount": 10000}


def body(file_name: str = "invoice.pdf", **params: object) -> dict[str, Any]:
    return {
        "designId": INVOICE.id,
        "version": 1,
        "content": {"fileName": file_name, "params": {**PARAMS, **params}},
    }


def submit(
    emulator: Emulator, file_name: str = "invoice.pdf", **params: object
) -> requests.Response:
    url = f"{emulator.url}/file/async/single"
    return requests.post(url, json=body(file_name, **params), headers=KEYS, timeout=10)


def multiple(*names: str) -> dict[str, Any]:
    contents = [body(name)["content"] for name in names]
    return {"designId": INVOICE.id, "version": 1, "contents": contents}


def download_url(emulator: Emulator, record: FileRecord) -> str:
    central = emulator.settings.contract is Contract.CENTRAL
    download_id = record.request_id if central else record.uuid
    return f"{emulator.url}/file/download/{download_id}/{record.file_id}"


def download(emulator: Emulator, record: FileRecord) -> requests.Response:
    return requests.get(download_url(emulator, record), headers=KEYS, timeout=10)


def post(
    emulator: Emulator, data: object, path: str = "async/single", **headers: str
) -> requests.Response:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = {"Content-Type": "application/json", **KEYS, **headers}
    return requests.post(f"{emulator.url}/file/{path}", data=text, headers=headers, timeout=10)


def refusal(response: requests.Response, status: int) -> str:
    """Check that the answer is an error in the service's form, and give its message."""
    assert response.status_code == status, response.text
    error = response.json()
    assert error.keys() == {"statusCode", "message", "error"}
    assert error["statusCode"] == status
    assert error["error"]
    message = error["message"]
    assert message
    return message if isinstance(message, str) else "\n".join(message)


def with_content(**changes: object) -> dict[str, Any]:
    data = body()
    data["content"] = {**data["content"], **changes}
    return data


def information(pdf: bytes, name: str) -> str:
    """An entry of the document's information dictionary, as a reader shows it."""
    with pypdfium2.PdfDocument(pdf) as document:
        size = raw.FPDF_GetMetaText(document, name.encode(), None, 0)
        buffer = (raw.c_char * size)()
        raw.FPDF_GetMetaText(document, name.encode(), buffer, size)
    return bytes(buffer).decode("utf-16-le").rstrip("\0")


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "It did not happen in time"
        sleep(0.005)


def made(emulator: Emulator) -> FileRecord:
    """The only file, once it is made."""
    wait_until(lambda: emulator.files()[0].sha256)
    [record] = emulator.files()
    return record


class Receiver:
    """Hears webhooks; answers with `statuses` in turn, then with 200, while `lock` is free."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.events: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.called = Event()
        self.lock = Lock()
        self.url = ""

    def names(self) -> list[str]:
        with self.lock:
            return [file["fileName"] for event in self.events for file in event["files"]]


@contextmanager
def receiver() -> Iterator[Receiver]:
    heard = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.called.set()
            with heard.lock:
                heard.events.append(event)
                heard.content_types.append(self.headers["Content-Type"])
                status = heard.statuses.pop(0) if heard.statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    heard.url = f"http://127.0.0.1:{server.server_port}/webhooks/token"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
