"""The site of `make site`, as a reader sees it: in a real browser, on a phone."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, override

import pytest

from local.paths import REPOSITORY

SITE = REPOSITORY / ".build/site"
READER = Path(__file__).parent / "reader.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MERMAID = "https://unpkg.com/mermaid@"
"""Draws the state diagram; the site's generator loads it from there."""

SEARCH = "dead letter"
REPORT_SECONDS = 120

pytestmark = pytest.mark.slow


class Server(SimpleHTTPRequestHandler):
    """Serves the site with the page that reads it, and takes that page's report."""

    def __init__(self, reports: Queue[Any], *arguments: Any, **options: Any) -> None:
        self._reports = reports
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self._reports.put(json.loads(body))

    @override
    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the tests report what matters."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as README says."""
    command = ["/usr/bin/env", "make", "--silent", "--old-file=.venv/synced", "site"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(SITE, folder, dirs_exist_ok=True)
    shutil.copy(READER, folder)
    return folder


@pytest.fixture(scope="module")
def report(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a browser finds on the pages."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"there is no browser on this machine: {', '.join(BROWSERS)}")
    reports: Queue[Any] = Queue()
    handler = partial(Server, reports, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        command = [
            browser,
            "--headless",
            # A container's root has no namespaces for a sandbox; the pages are our own.
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
            "--remote-debugging-port=0",
            f"http://127.0.0.1:{server.server_port}/{READER.name}",
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
            try:
                yield reports.get(timeout=REPORT_SECONDS)
            finally:
                running.terminate()
                running.wait()
        server.shutdown()


def test_every_page_fits_a_phone(site: Path, report: dict[str, Any]) -> None:
    pages = {page.name for page in site.glob("*.html")} - {READER.name, "404.html"}
    assert report["overflows"] == dict.fromkeys(pages, 0)


def test_a_page_asks_no_other_host_except_for_its_diagram(report: dict[str, Any]) -> None:
    assert [url for url in report["elsewhere"] if not url.startswith(MERMAID)] == []


def test_the_search_finds_pages_about_dead_letters(report: dict[str, Any]) -> None:
    assert report["found"]
    assert all(SEARCH in text.lower() for text in report["found"][:3])
