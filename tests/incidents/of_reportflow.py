"""ReportFlow refuses the keys, is down, or leaves one job without its PDF."""

from collections.abc import Callable
from datetime import timedelta

from local.emulator.fault_plan import Call
from local.emulator.faults import Late, Lost, Status
from tests.incidents.drill import Drill
from tests.incidents.site import SETTINGS
from tests.pipeline.driver import until

APP_KEY = "local-app-key"
DEADLINE_SECONDS = int(SETTINGS["completion_deadline_seconds"])
MAKING_SECONDS = DEADLINE_SECONDS + 15
MOMENT_SECONDS = 15
"""Between a submission and its PDF: time to revoke a key."""

LATE = timedelta(seconds=8)


def revoked_key(drill: Drill) -> None:
    """The key in the secret is good no longer, while jobs come in and PDFs are in the making."""
    faulty = drill.site.faulty
    with drill.fault((Call.RENDER, Late(MOMENT_SECONDS)), prefix="made"):
        drill.submit(drill.site.scale.jobs, "made")
        until(_all_taken(drill), MOMENT_SECONDS, "all jobs are submitted")
    drill.strike()
    good = faulty.change_keys("revoked")
    for name in ("submitter", "downloader"):
        faulty.kill(name)
    drill.submit(drill.site.scale.jobs)
    shown = drill.until_shown("attempts", "the submitter put messages back")
    drill.until_shown("attempts", "the downloader put messages back")
    assert shown.severity == "critical"
    assert "HTTP_401" in shown.what
    drill.command("set-keys", told_by=shown.remedy, stdin=f"{APP_KEY}\n{good}\n")


def reportflow_down(drill: Drill) -> None:
    """It answers 503 to all, then nothing at all, and upstream goes on sending."""
    seconds = drill.site.scale.outage_seconds
    down = Status(503)
    with (
        drill.stream(drill.interval),
        drill.fault((Call.SUBMIT, down), (Call.DOWNLOAD, down)),
    ):
        drill.until_shown("attempts", "HTTP_503")
        drill.outlast(seconds * 2 / 3)
        drill.site.faulty.emulator.refuse_connections(seconds / 3)
        drill.outlast(seconds)
    drill.nothing("ReportFlow is down. Nothing: the jobs go on when it is back")


def stuck_job(drill: Drill) -> None:
    """One PDF is not made, and no webhook comes; once asked, ReportFlow makes it after all."""
    [job_id] = drill.new_jobs(1, "stuck")
    faults = drill.fault(
        (Call.RENDER, Late(MAKING_SECONDS)), (Call.WEBHOOK, Lost()), prefix="stuck"
    )
    with faults:
        drill.submit(drill.site.scale.jobs)
        drill.send(job_id)
        late = drill.until_shown("unfinished-jobs", job_id, unfinished=LATE)
        assert f"reportflow status {job_id}" in late.remedy
        assert job_id in drill.site.run("status", job_id).stdout
        dead = drill.until_shown("dead-letter-queues", "NO_COMPLETION")
        assert "Ask ReportFlow" in dead.remedy
        until(_made(drill, job_id), MAKING_SECONDS, "ReportFlow has made the PDF")
    drill.redrive("NO_COMPLETION")


def _all_taken(drill: Drill) -> Callable[[], bool | None]:
    return lambda: not drill.site.faulty.driver.messages_left("request_queue_url") or None


def _made(drill: Drill, job_id: str) -> Callable[[], bool | None]:
    return lambda: any(one.sha256 for one in drill.site.faulty.pdfs(job_id)) or None
