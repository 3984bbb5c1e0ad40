"""The handlers that are compared: ours as it ships, a peer as most teams write it, and a floor."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from local.packages import install_runtime_client
from local.paths import BUILD_CACHE, REPOSITORY
from reportflow.settings import DownloaderSettings, SubmitterSettings, WebhookSettings
from stacks.settings import DeploymentSettings

FUNCTIONS: Final = ("submitter", "webhook", "downloader")
PEER_LOCK: Final = REPOSITORY / "requirements" / "benchmark.txt"

_LOOK_UP: Final = """
import platform, sys
from stacks.packaging import function_package, shared_layer, vendor_layer
machine = {"x86_64": "x86_64"}.get(platform.machine(), "arm64")
print(function_package(sys.argv[1]))
print(shared_layer() / "python")
print(vendor_layer(machine) / "python")
"""


@dataclass(frozen=True)
class Candidate:
    """A handler and what its process imports from, in Lambda's order."""

    name: str
    path: tuple[Path, ...]

    def without_bytecode(self) -> "Candidate":
        """Return the same handler in folders that hold its sources only."""
        return Candidate(self.name, tuple(_sources(folder) for folder in self.path))


def ours(function: str) -> Candidate:
    """Return our function as this checkout packages it."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOK_UP, function],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={"PYTHONPATH": "layers/reportflow"},
    )
    return Candidate("ours", tuple(Path(line) for line in done.stdout.splitlines()))


def peer(function: str) -> Candidate:
    """Return the peer's function with its packages, compiled."""
    return Candidate("peer", (_compiled(REPOSITORY / "benchmarks/peers" / function), packages()))


def floor() -> Candidate:
    """Return the handler that does nothing."""
    return Candidate("floor", (_compiled(REPOSITORY / "benchmarks/floor"),))


def runtime() -> Path:
    """Return the folder of Lambda's runtime client, which comes last in each path."""
    return install_runtime_client()


def environment(endpoint: str) -> Mapping[str, str]:
    """Return the variables of all functions, for an AWS and a ReportFlow at this endpoint."""
    settings = DeploymentSettings(
        workspace_id="acme",
        reportflow_url=f"{endpoint}/v1",
        reportflow_files_url=endpoint,
    )
    names = dict.fromkeys(("jobs_table", "event_bus", "secret_arn", "archive_bucket"), "benchmark")
    for queue in ("request_queue", "request_dlq", "download_queue", "download_dlq"):
        names[f"{queue}_url"] = f"{endpoint}/1/{queue}"
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "IDEMPOTENCY_TABLE": "benchmark",
        "POWERTOOLS_METRICS_NAMESPACE": "benchmark",
        "POWERTOOLS_SERVICE_NAME": "benchmark",
    }
    for kind in (SubmitterSettings, WebhookSettings, DownloaderSettings):
        variables |= settings.variables(kind, names)
    return variables


def packages() -> Path:
    """Return the folder of the benchmarks' own packages: the peer's, and matplotlib."""

    def install(folder: Path) -> None:
        command = [sys.executable, "-I", "-m", "pip", "install", "--disable-pip-version-check"]
        options = ["--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
        target = ["--no-compile", "--target", str(folder), "--requirement", str(PEER_LOCK)]
        subprocess.run([*command, *options, *target], check=True)
        _compile(folder)

    return _made_once("peer", [PEER_LOCK.read_bytes()], install)


def _compiled(source: Path) -> Path:
    def copy(folder: Path) -> None:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
        _compile(folder)

    content = [(source / "handler.py").read_bytes()]
    return _made_once(f"{source.name}-{source.parent.name}", content, copy)


def _sources(folder: Path) -> Path:
    def copy(target: Path) -> None:
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))

    return _made_once("sources", [str(folder).encode()], copy)


def _compile(folder: Path) -> None:
    # As ours: valid wherever it is unpacked.
    options = ["-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    subprocess.run([sys.executable, "-m", "compileall", *options], check=True)


def _made_once(name: str, content: Iterable[bytes], make: Callable[[Path], None]) -> Path:
    digest = sha256(b"\0".join([sys.version.encode(), *content])).hexdigest()[:16]
    folder = BUILD_CACHE / f"benchmark-{name}-{digest}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=BUILD_CACHE) as temporary:
            made = Path(temporary) / "made"
            make(made)
            made.rename(folder)
    return folder
