"""Builds the packages for Lambda: the functions and the two layers, compiled and reproducible.

A package is built once into `.build/`, and its name contains the hash of its sources. Delete the
folder to build everything again.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from stacks import botocore_data

REPOSITORY = Path(__file__).resolve().parent.parent

_GLIBC_MINOR = 34
"""Lambda's Amazon Linux 2023 has glibc 2.34, which also loads wheels for older versions."""

_WHEEL_ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}


class PackagingError(RuntimeError):
    """A package cannot be built; the message says what to do."""


def function_package(name: str, *, repository: Path = REPOSITORY) -> Path:
    """Build the package of `functions/{name}` if it is not there yet, and return its folder.

    Raises:
        PackagingError: the function has no handler, or its code does not compile.
    """
    source = repository / "functions" / name
    if not (source / "handler.py").is_file():
        raise PackagingError(
            f"{source} holds no handler.py: write it, or correct the function's name"
        )

    def build(package: Path) -> None:
        _copy_sources(source, package)
        _finish(package, "/var/task")

    return _cached(repository, f"{name} package", _contents(source), build)


def shared_layer(*, repository: Path = REPOSITORY) -> Path:
    """Build the layer of the functions' shared code if it is not there yet; return its folder.

    Raises:
        PackagingError: the code is missing or does not compile.
    """
    source = repository / "layers" / "reportflow"
    if not (source / "reportflow" / "__init__.py").is_file():
        raise PackagingError(f"{source} holds no package reportflow: check it out again")

    def build(package: Path) -> None:
        _copy_sources(source, package / "python")
        _finish(package, "/opt")

    return _cached(repository, "shared layer", _contents(source), build)


def vendor_layer(architecture: str, *, repository: Path = REPOSITORY) -> Path:
    """Build the layer of third-party wheels if it is not there yet, and return its folder.

    `architecture` is arm64 or x86_64. layers/vendor/requirements.txt pins the wheels by hash, so
    they are the same on every machine.

    Raises:
        PackagingError: pip cannot install a wheel, or this Python is not the one that Lambda runs.
    """
    lock = repository / "layers" / "vendor" / "requirements.txt"

    def build(package: Path) -> None:
        python = package / "python"
        _install(lock, architecture, python)
        _strip(python)
        _finish(package, "/opt")

    return _cached(repository, f"{architecture} vendor layer", [lock.read_bytes()], build)


def _cached(
    repository: Path, title: str, ingredients: Iterable[bytes], build: Callable[[Path], None]
) -> Path:
    if sys.version_info[:2] != (3, 13):
        raise PackagingError(
            f"Python {platform.python_version()} cannot compile packages for Python 3.13: use "
            '.venv/bin/python, which "make setup" installs'
        )
    recipe = [
        Path(__file__).read_bytes(),
        Path(botocore_data.__file__).read_bytes(),
        platform.python_version().encode(),
    ]
    package = (
        repository / ".build" / f"{title.replace(' ', '-')}-{_digest([*recipe, *ingredients])}"
    )
    if package.exists():
        return package
    print(f"Building the {title} …", file=sys.stderr, flush=True)
    package.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=package.parent) as temporary:
        unfinished = Path(temporary) / package.name
        build(unfinished)
        try:
            unfinished.rename(package)
        except OSError:
            # Another process has built the same package meanwhile.
            if not package.exists():
                raise
    return package


def _digest(parts: Iterable[bytes]) -> str:
    """Hash parts so that moving a byte from one to its neighbour changes the result."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:16]


def _contents(folder: Path) -> Iterable[bytes]:
    for file in _sources(folder):
        yield file.relative_to(folder).as_posix().encode()
        yield file.read_bytes()


def _sources(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(
            part == "__pycache__" or part.startswith(".") for part in file.relative_to(folder).parts
        )
    )


def _copy_sources(source: Path, target: Path) -> None:
    for file in _sources(source):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _install(lock: Path, architecture: str, target: Path) -> None:
    machine = _WHEEL_ARCHITECTURES[architecture]
    # The newest comes first, because pip prefers wheels for the first platforms.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC_MINOR, 16, -1)]
    command = [
        *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
        *("--require-hashes", "--no-deps", "--requirement", str(lock)),
        # The wheels are for Lambda's platform, so pip must not compile sources on this machine.
        *("--only-binary=:all:", "--implementation=cp", "--python-version=3.13"),
        *(f"--platform={tag}" for tag in [*tags, f"manylinux2014_{machine}"]),
        *("--no-compile", f"--target={target}"),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise PackagingError(
            f"pip cannot install the {architecture} wheels of {lock}:\n{done.stdout.strip()}\n"
            'If pip cannot reach the package index, check "pip config list" and try again. '
            'If a pinned version is gone or has no wheel, update the pins with "make lock".'
        )


def _strip(python: Path) -> None:
    """Remove files that Lambda does not need, or that differ between installations."""
    shutil.rmtree(python / "bin", ignore_errors=True)
    for record in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for file in python.glob(f"*.dist-info/{record}"):
            file.unlink()
    for data in python.glob("botocore/data"):
        botocore_data.trim(data)


def _finish(package: Path, mount: str) -> None:
    """Compile the package for the path `mount` on Lambda, and set all file modes.

    Lambda's file systems are read-only, so without bytecode every cold start compiles everything.
    Python does not compare the bytecode with its source, whose time changes when it is unpacked.
    """
    done = subprocess.run(
        [
            # In a new process: marshal's output depends on the strings that a process has interned.
            *(sys.executable, "-S", "-P", "-m", "compileall", "-q", "--invalidation-mode"),
            *("unchecked-hash", "-s", str(package), "-p", mount, str(package)),
        ],
        env={"PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackagingError(
            f"the package does not compile: fix this and try again:\n{done.stdout.strip()}"
        )
    for path in package.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    package.chmod(0o755)
