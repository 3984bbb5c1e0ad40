"""The folders a function process may import from: its package, its layers, the runtime client."""

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from local.deployment import Function, Layer
from local.paths import BUILD_CACHE, REPOSITORY

RUNTIME_CLIENT_LOCK = REPOSITORY / "requirements" / "runtime.txt"
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class PackageError(RuntimeError):
    """A package cannot be installed. The message has the installer's output."""


def search_path(function: Function) -> tuple[Path, ...]:
    """The folders that Python searches before its standard library, in Lambda's order.

    The function's package comes first, then its layers, then AWS's runtime interface client.
    Of two layers the later one wins: Lambda unpacks them over one another.

    Raises:
        PackageError: the runtime client cannot be installed.
        PackagingError: a layer cannot be built for this machine.
    """
    layers = (_layer_folder(layer) / "python" for layer in reversed(function.layers))
    return unpack(function.code), *layers, install_runtime_client()


def unpack(asset: Path) -> Path:
    """Copies an asset of the cloud assembly, once, to where a function may run from it.

    The assembly is deployed as it is, so no process may write there. An asset's folder name has the
    hash of its content, so a copy is never out of date.
    """
    return _made_once(BUILD_CACHE / "run" / asset.name, lambda copy: _copy(asset, copy))


def install_runtime_client() -> Path:
    """Installs `awslambdaric` as its lock file says, once, and returns its folder.

    Raises:
        PackageError: pip cannot install it.
    """
    identity = RUNTIME_CLIENT_LOCK.read_bytes() + f"{sys.version} {platform.machine()}".encode()
    name = f"lambda-runtime-{sha256(identity).hexdigest()[:16]}"
    return _made_once(BUILD_CACHE / name, _install_runtime_client)


def _layer_folder(layer: Layer) -> Path:
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    if not layer.architectures or architecture in layer.architectures:
        return unpack(layer.path)
    # Imported here: layers are built only for a processor that the template is not made for.
    from stacks.packaging import vendor_layer  # noqa: PLC0415

    return vendor_layer(architecture)


def _made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Makes a folder elsewhere and moves it into its place as a whole.

    Other processes may do the same.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        make(made)
        try:
            made.rename(folder)
        except OSError:
            # Another process was faster: its folder has the same content.
            if not folder.exists():
                raise
    return folder


def _copy(asset: Path, copy: Path) -> None:
    shutil.copytree(asset, copy)


def _install_runtime_client(folder: Path) -> None:
    command = [sys.executable, "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--target", str(folder)]
    done = subprocess.run(
        [*command, *options, "--requirement", str(RUNTIME_CLIENT_LOCK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"The Lambda runtime client cannot be installed:\n{done.stdout}")
