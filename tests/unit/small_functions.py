"""Function packages of a few lines, as the cloud assembly would hold them."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

from local.deployment import Function, Layer


def make_function(
    folder: Path,
    source: str,
    *,
    name: str = "small-function",
    layers: tuple[Layer, ...] = (),
    environment: Mapping[str, str] | None = None,
    timeout_seconds: int = 20,
) -> Function:
    code = _write_asset(folder, {"handler.py": source})
    return Function(
        name=name,
        handler="handler.handler",
        code=code,
        layers=layers,
        environment=environment or {},
        timeout_seconds=timeout_seconds,
        memory_mb=128,
    )


def make_layer(folder: Path, modules: Mapping[str, str]) -> Layer:
    files = {f"python/{name}": source for name, source in modules.items()}
    return Layer(path=_write_asset(folder, files), architectures=frozenset())


def wait_until[T](condition: Callable[[], T], seconds: float = 60) -> T:
    """Waits for a true value and returns it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


def _write_asset(folder: Path, files: Mapping[str, str]) -> Path:
    digest = sha256(repr(sorted(files.items())).encode()).hexdigest()
    asset = folder / f"asset.{digest}"
    for name, source in files.items():
        path = asset / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source))
    return asset
