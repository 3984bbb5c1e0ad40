import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.paths import REPOSITORY
from local.state_file import StateFileTaken, owned
from local.system import State

HOLD = """
import sys, time
from pathlib import Path
from local.state_file import owned
with owned(Path(sys.argv[1])):
    Path(sys.argv[1]).write_text("stale")
    print("owned", flush=True)
    sys.stdin.read()
"""


def state(webhook_url: str = "http://front/webhooks/token") -> State:
    texts = {name: name for name in State.__dataclass_fields__}
    return State(**{**texts, "payload_buckets": (), "webhook_url": webhook_url})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_it_is_there_while_it_is_owned(path: Path) -> None:
    with owned(path) as file:
        assert not path.exists()
        file.write(state())
        file.write(state("http://front/webhooks/new"))
        assert json.loads(path.read_text())["webhook_url"] == "http://front/webhooks/new"
        assert path.stat().st_mode & 0o777 == 0o600

    assert list(path.parent.iterdir()) == []


def test_a_second_owner_is_refused_and_hears_of_the_first(path: Path) -> None:
    with owned(path) as file:
        file.write(state())
        before = path.read_text()

        with pytest.raises(StateFileTaken, match=rf"process {os.getpid()}.*--state"), owned(path):
            pass
        assert path.read_text() == before

    with owned(path):
        pass


def test_a_file_that_somebody_else_put_there_stays(path: Path) -> None:
    with owned(path) as file:
        file.write(state())
        path.unlink()
        path.write_text("another's")

    assert path.read_text() == "another's"


def test_a_killed_process_leaves_nothing_that_blocks(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        with pytest.raises(StateFileTaken, match=f"process {process.pid}"), owned(path):
            pass
        assert path.read_text() == "stale"
        process.send_signal(signal.SIGKILL)
        process.wait()

    with owned(path):
        assert not path.exists()
