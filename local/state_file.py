"""The file that says how to reach the running system; one process owns it at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from local.system import State


class StateFileTaken(RuntimeError):
    """Another process runs a system with this state file."""


class StateFile:
    """Writes the file whole each time, and removes no file but the one that it wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: str | None = None

    def write(self, state: State) -> None:
        """Put the file in place, for its owner only."""
        state.write(self._path)
        self._written = self._path.read_text()

    def remove(self) -> None:
        """Remove the file, unless somebody else has put another in its place."""
        with suppress(OSError, ValueError):
            # Not by its inode: the next file may get the same.
            if self._written is not None and self._path.read_text() == self._written:
                self._path.unlink()


@contextmanager
def owned(path: Path) -> Iterator[StateFile]:
    """Own the state file, and remove it on leaving. A stale one of a killed process goes at once.

    A lock on a file beside it says whose it is. The system frees the lock of a process that dies.

    Raises:
        StateFileTaken: another process owns it; its file stays as it is.
    """
    beside = path.with_name(f".{path.name}.lock")
    with _locked(beside, path) as lock:
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
            beside.unlink(missing_ok=True)


@contextmanager
def _locked(beside: Path, path: Path) -> Iterator[IO[str]]:
    while True:
        with beside.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise StateFileTaken(_taken(path, lock.read())) from None
            # The process that owned it before may have removed the file after it was opened here.
            if _identity(beside) == _identity(lock.fileno()):
                yield lock
                return


def _taken(path: Path, owner: str) -> str:
    try:
        about = json.loads(owner)
        who = f"process {about['pid']}, which was started at {about['started']},"
    except (ValueError, TypeError, KeyError):
        # The owner has the lock, and has not written who it is yet.
        who = "another process, which is just starting,"
    return (
        f"{path}: {who} runs a system with this state file. Stop it, or name another file with "
        "--state."
    )


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  (a path or a descriptor)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
