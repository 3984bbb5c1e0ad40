"""The file with the addresses of the running system. One process owns it at a time."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from local.system import State

STOP_SECONDS: Final = 60.0
"""For the system to end in order; then its process is killed."""

_POLL_SECONDS = 0.1


class StateFileError(RuntimeError):
    """The file cannot be used: another system has it, or it is not a state file."""


class StateFile:
    """Writes the file whole each time, and removes only the file that it wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: str | None = None

    def write(self, state: State) -> None:
        """Put the file in place, for its owner only."""
        state.write(self._path)
        self._written = self._path.read_text()

    def remove(self) -> None:
        """Remove the file, unless another one has been put in its place."""
        with suppress(OSError, ValueError):
            # Not by its inode: the next file may get the same.
            if self._written is not None and self._path.read_text() == self._written:
                self._path.unlink()


@contextmanager
def owned(path: Path) -> Iterator[StateFile]:
    """Own the state file, and remove it on leaving. A killed process's file is removed at once.

    The owner has a lock on a file beside it. The kernel frees the lock of a process that dies.

    Raises:
        StateFileError: another process owns it, or it is another kind of file, which stays as it
            is; or its folder cannot be written.
    """
    read(path)
    with _locked(path) as lock:
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "started": started}))
        lock.flush()
        path.unlink(missing_ok=True)
        file = StateFile(path)
        try:
            yield file
        finally:
            file.remove()
            _lock_of(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any] | None:
    """The state in the file, or None if there is no file or an empty one.

    Raises:
        StateFileError: the file is of another kind, or cannot be read.
    """
    try:
        text = path.read_text()
        state = json.loads(text) if text else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(
            f"{path} cannot be read: {error.strerror}. Name a state file with --state."
        ) from error
    except ValueError:
        state = text
    if state is not None and not (isinstance(state, dict) and "aws_endpoint_url" in state):
        raise StateFileError(
            f"{path} is not a state file of the local system. Name another with --state."
        )
    return state


def owner(path: Path) -> int | None:
    """The process that runs a system with this state file, or None."""
    try:
        with _lock_of(path).open() as lock:
            while _is_locked(lock):
                lock.seek(0)
                # The owner has the lock first, and then writes who it is.
                with suppress(ValueError):
                    return int(json.loads(lock.read())["pid"])
                time.sleep(_POLL_SECONDS)
    except FileNotFoundError:
        pass
    return None


def stop(path: Path) -> bool:
    """End the system of the state file, and remove what a killed one left.

    Returns whether one was running. Its lock proves that the process is ours.

    Raises:
        StateFileError: it is another kind of file.
    """
    read(path)
    pid = owner(path)
    if pid is not None:
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while owner(path) == pid:
            if time.monotonic() > deadline:
                # The kernel then kills its child processes, too.
                _signal(pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
    if owner(path) is None:
        path.unlink(missing_ok=True)
        _lock_of(path).unlink(missing_ok=True)
    return pid is not None


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _is_locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    beside = _lock_of(path)
    while True:
        try:
            lock = beside.open("a+")
        except OSError as error:
            raise StateFileError(
                f"{path.parent.absolute()} cannot be written: {error.strerror}. Name a state file "
                "elsewhere with --state."
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StateFileError(_taken(path, lock.read())) from None
            # The process that owned it before may have removed the file after it was opened here.
            if _identity(beside) == _identity(lock.fileno()):
                yield lock
                return


def _taken(path: Path, text: str) -> str:
    try:
        about = json.loads(text)
        process = f"Process {about['pid']}, started at {about['started']},"
    except (ValueError, TypeError, KeyError):
        # The owner has the lock, and has not written who it is yet.
        process = "Another process, which is just starting,"
    return (
        f"{process} runs a system with the state file {path}. Stop it with "
        f"`reportflow local down --state {path}`, or name another file with --state."
    )


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  (a path or a descriptor)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
