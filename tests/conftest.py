"""What all tests stand on: an environment without a developer's AWS settings, an emulated AWS."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import botocore.loaders
import pytest
from xdist.scheduler import LoadScopeScheduling

from local import system
from local.backend import Backend, BackendKind, run_backend
from tests.assemblies import synthesize_shared

_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}


_FIRST = (
    "cli",
    "pipeline faults",
    "pipeline faults central",
    "tests/simulation/test_simulation.py",
    "tests/incidents/test_incidents.py",
    "pipeline moto",
    "pipeline central",
    "tests/simulation/test_burst.py",
    "pipeline storm",
    "pipeline storm central",
    "tests/properties/test_corpus.py",
)
"""The groups of tests that begin first: those that take longest, and both wait and compute.

A processor is then seldom idle because all workers wait, and no long group is left for the end.
"""


def _group(nodeid: str) -> str:
    """All tests of a system that takes long to start, or else of a file."""
    path, _, test = nodeid.partition("::")
    folder, _, name = path.removeprefix("tests/").partition("/")
    # Deployments of one clone install the same node modules.
    if folder in {"cli", "deployment"} and not name.startswith("numbers/"):
        return folder
    if folder != "pipeline":
        return path
    central = " central" if "[central" in test else ""
    if name in {"test_faults_aws.py", "test_faults_storm.py"}:
        return f"pipeline storm{central}"
    if name.startswith("test_faults_"):
        return f"pipeline faults{central}"
    for kind in ("moto", "ministack", "central"):
        if f"[{kind}" in test:
            return f"pipeline {kind}"
    return path


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups first that take longest."""
    ranks = {group: rank for rank, group in enumerate(_FIRST)}
    items.sort(key=lambda item: ranks.get(_group(item.nodeid), len(ranks)))


class BySystem(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Has one process run all tests of a group."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySystem:
    """Share the tests out, where there are several processes."""
    return BySystem(config, log)


@pytest.fixture(scope="session", autouse=True)
def _neutral_environment() -> Iterator[None]:
    """No test sees an account, a profile or a proxy of the machine it runs on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") or name.upper() in _PROXIES:
                patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session", autouse=True)
def _read_service_models_once() -> Iterator[None]:
    """All sessions share what botocore has read, or each parses megabytes of JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Programs that tests start hear Ctrl-C, though a shell's background job ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _shared_assemblies() -> Iterator[None]:
    """Systems with the same settings run from one synthesis. Programs synthesize by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "synthesize", synthesize_shared)
        yield


type Backends = Callable[[BackendKind], Backend]


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Both emulated AWS, each started at its first use.

    All tests of a process share them: what a test makes there has a name that no other test uses.
    """
    running: dict[BackendKind, Backend] = {}
    with ExitStack() as stack:

        def get(kind: BackendKind) -> Backend:
            if kind not in running:
                started = run_backend(kind, tmp_path_factory.mktemp(kind))
                running[kind] = stack.enter_context(started)
            return running[kind]

        yield get


@pytest.fixture(scope="session")
def aws(backends: Backends) -> Backend:
    """An emulated AWS for tests to which it does not matter which one it is."""
    return backends(BackendKind.MOTO)
