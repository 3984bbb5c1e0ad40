"""A message that is too large for SQS comes as a pointer to its body in S3."""

import json

from tests.pipeline.driver import Driver, body, new_id


def test_large_body_comes_by_claim_check(driver: Driver, payload_bucket: str) -> None:
    job_id = new_id("large")
    params = {"customerName": "Large", "notes": "words " * 200_000}
    content = {"fileName": "large.pdf", "params": params}
    driver.s3.put_object(
        Bucket=payload_bucket, Key="p/1", Body=json.dumps(body(job_id, content=content)).encode()
    )
    pointer = [
        "software.amazon.payloadoffloading.PayloadS3Pointer",
        {"s3BucketName": payload_bucket, "s3Key": "p/1"},
    ]
    driver.send(json.dumps(pointer))

    assert driver.ended(job_id)["status"] == "ARCHIVED"


def test_claim_check_from_a_strange_bucket_is_refused(driver: Driver) -> None:
    pointer = [
        "software.amazon.payloadoffloading.PayloadS3Pointer",
        {"s3BucketName": "somebody-elses", "s3Key": "p/1"},
    ]
    message_id = driver.send(json.dumps(pointer))

    assert driver.ended(message_id)["errorCode"] == "PAYLOAD_BUCKET_UNKNOWN"
