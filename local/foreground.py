"""Runs the system until a signal, with its state in a file."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

from local import system
from local.assembly import SynthesisError
from local.backend import BackendError
from local.executor import ExecutionError
from local.lambda_process import InvocationFailed
from local.packages import PackageError
from local.rotation import following
from local.state_file import StateFile, StateFileError, owned

START_ERRORS: Final = (
    SynthesisError,
    BackendError,
    ExecutionError,
    PackageError,
    InvocationFailed,
    system.StartError,
    StateFileError,
)
"""Why a system does not start; each message says what to do."""


def run_until_signal(
    options: system.Options,
    state: Path,
    report: Callable[[str], None],
    ready: Callable[[system.System], None],
) -> None:
    """Run a system until SIGINT or SIGTERM, and stop all of it.

    `report` gets each step of the start. `ready` is called when the state file is there.

    Raises:
        START_ERRORS: the system does not start.
    """
    try:
        with (
            interrupted_by_signals(),
            owned(state) as file,
            system.run(options, report) as running,
            _following(running, file, report),
        ):
            try:
                ready(running)
                threading.Event().wait()
            finally:
                file.remove()
    except KeyboardInterrupt:
        report("Stopped.")


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and ignore further ones."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _following(
    running: system.System, file: StateFile, report: Callable[[str], None]
) -> Iterator[None]:
    """Write the state file. After a rotation, give it and the emulator the new webhook URL."""

    def use(url: str) -> None:
        if running.emulator is not None:
            running.emulator.webhook_url = url
        file.write(replace(running.state, webhook_url=url))
        report("The webhook's token was rotated: the new URL is in use.")

    state = running.state
    file.write(state)
    with following(running.backend, state.secret_arn, state.webhook_url, use):
        yield
