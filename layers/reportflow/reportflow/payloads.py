"""Claim check: a body too large for SQS, behind the pointer of the SQS Extended Client libraries.

The libraries put `[CLASS, {s3BucketName, s3Key}]` in the message's place. CLASS is
`software.amazon.payloadoffloading.PayloadS3Pointer` in awslabs' libraries for Java and for Python.
Java's first generation, and Python's with its legacy attribute, write
`com.amazon.sqs.javamessaging.MessageS3Pointer`.
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


def is_pointer(body: str) -> bool:
    """Whether a message's body, in an envelope or not, is meant to be a pointer.

    No request is an array.
    """
    return _is_array(unwrapped(body.encode()))


def _is_array(body: bytes) -> bool:
    return body.lstrip().startswith(b"[")


class Payloads:
    """Fetches the body behind a pointer, from the named buckets only."""

    def __init__(
        self,
        client: "Callable[[], S3Client]",
        buckets: tuple[str, ...],
        *,
        max_request_bytes: int,
    ) -> None:
        """`client` is called when the first pointer comes: most deployments never see one."""
        self._client = client
        self._buckets = buckets
        self._max_request_bytes = max_request_bytes

    def resolve(self, body: str) -> bytes:
        """The message itself: `body` without an envelope, or what the pointer in it points at.

        Raises:
            PayloadMissing: the object is not there.
            Permanent: the pointer is malformed, its bucket is not one of ours, the object is too
                large.
            Retryable: S3 does not answer.
        """
        message = unwrapped(body.encode())
        if not _is_array(message):
            return message
        try:
            _, location = _pointer_decoder.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Permanent(
                "INVALID_MESSAGE", "expected an object, or the pointer of an SQS Extended Client"
            ) from error
        if location.bucket not in self._buckets:
            raise Permanent(
                "PAYLOAD_BUCKET_UNKNOWN",
                "the payload's bucket is not among payload_buckets of this deployment",
            )
        try:
            with aws.translated("s3:GetObject"):
                answer = self._client().get_object(Bucket=location.bucket, Key=location.key)
        except Unavailable as error:
            if error.code in {"AWS_NoSuchKey", "AWS_NoSuchBucket"}:
                raise PayloadMissing(
                    "PAYLOAD_MISSING",
                    "the payload's object is not there: put it back, then redrive the message",
                ) from error
            raise
        # As a context manager a StreamingBody is urllib3's stream, whose errors are not botocore's.
        with closing(answer["Body"]) as stream:
            if answer["ContentLength"] > self._max_request_bytes + MAX_METADATA_BYTES:
                raise Permanent(
                    "PAYLOAD_TOO_LARGE",
                    f"the payload has {answer['ContentLength']} bytes, ReportFlow takes "
                    f"{self._max_request_bytes}",
                )
            with aws.translated("s3:GetObject"):
                return stream.read()
