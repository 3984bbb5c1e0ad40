"""Secrets and customers' data are where they belong, after jobs that ended well and badly."""

import json

import requests

from local.emulator.fault_plan import Call
from local.emulator.faults import Status
from local.system import KEYS, System
from tests.pipeline.driver import INVOICE, Driver, body, new_id
from tests.pipeline.faulty import on
from tests.properties.canary import APP_KEY, PARAMS, QUOTED, SECRET_KEY
from tests.properties.leaks import leaks, secrets_of

TIMEOUT_SECONDS = 30


def _event(**changes: object) -> dict[str, object]:
    file = {"fileId": new_id("file"), "uuid": "u1", "fileName": "a.pdf", "params": {"a": PARAMS}}
    return {
        "event": "file.completed",
        "workspaceId": "local-workspace",
        "designId": INVOICE,
        "version": 1,
        "files": [file],
        **changes,
    }


def test_no_canary_is_where_it_does_not_belong(system: System, driver: Driver) -> None:
    url = driver.state["webhook_url"]
    params = {"customerName": PARAMS, "amount": 10}
    good, refused = new_id("canary"), new_id("canary")
    driver.send(body(good, content={"fileName": "a.pdf", "params": params}))
    driver.send(body(refused, version=99, content={"fileName": "a.pdf", "params": params}))
    driver.send(json.dumps({"params": PARAMS}))
    for sent in (_event(), _event(workspaceId="other"), _event(files=PARAMS), PARAMS):
        requests.post(url, json=sent, timeout=TIMEOUT_SECONDS)
        requests.post(url[:-1], json=sent, timeout=TIMEOUT_SECONDS)
        requests.get(url, timeout=TIMEOUT_SECONDS)
    assert driver.ended(good)["status"] == "ARCHIVED"
    assert driver.ended(refused)["status"] == "FAILED"

    secrets = secrets_of(system)
    keys = (APP_KEY, SECRET_KEY)[: len(KEYS[system.state.contract])]
    assert {*keys, url.rsplit("/", 1)[1]} <= set(secrets.values())
    assert leaks(system, secrets) == []
    # A dead letter holds the body unchanged, and the PDF shows what it was asked to.
    assert leaks(system, {"params": PARAMS}, without=("dead letters: body", "pdf")) == []


def test_what_a_refusal_quotes_is_in_the_record_and_the_dead_letter_and_in_no_log(
    system: System, driver: Driver
) -> None:
    """ReportFlow's words may show a parameter; the name of an unknown field is the sender's."""
    quoted, misspelt = new_id("quoted"), new_id("misspelt")
    said = f"customerName: {QUOTED} is too long"
    assert system.emulator is not None
    system.emulator.faults.replace(
        [
            on(Call.SUBMIT, Status(503, said), prefix=quoted),
            on(Call.SUBMIT, Status(400, said), prefix=quoted),
        ]
    )
    try:
        params = {"customerName": QUOTED}
        driver.send(body(quoted, content={"fileName": f"{quoted}.pdf", "params": params}))
        driver.send(body(misspelt, **{QUOTED: 1}))
        ends = [driver.ended(job_id) for job_id in (quoted, misspelt)]
    finally:
        system.emulator.faults.replace([])

    assert [end["errorCode"] for end in ends] == ["HTTP_400", "INVALID_MESSAGE"]
    assert all(QUOTED in end["errorMessage"] for end in ends)
    assert leaks(system, {"quoted": QUOTED}) == [
        "quoted in dead letters: attributes",
        "quoted in dead letters: body",
        *sorted(f'quoted in item {{"S": "{job_id}"}}' for job_id in (quoted, misspelt)),
    ]


def test_what_is_written_anywhere_is_found(system: System, driver: Driver) -> None:
    mark, job_id = new_id("mark"), new_id("canary")
    table, bucket = driver.state["jobs_table"], driver.state["archive_bucket"]
    driver.dynamodb.put_item(
        TableName=table, Item={"jobId": {"S": job_id}, "errorMessage": {"S": mark}}
    )
    key = f"{INVOICE}/2026/02/15/{job_id}/a.pdf"
    driver.s3.put_object(Bucket=bucket, Key=key, Metadata={"mark": mark})
    reason = dict.fromkeys(("jobId", "errorCode", "failedStep", "errorMessage"), mark)
    driver.sqs.send_message(
        QueueUrl=driver.state["download_dlq_url"],
        MessageBody="{}",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in reason.items()
        },
    )
    pool = next(iter(system.pools.values()))
    with pool.log_path.open("a") as log:
        log.write(f"{mark}\n")
    try:
        found = leaks(system, {"mark": mark})
    finally:
        driver.dynamodb.delete_item(TableName=table, Key={"jobId": {"S": job_id}})
        driver.s3.delete_object(Bucket=bucket, Key=key)

    assert found == [
        "mark in archive: headers",
        "mark in download dead letters: attributes",
        f'mark in item {{"S": "{job_id}"}}',
        f"mark in log {pool.function.name}",
    ]
