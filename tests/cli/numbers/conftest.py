"""Deployments of which there are only numbers."""

import pytest

from cli.target import Target
from local.backend import BackendKind
from tests.cli.numbers.deployment import deployment
from tests.conftest import Backends


@pytest.fixture
def target(backends: Backends) -> Target:
    """In MiniStack: moto's GetMetricData takes the numbers of all namespaces together."""
    return deployment(backends(BackendKind.MINISTACK))


@pytest.fixture(params=list(BackendKind))
def either(request: pytest.FixtureRequest, backends: Backends) -> Target:
    """In both, for metrics of names that no other test has."""
    return deployment(backends(request.param))
