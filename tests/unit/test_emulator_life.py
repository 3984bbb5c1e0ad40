import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest
import requests

from local.emulator import Emulator, EmulatorSettings
from local.emulator.designs import INVOICE
from tests.unit.emulator_client import FAST, KEYS, body


def test_close_ends_threads_and_connections() -> None:
    before = set(threading.enumerate())
    with requests.Session() as session:
        with Emulator(replace(FAST, render_seconds=(60, 60))) as emulator:
            url = f"{emulator.url}/file/async/single"
            assert session.post(url, json=body(), headers=KEYS, timeout=10).ok
            assert set(threading.enumerate()) > before

        assert set(threading.enumerate()) == before
        with pytest.raises(requests.ConnectionError):
            session.post(url, json=body(), headers=KEYS, timeout=10)


def test_a_port_that_is_taken_is_told_and_leaves_no_threads() -> None:
    with Emulator(FAST) as emulator:
        before = set(threading.enumerate())
        port = int(emulator.origin.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            Emulator(FAST, port=port)
        assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    "bad",
    [
        {"render_seconds": (2, 1)},
        {"not_ready_status": 200},
        {"unknown_status": 200},
        {"expired_status": 200},
        {"accepted_status": 204},
        {"requests_per_minute": 0},
        {"sync_requests_per_minute": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        EmulatorSettings(**bad)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_alone_it_serves_until_a_signal(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "local.emulator", "--app-key", "mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            headers = KEYS | {"AppKey": "mine"}
            path = f"{url}/file/design/parameter/{INVOICE.id}"
            assert requests.get(path, headers=headers, timeout=10).ok
            os.kill(process.pid, number)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_the_command_serves_central() -> None:
    command = [sys.executable, "-m", "local.emulator", "--contract", "central"]
    command += ["--client-id", "me", "--client-secret", "mine", "--token-path", "/token"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            form = {"grant_type": "client_credentials"}
            token_url = url.replace("/v1", "/token")
            answer = requests.post(token_url, data=form, auth=("me", "mine"), timeout=10).json()
            headers = {"Authorization": f"Bearer {answer['access_token']}"}
            assert requests.get(f"{url}/file/designs", headers=headers, timeout=10).ok
        finally:
            process.terminate()
