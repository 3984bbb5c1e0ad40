"""A dead letter that is sent back, once what was wrong is fixed, goes on with its own job."""

from local.emulator.fault_plan import Call
from local.emulator.faults import Oversize, Status
from tests.pipeline.driver import body, new_id
from tests.pipeline.faulty import Ending, FaultySystem, on


def test_redriven_messages_keep_their_jobs(faulty: FaultySystem) -> None:
    refused, oversize = new_id("refused"), new_id("oversize")
    faulty.emulator.faults.replace(
        [
            on(Call.SUBMIT, Status(404), None, prefix=refused),
            on(Call.DOWNLOAD, Oversize(2 * 1024 * 1024), None, prefix=oversize),
        ]
    )
    with faulty.until_idle():
        # A message that names no job: its own id is the job's, and a redriven one has another.
        nameless = faulty.driver.send(
            body(content={"fileName": f"{refused}.pdf", "params": {"amount": 1}})
        )
        faulty.send(oversize)
        codes = [faulty.driver.ended(job_id)["errorCode"] for job_id in (nameless, oversize)]
    assert codes == ["HTTP_404", "FILE_TOO_LARGE"]
    faulty.emulator.faults.replace([])

    with faulty.until_idle():
        sent_again = faulty.driver.redrive("request_dlq_url", "request_queue_url", nameless)
        faulty.driver.redrive("download_dlq_url", "download_queue_url", oversize)
        jobs = [faulty.driver.ended(job, ends=["ARCHIVED"]) for job in (nameless, oversize)]

    assert sent_again != nameless
    assert faulty.driver.job(sent_again) is None
    assert faulty.ending(oversize) == Ending()
    [made] = faulty.pdfs(refused)
    assert made.sha256 == jobs[0]["sha256"]
    assert faulty.driver.objects(nameless) == [jobs[0]["archiveKey"]]
    assert all("errorCode" not in job for job in jobs)
