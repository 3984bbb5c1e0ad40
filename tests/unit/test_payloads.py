import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from local.backend import Backend
from reportflow.errors import Permanent, Retryable
from reportflow.payloads import MAX_PAYLOAD_BYTES, Payloads
from tests.unit.peer import Peer, Respond, answer
from tests.unit.samples import message_body

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MARK = "software.amazon.payloadoffloading.PayloadS3Pointer"


def pointer(bucket: str, key: str = "payload") -> str:
    return json.dumps([MARK, {"s3BucketName": bucket, "s3Key": key}])


def unused() -> "S3Client":
    pytest.fail("asked for S3 although no payload of ours is there")


@pytest.mark.parametrize("body", [message_body(), "{}", "no json", "", " {}", "請求書"])
def test_a_body_that_is_no_pointer_is_the_message_itself(body: str) -> None:
    assert Payloads(unused, ("mine",)).resolve(body) == body.encode()


@pytest.mark.parametrize("white_space", ["", " \n"])
def test_a_pointer_is_followed_to_the_very_bytes(
    aws: Backend, bucket: str, white_space: str
) -> None:
    content = message_body(metadata={"名": "株式会社"}).encode() + b"\xff"
    aws.client("s3").put_object(Bucket=bucket, Key="pay/ロード", Body=content)
    payloads = Payloads(lambda: aws.client("s3"), ("other", bucket))

    assert payloads.resolve(white_space + pointer(bucket, "pay/ロード")) == content


@pytest.mark.parametrize(
    "body",
    [
        "[",
        "[]",
        f'["{MARK}"]',
        f'["{MARK}", {{}}]',
        f'["{MARK}", {{"s3BucketName": "mine"}}]',
        f'["{MARK}", {{"s3BucketName": 1, "s3Key": "k"}}]',
        '["other.Pointer", {"s3BucketName": "mine", "s3Key": "k"}]',
        "[" * 200_000,
    ],
    ids=lambda body: body[:70],
)
def test_a_malformed_pointer_is_an_invalid_message(body: str) -> None:
    with pytest.raises(Permanent, match="INVALID_MESSAGE"):
        Payloads(unused, ("mine",)).resolve(body)


@pytest.mark.parametrize("buckets", [(), ("mine",), ("theirs2",)])
def test_a_bucket_that_the_deployment_does_not_name_is_never_asked(
    buckets: tuple[str, ...],
) -> None:
    with pytest.raises(Permanent, match="PAYLOAD_BUCKET_UNKNOWN"):
        Payloads(unused, buckets).resolve(pointer("theirs"))


def test_a_payload_that_is_gone_is_named(aws: Backend, bucket: str) -> None:
    payloads = Payloads(lambda: aws.client("s3"), (bucket, "no-such-bucket-7f"))

    with pytest.raises(Permanent, match="PAYLOAD_MISSING"):
        payloads.resolve(pointer(bucket, "absent"))
    with pytest.raises(Permanent, match="PAYLOAD_MISSING"):
        payloads.resolve(pointer("no-such-bucket-7f"))


@pytest.fixture
def from_peer(peer: Peer) -> "Callable[[Respond], Payloads]":
    """Payloads from an S3 that answers as it is told to."""
    client = boto3.client(
        "s3",
        endpoint_url=peer.url,
        region_name="ap-northeast-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    def make(respond: Respond) -> Payloads:
        peer.respond = respond
        return Payloads(lambda: client, ("mine",))

    return make


def test_a_payload_above_the_limit_is_not_read(
    from_peer: "Callable[[Respond], Payloads]",
) -> None:
    head, _ = answer(200, Content_Length=str(MAX_PAYLOAD_BYTES + 1))

    with pytest.raises(Permanent, match="PAYLOAD_TOO_LARGE"):
        from_peer(lambda _: [head, b"{}"]).resolve(pointer("mine"))


@pytest.mark.parametrize("length", [0, 1, 99])
def test_a_payload_that_is_cut_off_can_be_read_again(
    from_peer: "Callable[[Respond], Payloads]", length: int
) -> None:
    head, _ = answer(200, Content_Length="100")

    with pytest.raises(Retryable):
        from_peer(lambda _: [head, b"x" * length]).resolve(pointer("mine"))


@pytest.mark.parametrize("status", [403, 500, 503])
def test_an_s3_that_refuses_can_be_asked_again(
    from_peer: "Callable[[Respond], Payloads]", status: int
) -> None:
    with pytest.raises(Retryable):
        from_peer(lambda _: answer(status)).resolve(pointer("mine"))
