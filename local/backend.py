"""An emulated AWS on this machine: moto's server, or MiniStack, which checks more."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import boto3
import uv
from botocore.config import Config

from cli.isolation import isolated_session
from local import child
from local.paths import BUILD_CACHE, REPOSITORY

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

REGION = "ap-northeast-1"
ACCOUNT = "123456789012"
ADDRESS = "127.0.0.1"
START_SECONDS = 30.0

_MOTO_SERVER = Path(__file__).with_name("moto_server.py")
_MINISTACK_SERVER = Path(__file__).with_name("ministack_server.py")

MINISTACK_LOCK = REPOSITORY / "requirements" / "ministack.txt"


class BackendError(RuntimeError):
    """The emulated AWS could not be installed or started; the message has its last output."""


class BackendKind(StrEnum):
    """The programs that can emulate AWS."""

    MOTO = "moto"
    MINISTACK = "ministack"


class Backend:
    """A running emulated AWS, and the clients for it.

    Its clients ignore this machine's AWS settings, profiles and proxies, so they cannot reach a
    real account.
    """

    def __init__(self, kind: BackendKind, endpoint_url: str) -> None:
        self.kind = kind
        self.endpoint_url = endpoint_url
        self.region = REGION
        self.account = ACCOUNT
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that direct an AWS SDK in another process to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }

    @overload
    def client(self, service: Literal["cloudwatch"]) -> "CloudWatchClient": ...
    @overload
    def client(self, service: Literal["dynamodb"]) -> "DynamoDBClient": ...
    @overload
    def client(self, service: Literal["iam"]) -> "IAMClient": ...
    @overload
    def client(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def client(self, service: Literal["secretsmanager"]) -> "SecretsManagerClient": ...
    @overload
    def client(self, service: Literal["sns"]) -> "SNSClient": ...
    @overload
    def client(self, service: Literal["events"]) -> "EventBridgeClient": ...
    @overload
    def client(self, service: Literal["sqs"]) -> "SQSClient": ...
    @overload
    def client(self, service: Literal["kms", "logs"]) -> Any: ...  # noqa: ANN401  (no stubs are pinned)
    def client(self, service: str) -> Any:
        """The boto3 client of a service. All threads share it."""
        with self._lock:
            if service not in self._clients:
                session = boto3.Session(botocore_session=isolated_session(), region_name=REGION)
                self._clients[service] = session.client(
                    cast("Any", service),
                    endpoint_url=self.endpoint_url,
                    aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
                    config=Config(proxies={}, max_pool_connections=32),
                )
            return self._clients[service]

    def close(self) -> None:
        """Closes the clients' connections."""
        for client in self._clients.values():
            client.close()


@contextmanager
def run_backend(kind: BackendKind, folder: Path) -> Iterator[Backend]:
    """Starts an emulated AWS on a free port of 127.0.0.1 and stops it on leaving.

    `folder` gets its log and its files. It starts without resources, and keeps none.

    Raises:
        BackendError: it ended, or was not ready within `START_SECONDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    program = _PROGRAMS[kind](port, folder)
    log_path = folder / f"{kind}.log"
    own_folder = {"HOME": str(folder), "TMPDIR": str(folder), "PATH": os.defpath}
    process = child.spawn(program.argv, {**own_folder, **program.env}, folder, log_path)
    try:
        _wait_until_ready(process, kind, port, program.ready_path, log_path)
        backend = Backend(kind, f"http://{ADDRESS}:{port}")
        try:
            yield backend
        finally:
            backend.close()
    finally:
        # MiniStack ignores SIGTERM while a client has a connection. Neither program has data to
        # save.
        child.stop(process, grace_seconds=0.5)


@dataclass(frozen=True)
class _Program:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    ready_path: str


def _moto(port: int, _folder: Path) -> _Program:
    return _Program(
        argv=(sys.executable, "-I", str(_MOTO_SERVER), str(port)),
        env={"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
        ready_path="/moto-api/",
    )


def _ministack(port: int, folder: Path) -> _Program:
    return _Program(
        argv=(str(install_ministack()), "-I", str(_MINISTACK_SERVER)),
        env={
            "BIND_HOST": ADDRESS,
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": ADDRESS,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            # At its start, MiniStack removes containers that look like its own.
            "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        },
        ready_path="/_ministack/ready",
    )


_PROGRAMS: Mapping[BackendKind, Callable[[int, Path], _Program]] = {
    BackendKind.MOTO: _moto,
    BackendKind.MINISTACK: _ministack,
}


def install_ministack() -> Path:
    """Installs MiniStack as its lock file says, once, and returns its Python.

    Raises:
        BackendError: the packages could not be installed.
    """
    interpreter = str(Path(sys.executable).resolve())
    digest = sha256(MINISTACK_LOCK.read_bytes() + interpreter.encode()).hexdigest()
    environment = BUILD_CACHE / f"ministack-{digest[:16]}"
    if not environment.exists():
        BUILD_CACHE.mkdir(exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".ministack-", dir=BUILD_CACHE))
        try:
            python = unfinished / "bin" / "python"
            _uv("venv", "--allow-existing", "--python", interpreter, str(unfinished))
            _uv("pip", "sync", "--require-hashes", "--python", str(python), str(MINISTACK_LOCK))
            # Another process may have been faster. Its environment is the same.
            if not environment.exists():
                unfinished.rename(environment)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return environment / "bin" / "python"


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BackendError(f"MiniStack cannot be installed: uv {arguments[0]} says\n{done.stdout}")


def _wait_until_ready(
    process: subprocess.Popen[bytes], kind: BackendKind, port: int, path: str, log_path: Path
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, path):
        if process.poll() is not None:
            problem = f"{kind} ended with status {process.returncode} before it was ready"
        elif time.monotonic() > deadline:
            problem = f"{kind} was not ready after {START_SECONDS:.0f} s"
        else:
            time.sleep(0.02)
            continue
        last_lines = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
        raise BackendError(f"{problem}. Its last lines ({log_path}):\n{last_lines}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])
