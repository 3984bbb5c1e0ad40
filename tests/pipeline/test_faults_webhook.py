"""Webhooks that come often, early, late, in another order, or never."""

from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import EarlyWebhook, Late, Lost, Reordered, Repeated
from tests.pipeline.aws_proxy import Failure, Operation, no_mischief
from tests.pipeline.driver import until
from tests.pipeline.faulty import Ending, FaultySystem, SlowJobs, Story, failed, on


def _webhook(fault: Late | Lost | Repeated | Reordered) -> Fault:
    return on(Call.WEBHOOK, fault)


STORIES = {
    "doubled": Story([_webhook(Repeated(2))]),
    "repeated-later": Story([_webhook(Repeated(3, gap_seconds=2))]),
    "early": Story([on(Call.SUBMIT, EarlyWebhook())]),
    "early-and-doubled": Story([on(Call.SUBMIT, EarlyWebhook()), _webhook(Repeated(2))]),
    "late": Story([_webhook(Late(1))]),
    "later-than-the-check": Story([_webhook(Late(6))]),
    "reordered-1": Story([_webhook(Reordered())]),
    "reordered-2": Story([_webhook(Reordered())]),
    "lost": Story([_webhook(Lost())]),
    "made-late": Story([on(Call.RENDER, Late(4))]),
    "made-late-and-lost": Story([on(Call.RENDER, Late(4)), _webhook(Lost())]),
}


def test_webhooks_may_come_as_they_like(faulty: FaultySystem) -> None:
    endings = faulty.endings(STORIES)

    assert endings == {name: Ending() for name in STORIES}


def test_webhook_function_killed_in_mid_request_loses_no_webhook(faulty: FaultySystem) -> None:
    """Before and after the queue took the file: ReportFlow sends it again, or a check finds it."""
    killed: list[Operation] = []

    def kill_at_send(operation: Operation) -> Failure | None:
        is_webhooks = operation.caller == faulty.pool("webhook").function.name
        if operation.name != "SendMessageBatch" or not is_webhooks or len(killed) >= 2:
            return None
        killed.append(operation)
        faulty.kill("webhook")
        return Failure(500, "InternalError", forwarded=len(killed) == 2)

    faulty.aws.mischief = kill_at_send
    try:
        job_ids = faulty.play({"killed-once": Story(), "killed-twice": Story()})
    finally:
        faulty.aws.mischief = no_mischief

    assert {faulty.ending(job_id) for job_id in job_ids.values()} == {Ending()}

    def answers() -> list[list[int | None]] | None:
        """Once no more come: the queue took one whose answer was lost, and its job may be done."""
        each = [[one.status for one in faulty.pdfs(id_)[0].webhooks] for id_ in job_ids.values()]
        last = (200, 500) if not faulty.emulator.settings.webhook_retries else (200,)
        return each if all(statuses and statuses[-1] in last for statuses in each) else None

    assert any(500 in statuses for statuses in until(answers, 180, "both webhooks are taken"))


def test_job_whose_pdf_is_never_made_fails_at_its_deadline(
    faulty: FaultySystem, slow_jobs: SlowJobs
) -> None:
    faulty.driver.ended(slow_jobs.never_made, 90)

    assert faulty.ending(slow_jobs.never_made) == failed("NO_COMPLETION", pdfs=1)
