"""A function's process as Lambda runs it, under whatever program counts or limits it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from local.runtime_api import INIT_ERROR, RuntimeApi

BOOTSTRAP: Final = Path(__file__).parents[1] / "local" / "lambda_bootstrap.py"
PYTHON: Final = Path(sys.executable).resolve()
ANSWER_SECONDS: Final = 300.0
"""A process that counts its instructions takes fifty times as long."""


class FunctionProcess:
    """One process of a function, from its start; `ready` says when its import has ended."""

    def __init__(
        self, path: Sequence[Path], environment: Mapping[str, str], prefix: Sequence[str] = ()
    ) -> None:
        """`prefix` is a program and its options, which is to run Python."""
        self._api = RuntimeApi()
        self._log = TemporaryFile()  # noqa: SIM115  (as long as the process)
        folders = os.pathsep.join(str(folder) for folder in path)
        self._process = subprocess.Popen(
            [*prefix, str(PYTHON), "-I", "-S", str(BOOTSTRAP), folders, "benchmark"],
            env={
                "PATH": os.environ["PATH"],
                "LANG": "en_US.UTF-8",
                "PYTHONHASHSEED": "0",
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
                "LAMBDA_TASK_ROOT": str(path[0]),
                "_HANDLER": "handler.handler",
                **environment,
            },
            cwd=path[0],
            stdout=self._log,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._api.close()

    def ready(self) -> None:
        """Wait until the process asks for its first event."""
        request = self._receive()
        if request.path == INIT_ERROR:
            raise RuntimeError(f"the import failed: {request.body!r}")

    def invoke(self, event: object, timeout_seconds: float = ANSWER_SECONDS) -> Any:  # noqa: ANN401  (JSON)
        """Have the function handle one event, and return its response."""
        headers = {
            "Lambda-Runtime-Aws-Request-Id": str(uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout_seconds) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:benchmark",
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{'0' * 24};Sampled=0",
        }
        self._api.answer(200, headers, json.dumps(event).encode(), ANSWER_SECONDS)
        answer = self._receive()
        self._api.answer(202, {}, b"", ANSWER_SECONDS)
        self._receive()
        response: Any = json.loads(answer.body or b"null")
        if answer.path.endswith("/error"):
            raise RuntimeError(f"the function failed: {response}")
        return response

    def processor_seconds(self) -> float:
        """What all threads of the process have used so far."""
        # Linux's clock of another process, as clock_getcpuclockid(3) names it.
        return time.clock_gettime((~self._process.pid << 3) | 2)

    def log_bytes(self) -> int:
        """What the function has logged."""
        return os.fstat(self._log.fileno()).st_size

    def resident_bytes(self) -> int:
        """The memory that the process occupies."""
        return self._memory("VmRSS")

    def peak_bytes(self) -> int:
        """The most memory that it has occupied."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (kilobytes,) = re.findall(rf"{name}:\s+(\d+) kB", status)
        return int(kilobytes) * 1024

    def instructions(self) -> int:
        """End the process, and return what the valgrind that ran it has counted."""
        self._process.send_signal(signal.SIGTERM)
        _, said = self._process.communicate(timeout=ANSWER_SECONDS)
        (count,) = re.findall(r"I\s+refs:\s+([\d,]+)", said.decode(errors="replace"))
        return int(str(count).replace(",", ""))

    def _receive(self) -> Any:  # noqa: ANN401  (the request of the Runtime API)
        deadline = time.monotonic() + ANSWER_SECONDS
        return self._api.receive(deadline, lambda: self._process.poll() is None)
