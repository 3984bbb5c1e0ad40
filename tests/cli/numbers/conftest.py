"""Deployments that have only metrics."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from cli.target import Target
from local.backend import Backend, BackendKind, run_backend
from tests.cli.numbers.deployment import deployment


@pytest.fixture(scope="session")
def own_backends(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[BackendKind, Backend]]:
    """Shared with no other test: each knows the numbers and alarms of its deployments only."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(run_backend(kind, tmp_path_factory.mktemp(kind)))
            for kind in BackendKind
        }


@pytest.fixture
def target(own_backends: Mapping[BackendKind, Backend]) -> Target:
    """In MiniStack: moto's GetMetricData takes the numbers of all namespaces together."""
    return deployment(own_backends[BackendKind.MINISTACK])


@pytest.fixture(params=list(BackendKind))
def either(request: pytest.FixtureRequest, own_backends: Mapping[BackendKind, Backend]) -> Target:
    """In both, for metrics of names that no other test has."""
    return deployment(own_backends[request.param])
