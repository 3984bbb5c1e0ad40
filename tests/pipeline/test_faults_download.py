"""ReportFlow fails to hand out what it made: only the whole PDF is ever archived."""

from typing import Any

from local.emulator import Contract
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import (
    CutAfter,
    CutBefore,
    Html,
    Oversize,
    PromisedLength,
    Slow,
    Status,
    Truncated,
)
from tests.pipeline.conftest import FAULT_SETTINGS
from tests.pipeline.faulty import FaultySystem, Story, failed, on

LIMIT = int(FAULT_SETTINGS["max_file_mb"]) * 1024 * 1024

# Negative: so many bytes are missing at the end, the last six of which are "%%EOF\n".
CUTS = (0, 1, 4, 5, 6, 1024, -1000, -7, -6, -2)


def _download(fault: Any, times: int | None = 1) -> Fault:
    return on(Call.DOWNLOAD, fault, times)


STORIES = {
    "errors": Story([_download(Status(500), 2)]),
    "throttled": Story([_download(Status(429, retry_after=1))]),
    "html": Story([_download(Html())]),
    "slow": Story([_download(Slow(seconds=2))]),
    "cut-before": Story([_download(CutBefore())]),
    "cut-after": Story([_download(CutAfter())]),
    "oversize": Story([_download(Oversize(LIMIT + 1), None)], failed("FILE_TOO_LARGE", pdfs=1)),
    "oversize-no-length": Story(
        [_download(Oversize(LIMIT + 1, with_length=False), None)], failed("FILE_TOO_LARGE", pdfs=1)
    ),
}

GONE = {"gone": Story([_download(Status(410), None)], failed("NO_COMPLETION", pdfs=1))}
"""No page says which refusal means that a file is not made yet, so checks go on to the deadline.
That takes a minute: by one contract only, for which the rule is the same."""

TRUNCATED = {
    f"cut-at{length}-{promised}": Story([_download(Truncated(length, promised))])
    for length in CUTS
    for promised in PromisedLength
} | {
    # Without its last line feed a PDF is still whole: only the promised length shows it.
    "cut-at-1-whole": Story([_download(Truncated(-1))])
}


def test_only_what_reportflow_made_is_archived(faulty: FaultySystem) -> None:
    stories = STORIES | TRUNCATED | (GONE if faulty.contract is Contract.CENTRAL else {})

    assert faulty.endings(stories) == {name: story.ending for name, story in stories.items()}
