"""Four of the ten incidents, short. `make test` has one of them, and `make drill` all ten.

Each is shown, is ended as documented, and loses nothing.
"""

from collections.abc import Iterator

import pytest

from tests.incidents.catalogue import FEW_ATTEMPTS, live_through
from tests.incidents.site import Scale, Site, run_site

SCALE = Scale(jobs=4, outage_seconds=8, letters=40, hurries=True)

QUICK = (
    pytest.param("redrive-of-thousands", marks=pytest.mark.slow),
    "bucket-denies",
    pytest.param("poison-messages", marks=pytest.mark.slow),
    pytest.param("leaked-url", marks=pytest.mark.slow),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("incidents")
    with run_site(folder, SCALE, seed, FEW_ATTEMPTS) as running:
        yield running


@pytest.mark.parametrize("name", QUICK)
def test_incident_is_shown_and_ends(name: str, site: Site) -> None:
    report = live_through(name, site)

    print(report)
    assert report.shown
    assert report.ended_by
    assert report.jobs == report.archived + report.failed
    assert report.lost == 0
