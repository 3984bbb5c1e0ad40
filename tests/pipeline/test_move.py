"""A deployment moves to the other contract while jobs are in flight: its table and queues stay."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from local.emulator import Contract, Emulator
from local.emulator.fault_plan import Call
from local.emulator.faults import CutAfter, Late, Lost
from local.system import KEYS
from tests.pipeline.conftest import FAULT_SETTINGS
from tests.pipeline.driver import new_id, until
from tests.pipeline.faulty import Ending, FaultySystem, on, run_faulty, service

MAKING_SECONDS = 20
"""Time to move before the old jobs' PDFs are made."""

SETTINGS = {
    **FAULT_SETTINGS,
    # The job without an answer waits for its webhook, and is not submitted again.
    "outcome_grace_seconds": "120",
    "orphan_grace_seconds": "150",
    "completion_deadline_seconds": "240",
}

OTHER = {Contract.WORKSPACE: Contract.CENTRAL, Contract.CENTRAL: Contract.WORKSPACE}


@pytest.fixture(params=[Contract.WORKSPACE, pytest.param(Contract.CENTRAL, marks=pytest.mark.slow)])
def before(request: pytest.FixtureRequest) -> Iterator[FaultySystem]:
    with run_faulty(SETTINGS, contract=request.param) as running:
        yield running


def _move(system: FaultySystem, new: Emulator) -> None:
    """Add the new keys to the secret, and deploy the settings of the new contract."""
    state = system.system.state
    client = system.system.backend.client("secretsmanager")
    value = json.loads(client.get_secret_value(SecretId=state.secret_arn)["SecretString"])
    keys = (new.settings.app_key, new.settings.secret_key)
    value |= zip(KEYS[new.settings.contract], keys, strict=False)
    client.put_secret_value(SecretId=state.secret_arn, SecretString=json.dumps(value))
    by_workspace = new if new.settings.contract is Contract.WORKSPACE else system.emulator
    for name in ("submitter", "downloader"):
        system.pool(name).configure(
            {
                "CONTRACT": new.settings.contract,
                "REPORTFLOW_URL": new.url,
                "REPORTFLOW_FILES_URL": by_workspace.origin,
                "FORMER_REPORTFLOW_URL": system.emulator.url,
            }
        )


def test_old_jobs_and_new_ones_end_by_webhook_and_by_check(before: FaultySystem) -> None:
    old = before.emulator
    told, lost, unanswered = (new_id(label) for label in ("told", "lost", "unanswered"))
    old.faults.replace(
        [
            on(Call.RENDER, Late(MAKING_SECONDS), None),
            on(Call.WEBHOOK, Lost(), prefix=lost),
            on(Call.SUBMIT, CutAfter(), prefix=unanswered),
        ]
    )
    old_jobs = (told, lost, unanswered)
    for job_id in old_jobs:
        before.send(job_id)
    until(lambda: all(map(before.pdfs, old_jobs)) or None, 60, "the old ReportFlow has all jobs")
    until(lambda: _is(before, told, lost) or None, 60, "both answers are stored")
    settings = replace(service(OTHER[before.contract]), workspace_id=old.settings.workspace_id)
    with Emulator(settings, before.system.state.webhook_url) as new:
        _move(before, new)
        assert _is(before, told, lost), "they are archived already, and the move proves nothing"
        new_told, new_lost = (new_id(label) for label in ("new-told", "new-lost"))
        new.faults.replace([on(Call.WEBHOOK, Lost(), prefix=new_lost)])
        for job_id in (new_told, new_lost):
            before.send(job_id)

        ended = {job_id: before.driver.ended(job_id) for job_id in (*old_jobs, new_told, new_lost)}
        made = {file.sha256: file.file_name for file in new.files()}
        files = {file.file_name: file for file in (*old.files(), *new.files())}

    assert {before.ending(job_id) for job_id in old_jobs} == {Ending()}
    assert made == {ended[job_id]["sha256"]: f"{job_id}.pdf" for job_id in (new_told, new_lost)}
    assert {job["status"] for job in ended.values()} == {"ARCHIVED"}
    assert len(old.files()) == len(old_jobs)
    for job_id in (told, unanswered, new_told):
        assert [each.status for each in files[f"{job_id}.pdf"].webhooks] == [200]


def _is(system: FaultySystem, *job_ids: str) -> bool:
    jobs = [system.driver.job(job_id) for job_id in job_ids]
    return all(job is not None and job["status"] == "SUBMITTED" for job in jobs)
