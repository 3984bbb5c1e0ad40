import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from local import child
from local.paths import REPOSITORY
from tests.unit.small_functions import wait_until

SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER


def spawn_python(source: str, folder: Path) -> subprocess.Popen[bytes]:
    """Starts Python code and returns when it has printed something."""
    log = folder / "log"
    process = child.spawn([sys.executable, "-I", "-c", source], {}, folder, log)
    wait_until(log.read_bytes)
    return process


def is_running(pid: int) -> bool:
    """Whether the process runs; one that has ended and not been waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_child_sees_its_environment_and_folder_only_and_logs_both_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "1")
    source = "import os, sys; print(os.getcwd(), sorted(os.environ)); print('bad', file=sys.stderr)"
    log = tmp_path / "log"
    process = child.spawn([sys.executable, "-c", source], {"MINE": "1"}, tmp_path, log)
    assert process.wait() == 0
    assert str(tmp_path) in log.read_text()
    assert "MINE" in log.read_text()
    assert "SECRET_OF_THE_PARENT" not in log.read_text()
    assert "bad" in log.read_text()


def test_a_missing_program_is_named_in_the_log(tmp_path: Path) -> None:
    process = child.spawn(["/no/such/program"], {}, tmp_path, tmp_path / "log")
    assert process.wait() != 0
    assert "/no/such/program" in (tmp_path / "log").read_text()


def test_a_missing_folder_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        child.spawn([sys.executable], {}, tmp_path / "none", tmp_path / "log")


def test_stopping_lets_a_child_end_by_itself(tmp_path: Path) -> None:
    process = spawn_python(
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); " + SLEEPER,
        tmp_path,
    )
    child.stop(process, grace_seconds=10)
    assert process.returncode == 7


def test_stopping_kills_a_child_that_ignores_the_request(tmp_path: Path) -> None:
    process = spawn_python(DEAF, tmp_path)
    child.stop(process, grace_seconds=0.1)
    assert process.returncode == -signal.SIGKILL


def test_stopping_reaches_the_childs_own_children(tmp_path: Path) -> None:
    process = spawn_python(
        "import subprocess, sys, time; "
        f"grandchild = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=-3); "
        "print(grandchild.pid, flush=True); time.sleep(60)",
        tmp_path,
    )
    grandchild = int((tmp_path / "log").read_text())
    child.stop(process, grace_seconds=0.1)
    wait_until(lambda: not is_running(grandchild))


def test_stopping_twice_is_no_error(tmp_path: Path) -> None:
    process = spawn_python(SLEEPER, tmp_path)
    child.stop(process)
    child.stop(process)


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: started.append(spawn_python(SLEEPER, tmp_path)))
    thread.start()
    thread.join()
    with pytest.raises(subprocess.TimeoutExpired):
        started[0].wait(0.3)
    child.stop(started[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the death signal")
def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    source = dedent(f"""
        import sys
        from pathlib import Path

        from local import child

        folder = Path({str(tmp_path)!r})
        command = [sys.executable, "-I", "-c", {DEAF!r}]
        process = child.spawn(command, {{}}, folder, folder / "log")
        print(process.pid, flush=True)
        process.wait()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", source], cwd=REPOSITORY, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until((tmp_path / "log").read_bytes)
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid))
