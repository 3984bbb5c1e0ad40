"""Cloud assemblies that all tests share, also those of other processes and of the next run.

A synthesis takes seconds and depends on the sources and the settings only. Each one is made once
and kept in `.build/assemblies`, under a name that contains the hash of both.
"""

import fcntl
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.assembly import Assembly, synthesize
from local.paths import BUILD_CACHE, REPOSITORY

ASSEMBLIES = BUILD_CACHE / "assemblies"
SOURCES = ("app.py", "cdk.json", "stacks", "functions", "layers", "requirements")
KEPT_SECONDS = 3600
"""Assemblies of other sources are removed after this time without a use."""

JSII_CACHE = {"JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache")}
"""For a synthesis whose HOME is an empty folder: it would unpack the CDK anew, for 20 s."""

PORT_OF_NOBODY = "http://127.0.0.1:65535"
"""Stands for the emulator's URL, whose port is another one in each run."""


@cache
def sources_digest() -> str:
    """The hash of everything that a synthesis reads from the repository, and of the Python."""
    digest = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        path = REPOSITORY / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                for part in (file.relative_to(REPOSITORY).as_posix().encode(), file.read_bytes()):
                    digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:16]


def shared_assembly(settings: Mapping[str, str], make: Callable[[Path], object]) -> Path:
    """The folder of the assembly that `make` writes for these settings. Nobody may change it."""
    ours = ASSEMBLIES / sources_digest()
    ours.mkdir(parents=True, exist_ok=True)
    ours.touch()
    text = json.dumps(dict(settings), sort_keys=True)
    folder = ours / hashlib.sha256(text.encode()).hexdigest()[:16]
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
    _remove_old(ours)
    return folder


def synthesize_shared(settings: Mapping[str, str], _outdir: Path) -> Assembly:
    """Stands in for `local.assembly.synthesize`."""
    origin = _origin(settings["reportflow_url"])
    anonymous = {
        name: value.replace(origin, PORT_OF_NOBODY) if name.startswith("reportflow_") else value
        for name, value in settings.items()
    }
    folder = shared_assembly(anonymous, lambda made: synthesize(anonymous, made))
    assembly = Assembly.load(folder)
    stacks = (
        replace(stack, template=_replaced(stack.template, PORT_OF_NOBODY, origin))
        for stack in assembly.stacks
    )
    return replace(assembly, stacks=tuple(stacks))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _replaced(template: Mapping[str, Any], old: str, new: str) -> Mapping[str, Any]:
    text = json.dumps(template)
    assert json.dumps(old)[1:-1] == old
    replaced: Mapping[str, Any] = json.loads(text.replace(old, new))
    return replaced


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_old(ours: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    for folder in ASSEMBLIES.iterdir():
        try:
            if folder != ours and folder.stat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            # Another process was faster.
            continue
