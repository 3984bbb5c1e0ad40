import threading
from dataclasses import replace
from typing import Any

import pytest
import requests

from local.emulator import Emulator, EmulatorSettings
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


def test_a_port_that_is_taken_is_reported_and_leaves_no_threads() -> None:
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
