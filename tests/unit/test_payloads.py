from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cli.documents import is_pointer
from local.backend import Backend
from reportflow.errors import Permanent, Retryable
from reportflow.messages import MAX_METADATA_BYTES
from reportflow.payloads import Payloads
from tests.unit.peer import Peer, answer
from tests.unit.samples import (
    FIRST_POINTER_MARK,
    POINTER_MARK,
    bus_event,
    message_body,
    notification,
    pointer,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def unused() -> "S3Client":
    pytest.fail("asked for S3 although no payload of ours is there")


MAX_REQUEST_BYTES = 1_000_000


def payloads_of(client: "Callable[[], S3Client]", buckets: tuple[str, ...]) -> Payloads:
    return Payloads(client, buckets, max_request_bytes=MAX_REQUEST_BYTES)


@pytest.mark.parametrize("body", [message_body(), "{}", "no json", "", " {}", "請求書"])
def test_a_body_that_is_no_pointer_is_the_message_itself(body: str) -> None:
    assert payloads_of(unused, ("mine",)).resolve(body) == body.encode()


@pytest.mark.parametrize("mark", [POINTER_MARK, FIRST_POINTER_MARK])
@pytest.mark.parametrize("envelope", [str, notification])
def test_a_pointer_of_either_generation_is_followed_in_an_envelope_too(
    aws: Backend, bucket: str, envelope: Callable[[str], str], mark: str
) -> None:
    content = message_body().encode()
    aws.client("s3").put_object(Bucket=bucket, Key="k", Body=content)
    body = envelope(pointer(bucket, "k", mark))

    assert payloads_of(lambda: aws.client("s3"), (bucket,)).resolve(body) == content
    assert is_pointer(body.encode())


@pytest.mark.parametrize("envelope", [notification, bus_event])
def test_a_message_in_an_envelope_is_the_message(envelope: Callable[[str], str]) -> None:
    body = envelope(message_body())

    assert payloads_of(unused, ("mine",)).resolve(body) == message_body().encode()
    assert not is_pointer(body.encode())


@pytest.mark.parametrize("white_space", ["", " \n"])
def test_a_pointer_is_followed_to_the_very_bytes(
    aws: Backend, bucket: str, white_space: str
) -> None:
    content = message_body(metadata={"名": "株式会社"}).encode() + b"\xff"
    aws.client("s3").put_object(Bucket=bucket, Key="pay/ロード", Body=content)
    payloads = payloads_of(lambda: aws.client("s3"), ("other", bucket))

    assert payloads.resolve(white_space + pointer(bucket, "pay/ロード")) == content


@pytest.mark.parametrize(
    "body",
    [
        "[",
        "[]",
        f'["{POINTER_MARK}"]',
        f'["{POINTER_MARK}", {{}}]',
        f'["{FIRST_POINTER_MARK}", {{}}]',
        notification("[]"),
        f'["{POINTER_MARK}", {{"s3BucketName": "mine"}}]',
        f'["{POINTER_MARK}", {{"s3BucketName": 1, "s3Key": "k"}}]',
        '["other.Pointer", {"s3BucketName": "mine", "s3Key": "k"}]',
        "[" * 200_000,
    ],
    ids=lambda body: body[:70],
)
def test_a_malformed_pointer_is_an_invalid_message(body: str) -> None:
    with pytest.raises(Permanent, match="INVALID_MESSAGE"):
        payloads_of(unused, ("mine",)).resolve(body)


@pytest.mark.parametrize("buckets", [(), ("mine",), ("theirs2",)])
def test_a_bucket_that_the_deployment_does_not_name_is_never_asked(
    buckets: tuple[str, ...],
) -> None:
    with pytest.raises(Permanent, match="PAYLOAD_BUCKET_UNKNOWN"):
        payloads_of(unused, buckets).resolve(pointer("theirs"))


def test_a_payload_that_is_gone_is_named(aws: Backend, bucket: str) -> None:
    payloads = payloads_of(lambda: aws.client("s3"), (bucket, "no-such-bucket-7f"))

    with pytest.raises(Permanent, match="PAYLOAD_MISSING"):
        payloads.resolve(pointer(bucket, "absent"))
    with pytest.raises(Permanent, match="PAYLOAD_MISSING"):
        payloads.resolve(pointer("no-such-bucket-7f"))


@pytest.fixture
def payloads(peer: Peer, client_at: Callable[[str, str], Any]) -> Payloads:
    """From an S3 that answers as the test says."""
    return payloads_of(lambda: client_at("s3", peer.url), ("mine",))


def test_a_payload_above_the_limit_is_not_read(payloads: Payloads, peer: Peer) -> None:
    head, _ = answer(200, Content_Length=str(MAX_REQUEST_BYTES + MAX_METADATA_BYTES + 1))
    peer.respond = lambda _: [head, b"{}"]

    with pytest.raises(Permanent, match="PAYLOAD_TOO_LARGE"):
        payloads.resolve(pointer("mine"))


@pytest.mark.parametrize("length", [0, 1, 99])
def test_a_payload_that_is_cut_off_can_be_read_again(
    payloads: Payloads, peer: Peer, length: int
) -> None:
    head, _ = answer(200, Content_Length="100")
    peer.respond = lambda _: [head, b"x" * length]

    with pytest.raises(Retryable):
        payloads.resolve(pointer("mine"))


@pytest.mark.parametrize("status", [403, 500, 503])
def test_an_s3_that_refuses_can_be_asked_again(payloads: Payloads, peer: Peer, status: int) -> None:
    peer.respond = lambda _: answer(status)

    with pytest.raises(Retryable):
        payloads.resolve(pointer("mine"))
