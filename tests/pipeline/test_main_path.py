"""From a message on SQS to a PDF in S3, and to a dead letter where there can be none."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pypdfium2
import pytest

from local.demo.messages import messages
from local.system import System
from tests.pipeline.driver import INVOICE, Driver, body, new_id, until

pytestmark = pytest.mark.by_contract


def _pdfs_made(system: System, file_name: str) -> list[str | None]:
    assert system.emulator is not None
    return [file.sha256 for file in system.emulator.files() if file.file_name == file_name]


@pytest.mark.strict_backend  # S3 compares the checksum
def test_message_becomes_archived_pdf(system: System, driver: Driver) -> None:
    job_id = new_id("main")
    file_name = f"{job_id}.pdf"
    params = {"customerName": "Ada Lovelace", "amount": 12345}
    driver.send(body(job_id, content={"fileName": file_name, "params": params}))

    job = driver.ended(job_id)

    assert job["status"] == "ARCHIVED"
    day = job["createdAt"][:10].replace("-", "/")
    assert job["archiveKey"] == f"{INVOICE}/{day}/{job_id}/{file_name}"
    stored = driver.s3.get_object(Bucket=driver.state["archive_bucket"], Key=job["archiveKey"])
    content = stored["Body"].read()
    assert hashlib.sha256(content).hexdigest() == job["sha256"]
    assert _pdfs_made(system, file_name) == [job["sha256"]]
    assert len(content) == int(job["size"])
    assert stored["ContentType"] == "application/pdf"
    assert stored["VersionId"] == job["archiveVersionId"]
    with pypdfium2.PdfDocument(content) as document:
        text = document[0].get_textpage().get_text_bounded()
    assert "Ada Lovelace" in text
    times = [job[name] for name in ("createdAt", "submittingAt", "submittedAt", "archivedAt")]
    assert times == sorted(times)


def test_japanese_name_and_text_survive(driver: Driver) -> None:
    job_id = new_id("japanese")
    name = "請求書_髙橋様.pdf"
    driver.send(
        body(job_id, version=2, content={"fileName": name, "params": {"customerName": "髙橋 一郎"}})
    )

    job = driver.ended(job_id)

    assert job["archiveKey"].endswith(f"/{job_id}/{name}")
    stored = driver.s3.get_object(Bucket=driver.state["archive_bucket"], Key=job["archiveKey"])
    assert f"filename*=UTF-8''{quote(name)}" in stored["ContentDisposition"]
    with pypdfium2.PdfDocument(stored["Body"].read()) as document:
        assert "髙橋 一郎" in document[0].get_textpage().get_text_bounded()


@pytest.mark.strict_backend  # DynamoDB checks a condition and writes in one step
def test_same_job_sent_many_times_makes_one_pdf(system: System, driver: Driver) -> None:
    job_id = new_id("twice")
    content = {"fileName": f"{job_id}.pdf", "params": {"amount": 1}}
    before = _messages_left(driver)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(driver.send, [body(job_id, content=content)] * 8))

    job = driver.ended(job_id)
    # Other tests of this system have left messages that wait for their next try.
    until(lambda: _messages_left(driver) <= before or None, 240, "all eight are done")

    assert _pdfs_made(system, f"{job_id}.pdf") == [job["sha256"]]
    assert driver.objects(job_id) == [job["archiveKey"]]
    assert driver.job(job_id) == job


def _messages_left(driver: Driver) -> int:
    """How many messages both queues hold, in flight or waiting."""
    return sum(map(driver.messages_left, ("request_queue_url", "download_queue_url")))


def test_message_without_job_id_has_the_message_id(driver: Driver) -> None:
    message_id = driver.send(body())

    assert driver.ended(message_id)["status"] == "ARCHIVED"


def test_metadata_is_kept(driver: Driver) -> None:
    job_id = new_id("metadata")
    metadata = {"tenant": "初芝", "tags": [1, 2.5, None]}
    driver.send(body(job_id, metadata=metadata))

    job = driver.ended(job_id)

    assert job["status"] == "ARCHIVED"
    assert json.loads(job["metadata"]) == metadata


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"version": "1"}, "INVALID_MESSAGE", "version"),
        ({"content": {"fileName": "a/b.pdf", "params": {}}}, "INVALID_MESSAGE", "content.fileName"),
        ({"colour": "red"}, "INVALID_MESSAGE", "colour"),
        ({"designId": "00000000-0000-4000-8000-000000000000"}, "HTTP_404", "404"),
    ],
    ids=["version", "file-name", "unknown-field", "no-such-design"],
)
def test_what_cannot_succeed_is_dead_lettered_with_its_reason(
    driver: Driver, changes: dict[str, Any], code: str, names: str
) -> None:
    job_id = new_id("wrong")
    message = json.dumps(body(job_id, **changes))
    driver.send(message)

    job = driver.ended(job_id)
    dead = driver.dead_letter("request_dlq_url", job_id)

    assert (job["status"], job["errorCode"], job["failedStep"]) == ("FAILED", code, "submit")
    assert names in job["errorMessage"]
    assert dead["Body"] == message
    reason = {name: value["StringValue"] for name, value in dead["MessageAttributes"].items()}
    assert reason == {
        "errorCode": code,
        "errorMessage": job["errorMessage"],
        "failedStep": "submit",
        "jobId": job_id,
    }


def test_message_that_is_no_json_is_dead_lettered(driver: Driver) -> None:
    message_id = driver.send("{'jobId': no json")

    assert driver.ended(message_id)["errorCode"] == "INVALID_MESSAGE"
    assert driver.dead_letter("request_dlq_url", message_id)["Body"] == "{'jobId': no json"


def test_demo_messages_are_as_many_and_various_as_promised() -> None:
    all_messages = messages()
    bodies = [json.loads(message.body) for message in all_messages]

    assert len(all_messages) == 25
    assert [message.times for message in all_messages].count(2) == 1
    assert sorted(message.failure for message in all_messages if message.failure) == [
        "HTTP_404",
        "INVALID_MESSAGE",
    ]
    assert any("metadata" in one for one in bodies)
    assert any("jobId" not in one for one in bodies)
    assert any(len(one["content"]["params"].get("rows", [])) >= 300 for one in bodies)
    assert any(not one["content"]["fileName"].isascii() for one in bodies)
