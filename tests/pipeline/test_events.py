"""A consumer hears of each end of a job: by a rule of its own, on a queue of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from jsonschema import Draft202012Validator

from local.system import System
from reportflow.contract.central import OWN_KEY
from tests.pipeline.driver import Driver, body, new_id, until

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"

type Heard = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def heard(driver: Driver) -> Heard:
    """Waits for the event of a job, and keeps those of others."""
    url = driver.sqs.create_queue(QueueName=new_id("finished-pdfs"))["QueueUrl"]
    attributes = driver.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    rule, bus = new_id("pdfs"), driver.state["event_bus"]
    pattern = {"source": ["reportflow"], "detail-type": ["PDF Archived", "PDF Failed"]}
    driver.events.put_rule(Name=rule, EventBusName=bus, EventPattern=json.dumps(pattern))
    driver.events.put_targets(
        Rule=rule,
        EventBusName=bus,
        Targets=[{"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}],
    )
    events: dict[str, dict[str, Any]] = {}

    def wait_for(job_id: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            received = driver.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            for record in received.get("Messages", []):
                event = json.loads(record["Body"])
                events[event["detail"]["jobId"]] = event
                driver.sqs.delete_message(QueueUrl=url, ReceiptHandle=record["ReceiptHandle"])
            return events.get(job_id)

        return until(look, 120, f"the event of {job_id}")

    return wait_for


def assert_is_as_published(event: dict[str, Any], name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator(schema).validate(event)


def test_an_archived_pdf_is_published(driver: Driver, heard: Heard) -> None:
    job_id = new_id("announced")
    driver.send(body(job_id, metadata={"tenant": "acme"}))

    event = heard(job_id)

    assert_is_as_published(event, "pdf-archived")
    detail, job = event["detail"], driver.ended(job_id)
    assert detail["metadata"] == {"tenant": "acme"}
    assert (detail["bucket"], detail["key"]) == (driver.state["archive_bucket"], job["archiveKey"])
    assert detail["sha256"] == job["sha256"]
    assert driver.objects(job_id) == [detail["key"]]


def test_a_failed_job_is_published_with_its_reason(driver: Driver, heard: Heard) -> None:
    job_id = new_id("announced-failure")
    driver.send(body(job_id, version=999))

    event = heard(job_id)

    assert_is_as_published(event, "pdf-failed")
    job = driver.ended(job_id)
    assert event["detail"]["errorCode"] == job["errorCode"] == "HTTP_404"


@pytest.mark.by_contract
@pytest.mark.parametrize("system", ["central"], indirect=True)
def test_passthrough_comes_back_and_no_reader_of_the_pdf_sees_our_mark(
    system: System, driver: Driver, heard: Heard
) -> None:
    """The emulator prints top-level texts and numbers into the PDF, as ReportFlow does."""
    job_id = new_id("passthrough")
    passthrough = {"tenant": "acme", "order": 7, "nested": {"name": "初芝"}, "paid": True}
    content = {"fileName": job_id, "params": {}, "passthrough": passthrough}
    driver.send(body(job_id, content=content))

    event = heard(job_id)

    assert_is_as_published(event, "pdf-archived")
    job = driver.ended(job_id)
    assert event["detail"]["passthrough"] == json.loads(job["passthrough"]) == passthrough
    assert system.emulator is not None
    [file] = [file for file in system.emulator.files() if file.file_name == f"{job_id}.pdf"]
    mark = {"jobId": job_id, "tag": job["tag"]}
    assert file.passthrough == {**passthrough, OWN_KEY: mark}
    stored = driver.s3.get_object(Bucket=driver.state["archive_bucket"], Key=job["archiveKey"])
    pdf = stored["Body"].read()
    with pypdfium2.PdfDocument(pdf) as document:
        printed = {name: document.get_metadata_value(name) for name in file.passthrough}
    assert printed == {"tenant": "acme", "order": "7", "nested": "", "paid": "", OWN_KEY: ""}
    assert job["tag"].encode() not in pdf
