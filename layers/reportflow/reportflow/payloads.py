"""Fetches message bodies that are too large for SQS from S3 (claim check pattern).

The SQS Extended Client libraries send the pointer `[CLASS, {s3BucketName, s3Key}]` as the body.
Current versions for Java and Python write the first CLASS below. Java's version 1, and Python's
with its legacy attribute, write the second one.
"""

from contextlib import closing
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from reportflow import aws
from reportflow.errors import PayloadMissing, Permanent, Unavailable
from reportflow.messages import MAX_METADATA_BYTES, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client


class _Location(msgspec.Struct):
    bucket: str = msgspec.field(name="s3BucketName")
    key: str = msgspec.field(name="s3Key")


_pointer_decoder: Final = msgspec.json.Decoder(
    tuple[
        Literal[
            "software.amazon.payloadoffloading.PayloadS3Pointer",
            "com.amazon.sqs.javamessaging.MessageS3Pointer",
        ],
        _Location,
    ]
)


class Payloads:
    """Fetches payloads from the buckets that the deployment allows."""

    def __init__(
        self,
        client: "Callable[[], S3Client]",
        buckets: tuple[str, ...],
        *,
        max_request_bytes: int,
    ) -> None:
        """Call `client` for the first pointer only: most deployments never receive one."""
        self._client = client
        self._buckets = buckets
        self._max_request_bytes = max_request_bytes

    def resolve(self, body: str) -> bytes:
        """Return the message: `body` without its envelope, or the object that `body` points to.

        Raises:
            PayloadMissing: S3 does not have the object.
            Permanent: the pointer is malformed, its bucket is not in `payload_buckets`, or the
                object is too large.
            Retryable: S3 does not answer.
        """
        message = unwrapped(body.encode())
        if not message.lstrip().startswith(b"["):
            # A request is never an array.
            return message
        try:
            _, location = _pointer_decoder.decode(message)
        except (ValueError, RecursionError) as error:
            raise Permanent(
                "INVALID_MESSAGE",
                "expected a JSON object, or the pointer of an SQS Extended Client library, got "
                "another array: fix the message and send it again",
            ) from error
        if location.bucket not in self._buckets:
            raise Permanent(
                "PAYLOAD_BUCKET_UNKNOWN",
                "the message points to a bucket that the setting payload_buckets does not name: "
                "add it and redrive, or send the payload through another bucket",
            )
        try:
            with aws.translated("s3:GetObject"):
                answer = self._client().get_object(Bucket=location.bucket, Key=location.key)
        except Unavailable as error:
            if error.code in {"AWS_NoSuchKey", "AWS_NoSuchBucket"}:
                raise PayloadMissing(
                    "PAYLOAD_MISSING",
                    "S3 does not have the payload's object: restore it, then redrive the message",
                ) from error
            raise
        # Not `with answer["Body"]`: that yields urllib3's stream, which raises urllib3's errors.
        with closing(answer["Body"]) as stream:
            if answer["ContentLength"] > self._max_request_bytes + MAX_METADATA_BYTES:
                raise Permanent(
                    "PAYLOAD_TOO_LARGE",
                    f"the payload has {answer['ContentLength']} bytes, but ReportFlow accepts "
                    f"{self._max_request_bytes} at most: send a smaller request",
                )
            with aws.translated("s3:GetObject"):
                return stream.read()
