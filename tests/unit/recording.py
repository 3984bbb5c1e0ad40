"""Brings a job's record to where a test begins, by the rules that the functions use."""

from datetime import datetime
from functools import partial
from typing import Any

from reportflow import jobs as rules
from reportflow.contract.files import Accepted, CompletedFile
from reportflow.errors import PipelineError
from reportflow.jobs import ArchivedFile, Job, Lease, Step
from reportflow.jobs_table import JobsTable, Rule
from reportflow.messages import GenerationRequest
from reportflow.salvage import Salvaged
from tests.unit.deliveries import OUTCOME_GRACE
from tests.unit.samples import by_url, by_uuid

TAG = "tag-1"


def _changed(jobs: JobsTable, job_id: str, rule: Rule, now: datetime) -> Job:
    job, verdict = jobs.change(job_id, jobs.get(job_id), rule, now)
    assert verdict is None, verdict
    assert job is not None
    return job


def claim(
    jobs: JobsTable,
    job_id: str,
    request: GenerationRequest[Any],
    message_id: str,
    lease: Lease,
    now: datetime,
) -> Job:
    rule = partial(
        rules.begin,
        request=request,
        job_id=job_id,
        message_id=message_id,
        lease=lease,
        tag=TAG,
        grace=OUTCOME_GRACE,
        now=now,
    )
    return _changed(jobs, job_id, rule, now)


def give_back(jobs: JobsTable, job: Job, now: datetime, *, costs_retry: bool) -> Job:
    rule = partial(rules.given_back, owner=job.lease_owner, costs_retry=costs_retry)
    return _changed(jobs, job.job_id, rule, now)


def submit(jobs: JobsTable, job: Job, file_id: str, url: str, now: datetime) -> Job:
    return accept(jobs, job, Accepted(file_id, by_url(url)), now)


def accept(jobs: JobsTable, job: Job, file: Accepted, now: datetime) -> Job:
    rule = partial(rules.submitted, owner=job.lease_owner, file=file, now=now)
    return _changed(jobs, job.job_id, rule, now)


def adopt(jobs: JobsTable, job: Job, file_id: str, uuid: str, now: datetime) -> Job:
    file = CompletedFile(file_id, by_uuid(uuid), job.design_id, job.version, job.request_digest)
    return _changed(jobs, job.job_id, partial(rules.adopted, file=file, now=now), now)


def archive(jobs: JobsTable, job: Job, file: ArchivedFile, now: datetime) -> Job:
    rule = partial(rules.archived, read=job, file=file, now=now)
    return _changed(jobs, job.job_id, rule, now)


def fail(jobs: JobsTable, job: Job, error: PipelineError, step: Step, now: datetime) -> Job:
    read = jobs.get(job.job_id) or job
    rule = partial(rules.failed, read=read, error=error, step=step, now=now)
    return _changed(jobs, job.job_id, rule, now)


def reject(jobs: JobsTable, job_id: str, error: PipelineError, now: datetime) -> Job:
    rule = partial(
        rules.rejected,
        job_id=job_id,
        message_id="message-1",
        salvaged=Salvaged(),
        error=error,
        now=now,
    )
    return _changed(jobs, job_id, rule, now)
