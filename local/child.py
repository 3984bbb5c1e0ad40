"""Child processes that end when this process ends, even if it is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue

type _Start = Callable[[], subprocess.Popen[bytes]]


def spawn(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, log_path: Path
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own. Any thread may call it.

    Its environment is `env` only. Its output is appended to `log_path`. If the program cannot be
    executed, the process ends with status 1 and writes the reason into its log.

    Raises:
        OSError: `cwd` or the log file's folder does not exist.
    """
    command = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("die_with_parent.py")),
        str(os.getpid()),
        *argv,
    ]

    def start() -> subprocess.Popen[bytes]:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    started: Future[subprocess.Popen[bytes]] = Future()
    _starter().put((start, started))
    return started.result()


def stop(process: subprocess.Popen[bytes], grace_seconds: float = 5.0) -> None:
    """Ends the process and its group: by SIGTERM, and after the grace time by SIGKILL."""
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace_seconds)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@cache
def _starter() -> SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]]:
    """The queue of the one thread that starts all children.

    The kernel sends the death signal when the *thread* that forked ends. So one thread forks all
    children, and it lives as long as the process.
    """
    requests: SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = SimpleQueue()

    def serve() -> None:
        while True:
            start, started = requests.get()
            try:
                started.set_result(start())
            except OSError as error:
                started.set_exception(error)

    threading.Thread(target=serve, name="child-starter", daemon=True).start()
    return requests
