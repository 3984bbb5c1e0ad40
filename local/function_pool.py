"""The processes of one function: started on demand, reused while warm, replaced when dead."""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from local import packages
from local.backend import Backend
from local.deployment import Function
from local.lambda_process import FailureKind, FunctionProcess, InvocationFailed, NotTakenError
from local.runtime_api import MAX_PAYLOAD_BYTES

logger = logging.getLogger(__name__)


class FunctionPool:
    """Runs a function, in as many processes as there are invocations at a time.

    Safe to use from many threads.
    """

    def __init__(
        self,
        function: Function,
        backend: Backend,
        *,
        work_dir: Path,
        max_processes: int,
    ) -> None:
        """Unpacks what the function needs; starts no process yet.

        The processes' output is appended to `work_dir/<function name>.log`. Above `max_processes`
        invocations at a time, the others wait.

        Raises:
            PackageError: the runtime client or a layer cannot be installed.
        """
        work_dir.mkdir(parents=True, exist_ok=True)
        self.function = function
        self.log_path = work_dir / f"{function.name}.log"
        self._arn = f"arn:aws:lambda:{backend.region}:{backend.account}:function:{function.name}"
        self._search_path = packages.search_path(function)
        self._environment = _environment(function, self._search_path, backend)
        self._max_processes = max_processes
        self._turns = threading.BoundedSemaphore(max_processes)
        self._lock = threading.Lock()
        self._idle: list[FunctionProcess] = []
        self._processes: set[FunctionProcess] = set()
        self._outdated: set[FunctionProcess] = set()
        self._closed = False

    def warm_up(self) -> None:
        """Starts a process, so that a function that cannot be imported fails at once.

        Raises:
            InvocationFailed: its init phase failed.
        """
        with self._turns:
            self._release(self._acquire())

    def configure(self, environment: Mapping[str, str]) -> None:
        """Sets variables, as a deployment does, for invocations that begin from now on."""
        with self._lock:
            self._environment = {**self._environment, **environment}
            self._outdated |= self._processes
            idle, self._idle = self._idle, []
        for process in idle:
            self._release(process)

    def invoke(self, payload: bytes) -> bytes:
        """Runs the function on a JSON event and returns its JSON response.

        A process that died before it took the event is replaced.

        Raises:
            InvocationFailed: the function answered with an error, or not at all.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            problem = f"Request must be smaller than {MAX_PAYLOAD_BYTES} bytes"
            raise InvocationFailed(FailureKind.PAYLOAD, problem)
        with self._turns:
            # Every warm process may have died, and the new one with it.
            for _ in range(self._max_processes + 1):
                process = self._acquire()
                try:
                    return process.invoke(payload)
                except NotTakenError:
                    logger.info("%s: process %s was gone", self.function.name, process.pid)
                finally:
                    self._release(process)
        raise InvocationFailed(FailureKind.EXIT, f"No process is alive; see {self.log_path}")

    def pids(self) -> tuple[int, ...]:
        """The process ids of the function's live processes."""
        with self._lock:
            return tuple(process.pid for process in self._processes if process.is_alive())

    def close(self) -> None:
        """Ends all processes. Invocations in flight fail."""
        with self._lock:
            self._closed = True
            processes = tuple(self._processes)
        for process in processes:
            process.kill()
        for _ in range(self._max_processes):
            self._turns.acquire()
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()
        self._turns.release(self._max_processes)

    def _acquire(self) -> FunctionProcess:
        with self._lock:
            if self._closed:
                raise InvocationFailed(FailureKind.EXIT, f"{self.function.name} is shut down")
            if self._idle:
                return self._idle.pop()
            process = FunctionProcess(
                self.function, self._arn, self._environment, self._search_path, self.log_path
            )
            self._processes.add(process)
        try:
            process.initialize()
        except BaseException:
            self._release(process)
            raise
        return process

    def _release(self, process: FunctionProcess) -> None:
        with self._lock:
            if process.is_usable and process not in self._outdated:
                self._idle.append(process)
                return
            self._processes.discard(process)
            self._outdated.discard(process)
        process.close()


def _environment(
    function: Function, search_path: tuple[Path, ...], backend: Backend
) -> Mapping[str, str]:
    """Lambda's own variables, the template's, and those that direct the SDK to the emulated AWS."""
    return {
        "AWS_SESSION_TOKEN": "local",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "LAMBDA_TASK_ROOT": str(search_path[0]),
        "LAMBDA_RUNTIME_DIR": str(search_path[-1]),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": ":UTC",
        "_HANDLER": function.handler,
        # Lambda's functions have no home folder. The developer's has .aws and .netrc.
        "HOME": "/nonexistent",
        **backend.environment,
        # On AWS each function has its own role's keys.
        "AWS_ACCESS_KEY_ID": function.name,
        **function.environment,
    }
