"""Every legal change of a job's status, as the documents and the invariants have it."""

from collections.abc import Mapping
from typing import Final

from reportflow.jobs import JobStatus

TRANSITIONS: Final[Mapping[JobStatus | None, frozenset[JobStatus]]] = {
    None: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED}),
    JobStatus.SUBMITTING: frozenset({JobStatus.SUBMITTING, JobStatus.SUBMITTED, JobStatus.FAILED}),
    JobStatus.SUBMITTED: frozenset({JobStatus.ARCHIVED, JobStatus.FAILED}),
    # A late webhook or a redriven message may still bring the PDF of a job that had a file.
    JobStatus.FAILED: frozenset({JobStatus.SUBMITTING, JobStatus.ARCHIVED, JobStatus.FAILED}),
    JobStatus.ARCHIVED: frozenset(),
}
"""Every legal change of status; `None` is a job without a record."""
