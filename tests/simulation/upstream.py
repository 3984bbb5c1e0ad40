"""What upstream systems send: mostly right, sometimes twice, sometimes wrong."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.simulation.reportflow_service import Design, content_key

PAYLOAD_BUCKET: Final = "payloads"
_POINTER: Final = "software.amazon.payloadoffloading.PayloadS3Pointer"

_INVALID: Final = (
    "",
    "{",
    "[]",
    '{"designId": "x"}',
    "\ud800".encode(errors="replace").decode(),
    '["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]',
)


@dataclass(frozen=True)
class Sending:
    """One message of upstream's: when it is sent, and what it asks for.

    `job_id` is None where the message names none; `content` where it is no request at all.
    """

    at: float
    body: str
    job_id: str | None
    content: str | None
    payload: tuple[str, bytes] | None = None
    again: bool = False


def sendings(
    rng: random.Random, jobs: int, seconds: float, *, twice: float, trouble: bool
) -> list[Sending]:
    """The messages of `jobs` jobs, within so many seconds.

    `twice` is the chance that a job is sent again; `trouble` brings jobs that cannot end well.
    """
    made: list[Sending] = []
    for number in range(jobs):
        at = rng.random() * seconds
        if trouble and rng.random() < 0.03:
            made.append(_invalid(rng, number, at))
            continue
        job_id = f"job-{number:03}" if rng.random() < 0.8 else None
        design = Design.GOOD
        if trouble and rng.random() < 0.08:
            design = rng.choice((Design.MISSING, Design.BROKEN, Design.SILENT, Design.NO_PDF))
        # Some documents are asked for by two jobs.
        subject = number - 1 if number and rng.random() < 0.04 else number
        document = _document(design, subject)
        first = _sending(rng, at, job_id, document)
        made.append(first)
        if job_id is None:
            continue
        while rng.random() < twice:
            # Often in the same batch, where only the claim's condition separates them.
            later = rng.random() * (4000 if rng.random() < 0.7 else 0.1)
            again = _sending(rng, at + later, job_id, document)
            made.append(replace(again, again=True))
        if trouble and rng.random() < 0.02:
            other = _document(design, jobs + number)
            made.append(_sending(rng, at + rng.random() * 100, job_id, other))
    if trouble and rng.random() < 0.07:
        made.append(_sending(rng, 1.0, "job-poison", _document(Design.POISON, 2 * jobs)))
    if trouble and rng.random() < 0.05:
        document = _document(Design.POISON_PDF, 2 * jobs + 1)
        made.append(_sending(rng, 1.0, "job-poison-pdf", document))
    return made


def _document(design: Design, subject: int) -> Mapping[str, Any]:
    return {
        "designId": design,
        "version": 1 + subject % 3,
        "content": {"fileName": "請求書.pdf", "params": {"subject": subject, "amount": 10.5}},
    }


def _sending(
    rng: random.Random, at: float, job_id: str | None, document: Mapping[str, Any]
) -> Sending:
    message = dict(document)
    if job_id is not None:
        message["jobId"] = job_id
    if rng.random() < 0.2:
        message["metadata"] = {"tenant": "acme"}
    body = json.dumps(message, ensure_ascii=False)
    content = document["content"]
    key = content_key(
        document["designId"], document["version"], content["fileName"], content["params"]
    )
    if rng.random() < 0.05:
        name = f"payload-{rng.random()}"
        pointer = json.dumps([_POINTER, {"s3BucketName": PAYLOAD_BUCKET, "s3Key": name}])
        return Sending(at, pointer, job_id, key, (name, body.encode()))
    return Sending(at, body, job_id, key)


def _invalid(rng: random.Random, number: int, at: float) -> Sending:
    body = rng.choice(_INVALID)
    if rng.random() < 0.3:
        job_id = f"job-{number:03}"
        return Sending(at, json.dumps({"jobId": job_id, "version": 0}), job_id, None)
    return Sending(at, body, None, None)


def one_job(job_id: str, subject: int) -> Sending:
    """A message that can end well, sent at once."""
    return _sending(random.Random(subject), 0.0, job_id, _document(Design.GOOD, subject))
