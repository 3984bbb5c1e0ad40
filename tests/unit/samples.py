"""A valid message of each kind, and a PDF."""

import json
from typing import Any

from reportflow.contract import WORKSPACE, Contract
from reportflow.contract.files import Mark
from reportflow.messages import GenerationRequest, parse_request

DESIGN_ID = "550e8400-e29b-41d4-a716-446655440000"
JOB_ID = "invoice-2024-001"
FILE_ID = "file_abc123"
MARK = Mark(JOB_ID, "tag-1")
REQUEST_ID = "req-7f3a"
APP_KEY = "app-3f9c1e"
SECRET_KEY = "sec-77d0ab"
CENTRAL_KEY = "ak_3f9c1e"
TOKEN = "t0kenT0kenT0kenT0kenT0ken"

MAX_FILE_BYTES = 3 * 1024 * 1024

PDF = b"%PDF-1.7\n" + b"1 0 obj\n<< /Producer (test) >>\nendobj\n" * 40 + b"trailer\n%%EOF\n"


def message(**changes: Any) -> dict[str, Any]:
    """What upstream sends, with other values for some of its fields."""
    return {
        "jobId": JOB_ID,
        "designId": DESIGN_ID,
        "version": 1,
        "content": {"fileName": "invoice.pdf", "params": {"amount": 10000}},
        **changes,
    }


def message_body(**changes: Any) -> str:
    return json.dumps(message(**changes), ensure_ascii=False)


POINTER_MARK = "software.amazon.payloadoffloading.PayloadS3Pointer"


FIRST_POINTER_MARK = "com.amazon.sqs.javamessaging.MessageS3Pointer"
"""Java's first generation, and Python's with its legacy attribute."""


def pointer(bucket: str, key: str = "payload", mark: str = POINTER_MARK) -> str:
    """What the SQS Extended Client libraries send in place of a large message."""
    return json.dumps([mark, {"s3BucketName": bucket, "s3Key": key}])


def notification(message: str) -> str:
    """What SNS sends to a queue without raw delivery."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
            "Message": message,
            "Timestamp": "2012-05-02T00:54:06.655Z",
            "SignatureVersion": "1",
        }
    )


def bus_event(detail: str) -> str:
    """What EventBridge sends to a queue without an input path."""
    return (
        '{"version":"0","id":"6a7e8feb","detail-type":"PDF wanted","source":"shop",'
        f'"account":"123456789012","resources":[],"detail":{detail}}}'
    )


def content(**changes: Any) -> dict[str, Any]:
    return {"fileName": "invoice.pdf", "params": {"amount": 10000}, **changes}


def request(contract: Contract = WORKSPACE, **changes: Any) -> GenerationRequest[Any]:
    return parse_request(message_body(**changes).encode(), contract)


def body_of(request: GenerationRequest[Any]) -> bytes:
    """What ReportFlow gets for it."""
    return WORKSPACE.body(request, MARK)


def by_uuid(uuid: str) -> str:
    """The reference of a file whose webhook named this uuid."""
    return f"workspace uuid {uuid}"


def by_url(url: str) -> str:
    """The reference of a file whose 202 named this URL."""
    return f"workspace url {url}"


def completed_body(**changes: Any) -> str:
    """A message of the download queue."""
    return json.dumps(
        {
            "kind": "completed",
            "fileId": FILE_ID,
            "reference": by_uuid("9b2d6f"),
            "designId": DESIGN_ID,
            "version": 1,
            "requestDigest": request().digest,
            **changes,
        }
    )


def check_body(**changes: Any) -> str:
    """The other message of the download queue."""
    return json.dumps({"kind": "check", "jobId": JOB_ID, **changes})


def central_webhook_body(*files: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What ReportFlow posts by the contract `central`."""
    share = {"shareType": "01", "url": "https://re-port-flow.com/s/1", "passcodeEnabled": False}
    usual = {"fileId": "file_1", "fileName": "a.pdf", "share": share}
    return {
        **webhook_body(),
        "requestId": REQUEST_ID,
        "files": [{**usual, **file} for file in files or ({},)],
        **changes,
    }


def marked(mark: Mark = MARK, **passthrough: Any) -> dict[str, Any]:
    """The `passthrough` of a submission that carries the mark, as ReportFlow returns it."""
    return {"reportflowJob": {"jobId": mark.job_id, "tag": mark.tag}, **passthrough}


def webhook_body(**changes: Any) -> dict[str, Any]:
    """What ReportFlow posts."""
    return {
        "event": "file.completed",
        "timestamp": "2026-03-31T23:59:50Z",
        "workspaceId": "acme",
        "designId": DESIGN_ID,
        "version": 1,
        "files": [
            {"fileId": "file_1", "uuid": "u1", "fileName": "a.pdf", "params": {"name": "秘密"}},
            {"fileId": "file_2", "uuid": "u2", "fileName": "b.pdf", "params": {}},
        ],
        **changes,
    }
