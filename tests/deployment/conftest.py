import subprocess
from collections.abc import Iterator

import pytest

from local.backend import Backend, BackendKind, run_backend
from local.paths import REPOSITORY
from tests.deployment.cdk import MAKE, Cdk


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with run_backend(BackendKind.MINISTACK, tmp_path_factory.mktemp("rehearsal")) as running:
        yield running


@pytest.fixture(scope="module")
def cdk(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Cdk:
    subprocess.run([*MAKE, "node_modules/installed"], cwd=REPOSITORY, check=True)
    return Cdk(backend, tmp_path_factory.mktemp("cdk"))
