"""What the emulator's tests share: a client of its API, and a receiver of its webhook."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import Any

import pypdfium2
import requests
from pypdfium2 import raw

from local.emulator import Emulator, EmulatorSettings
from local.emulator.designs import INVOICE
from local.emulator.files import FileRecord

FAST = EmulatorSettings(render_seconds=(0, 0), webhook_backoff_seconds=0.02)
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


def download(emulator: Emulator, record: FileRecord) -> requests.Response:
    url = f"{emulator.url}/file/download/{record.uuid}/{record.file_id}"
    return requests.get(url, headers=KEYS, timeout=10)


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
