"""One process of a function, as Lambda runs it: init, then one invocation at a time."""

import json
import logging
import os
import secrets
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from local import child
from local.deployment import Function
from local.runtime_api import (
    INIT_ERROR,
    MAX_PAYLOAD_BYTES,
    ProcessEndedError,
    Request,
    RuntimeApi,
)

logger = logging.getLogger(__name__)

INIT_SECONDS = 60.0
"""Longer than Lambda's ten, for slow machines and those that emulate another processor."""

_BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")


class FailureKind(StrEnum):
    """Why an invocation failed."""

    INIT = "init"
    HANDLER = "handler"
    TIMEOUT = "timeout"
    EXIT = "exit"
    PAYLOAD = "payload"


class InvocationFailed(Exception):
    """The function gave no response: `kind` says why, `message` in Lambda's own words."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class NotTakenError(Exception):
    """The process died before it took the invocation. Another process can take it."""


class FunctionProcess:
    """One process of a function, from its init phase to its end.

    Use it from one thread at a time.
    """

    def __init__(
        self,
        function: Function,
        arn: str,
        environment: Mapping[str, str],
        search_path: tuple[Path, ...],
        log_path: Path,
    ) -> None:
        self._function = function
        self._arn = arn
        self._log_path = log_path
        self._api = RuntimeApi()
        self._ready = False
        own = {
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_LAMBDA_LOG_STREAM_NAME": (
                f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{secrets.token_hex(16)}"
            ),
        }
        folders = os.pathsep.join(str(folder) for folder in search_path)
        # The Python behind the virtual environment, which does not see its packages.
        python = str(Path(sys.executable).resolve())
        self._process = child.spawn(
            [python, "-I", "-S", str(_BOOTSTRAP), folders, function.name],
            {**environment, **own},
            search_path[0],
            log_path,
        )

    @property
    def pid(self) -> int:
        """The process id, also of a dead process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can take an invocation, as far as is known."""
        return self._ready

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def initialize(self) -> None:
        """Waits until the handler is imported and the process asks for its first invocation.

        Raises:
            InvocationFailed: it failed before that.
        """
        try:
            request = self._api.receive(time.monotonic() + INIT_SECONDS, self.is_alive)
        except TimeoutError:
            problem = f"Init did not end in {INIT_SECONDS:.0f} seconds"
            raise InvocationFailed(FailureKind.INIT, f"{problem}; see {self._log_path}") from None
        except ProcessEndedError:
            problem = f"{self._exit()} during init; see {self._log_path}"
            raise InvocationFailed(FailureKind.INIT, problem) from None
        if request.path == INIT_ERROR:
            self._api.answer(202, {}, b"", INIT_SECONDS)
            raise InvocationFailed(FailureKind.INIT, _error_message(request))
        self._ready = True

    def invoke(self, payload: bytes) -> bytes:
        """Sends the event and waits for the response.

        Raises:
            InvocationFailed: the function answered with an error, or not at all.
            NotTakenError: the process died before it took the event.
        """
        request_id = str(uuid.uuid4())
        outcome = self._outcome(payload, request_id)
        if outcome.body is None:
            problem = f"Response payload size exceeded {MAX_PAYLOAD_BYTES} bytes"
            raise InvocationFailed(FailureKind.PAYLOAD, problem)
        with suppress(ProcessEndedError, TimeoutError):
            self._api.answer(202, {}, b"", self._function.timeout_seconds)
            self._ready = True
        if outcome.path.endswith("/error"):
            raise InvocationFailed(FailureKind.HANDLER, _error_message(outcome))
        return outcome.body

    def _outcome(self, payload: bytes, request_id: str) -> Request:
        timeout = self._function.timeout_seconds
        self._ready = False
        try:
            if not self._api.is_asking():
                self._api.receive(time.monotonic() + timeout, self.is_alive)
        except (ProcessEndedError, TimeoutError):
            raise NotTakenError from None
        deadline = time.monotonic() + timeout
        try:
            self._api.answer(200, self._headers(request_id), payload, timeout)
            return self._api.receive(deadline, self.is_alive)
        except TimeoutError:
            problem = f"RequestId: {request_id} Task timed out after {timeout:.2f} seconds"
            raise InvocationFailed(FailureKind.TIMEOUT, problem) from None
        except ProcessEndedError:
            if self._api.cut_off:
                raise NotTakenError from None
            problem = f"RequestId: {request_id} Error: {self._exit()}"
            raise InvocationFailed(FailureKind.EXIT, problem) from None

    def _headers(self, request_id: str) -> Mapping[str, str]:
        trace = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        deadline = time.time() + self._function.timeout_seconds
        return {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._arn,
            "Lambda-Runtime-Trace-Id": f"{trace};Parent={secrets.token_hex(8)};Sampled=0",
        }

    def kill(self) -> None:
        """Ends the process, as Lambda does: at once."""
        child.stop(self._process, grace_seconds=0)

    def close(self) -> None:
        """Ends the process and closes its connections."""
        self.kill()
        self._api.close()

    def _exit(self) -> str:
        return f"Runtime exited with status {self._process.wait()}"


def _error_message(request: Request) -> str:
    error = json.loads(request.body or b"{}")
    return f"{error.get('errorType')}: {error.get('errorMessage')}"
