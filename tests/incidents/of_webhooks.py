"""Webhooks that are forged, that no longer come, or whose URL became known."""

import json
from collections.abc import Callable

import urllib3

from tests.incidents.drill import Drill
from tests.pipeline.driver import INVOICE, until

FORGETTING_SECONDS = 330
"""A function believes what it has read of the secret for five minutes."""

FORGERIES = 100
"""More than the webhooks that `doctor` forges to see them refused, one each time."""


def _event(file_id: str, uuid: str, workspace: str = "local-workspace") -> dict[str, object]:
    file = {"fileId": file_id, "uuid": uuid, "fileName": "forged.pdf", "params": {}}
    return {
        "event": "file.completed",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "workspaceId": workspace,
        "designId": INVOICE,
        "version": 1,
        "files": [file],
    }


def _post(url: str, event: object) -> int:
    answer = urllib3.request(
        "POST",
        url,
        body=json.dumps(event),
        headers={"Content-Type": "application/json"},
        timeout=30,
        retries=False,
    )
    return answer.status


def forged_webhooks(drill: Drill) -> None:
    """Somebody who knows a job's file, and not the URL, tries tokens."""
    url = drill.site.faulty.driver.state["webhook_url"].rpartition("/")[0]
    jobs = drill.submit(drill.site.scale.jobs)
    file = until(lambda: next(iter(drill.site.faulty.pdfs(jobs[0])), None), 60, "a file")
    for _ in range(FORGERIES):
        token = f"{drill.site.rng.getrandbits(256):064x}"
        assert _post(f"{url}/{token}", _event(file.file_id, file.uuid)) == 404
    drill.until_shown("counters", "webhooks refused", at_least=FORGERIES)
    drill.until_shown("alarms", "WebhooksRefused")
    drill.nothing("somebody tries; the secret cannot be guessed")


def webhooks_off(drill: Drill) -> None:
    """Somebody has emptied the URL in ReportFlow's settings."""
    emulator = drill.site.faulty.emulator
    emulator.webhook_url = None
    silent = drill.submit(drill.site.scale.jobs, "silent")
    shown = drill.until_shown("counters", "no webhook came", "not by a webhook")
    assert "webhook-url" in shown.remedy
    drill.wait(silent)
    told = drill.command("webhook-url", told_by=drill.site.operations)
    emulator.webhook_url = told.stdout.strip()
    loud = drill.submit(drill.site.scale.jobs, "loud")
    drill.wait(loud)
    _each_was_taken(drill, loud)


def leaked_url(drill: Drill) -> None:
    """The URL became known; its secret is changed while jobs come in, and no webhook is refused."""
    faulty = drill.site.faulty
    leaked = until(lambda: faulty.emulator.webhook_url, 1, "there is a URL")
    with drill.stream():
        for number in range(FORGERIES):
            assert _post(leaked, _event(f"file-{number}", "uuid", "another-workspace")) == 400
        shown = drill.until_shown("counters", "webhooks refused", at_least=FORGERIES)
        drill.command("rotate-webhook-secret", told_by=shown.remedy)
        told = drill.command("webhook-url", told_by=drill.site.operations)
        assert told.stdout.strip() != leaked
        faulty.emulator.webhook_url = told.stdout.strip()
        drill.command("rotate-webhook-secret", "--finish", "--yes", told_by=drill.site.operations)
        if drill.site.scale.hurries:
            faulty.kill("webhook")
        until(_refused(leaked), FORGETTING_SECONDS, "the leaked URL opens nothing")
    drill.wait(drill.job_ids)
    if not drill.site.scale.hurries:
        _each_was_taken(drill, drill.job_ids)


def _refused(url: str) -> Callable[[], bool | None]:
    return lambda: _post(url, {"event": "of nothing"}) == 404 or None


def _each_was_taken(drill: Drill, job_ids: list[str]) -> None:
    """Each job's webhook came, and was taken the first time."""
    answers = {
        tuple(attempt.status for attempt in file.webhooks)
        for job_id in job_ids
        for file in drill.site.faulty.pdfs(job_id)
    }
    assert answers == {(200,)}, answers
