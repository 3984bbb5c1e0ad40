"""The seed of what is random."""

import os
import secrets

import pytest

SEED_VARIABLE = "INCIDENT_SEED"


@pytest.fixture(scope="session")
def seed() -> int:
    """The environment can set it to that of an earlier run."""
    seed = int(os.environ.get(SEED_VARIABLE, secrets.randbelow(10**6)))
    print(f"{SEED_VARIABLE}={seed}")
    return seed
