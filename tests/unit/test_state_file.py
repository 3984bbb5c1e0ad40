import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import state_file
from local.paths import REPOSITORY
from local.state_file import StateFileError, owned, owner, stop
from local.system import State

STALE = '{"aws_endpoint_url": "http://127.0.0.1:9"}'
HOLD = f"""
import signal, sys
from pathlib import Path
from local.state_file import owned
if sys.argv[2:]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with owned(Path(sys.argv[1])):
    Path(sys.argv[1]).write_text({STALE!r})
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

        with pytest.raises(StateFileError, match=rf"Process {os.getpid()}.*--state"), owned(path):
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


@contextmanager
def holding(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the state file."""
    command = [sys.executable, "-c", HOLD, str(path), *options]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def test_a_killed_process_leaves_nothing_that_blocks(path: Path) -> None:
    with holding(path) as process:
        with pytest.raises(StateFileError, match=f"Process {process.pid}"), owned(path):
            pass
        assert path.read_text() == STALE
        assert owner(path) == process.pid
        process.kill()
        process.wait()

    assert owner(path) is None
    with owned(path):
        assert not path.exists()


@pytest.mark.parametrize("options", [(), ("deaf",)], ids=["in order", "by force"])
def test_stop_ends_the_owner(
    path: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_file, "STOP_SECONDS", 0.5)
    with holding(path, *options) as process:
        assert stop(path)
        assert process.wait(30) < 0
    assert list(path.parent.iterdir()) == []
    assert not stop(path)


def test_stop_removes_what_a_killed_owner_left(path: Path) -> None:
    with holding(path) as process:
        process.kill()
        process.wait()
    assert len(list(path.parent.iterdir())) == 2

    assert not stop(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", ["# Readme", "{}", "[]", '"aws_endpoint_url"', "\0"])
def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)

    with pytest.raises(StateFileError, match=r"not a state file.*--state"), owned(path):
        pass
    with pytest.raises(StateFileError, match="not a state file"):
        stop(path)

    assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_file_may_be_replaced(path: Path) -> None:
    path.touch()
    with owned(path) as file:
        file.write(state())
        assert json.loads(path.read_text())["pid"]


@pytest.mark.parametrize("place", ["", "state.json/state.json", "absent/state.json"])
def test_a_place_that_holds_no_file_is_named(path: Path, place: str) -> None:
    path.touch()
    with pytest.raises(StateFileError, match="cannot be"), owned(path.parent / place):
        pass
