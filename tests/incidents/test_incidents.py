"""The ten incidents, short. Each is shown, is ended as documented, and loses nothing."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import pytest

from tests.incidents.catalogue import FEW_ATTEMPTS, INCIDENTS, live_through
from tests.incidents.drill import Report
from tests.incidents.site import SETTINGS, Scale, run_site

SCALE = Scale(jobs=4, outage_seconds=8, letters=40, hurries=True)

PATIENT = ("revoked-key", "reportflow-down", "forged-webhooks", "webhooks-off", "table-throttled")
HASTY = ("redrive-of-thousands", "bucket-denies", "poison-messages", "leaked-url")
BESIDE = ("stuck-job",)
"""Takes over a minute, the shortest deadline there is, and disturbs nobody."""

GROUPS = ((SETTINGS, (PATIENT, BESIDE)), (FEW_ATTEMPTS, (HASTY,)))
"""The incidents by their system. Those of a row follow one another; rows go on side by side."""


@pytest.fixture(scope="module")
def reports(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> Iterator[Mapping[str, Future[Report]]]:
    """Of each incident by its name, as soon as there is one: mostly they wait."""
    futures: dict[str, Future[Report]] = {}
    with ExitStack() as stack:
        for settings, rows in GROUPS:
            folder = tmp_path_factory.mktemp("incidents")
            site = stack.enter_context(run_site(folder, SCALE, seed, settings))
            for row in rows:
                pool = stack.enter_context(ThreadPoolExecutor(max_workers=1))
                stack.callback(partial(pool.shutdown, cancel_futures=True))
                futures |= {name: pool.submit(live_through, name, site) for name in row}
        yield futures


@pytest.mark.parametrize("name", INCIDENTS)
def test_incident_is_shown_and_ends(name: str, reports: Mapping[str, Future[Report]]) -> None:
    report = reports[name].result()

    print(report)
    assert report.shown
    assert report.ended_by
    assert report.jobs == report.archived + report.failed
    assert report.lost == 0
