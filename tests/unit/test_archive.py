import hashlib
import io
import re
from base64 import b64decode
from copy import replace
from urllib.parse import unquote

import pytest

from local.backend import Backend
from reportflow.archive import S3Archive, content_disposition
from reportflow.errors import Permanent, Retryable
from reportflow.jobs import Job, JobStatus
from reportflow.messages import MAX_FILE_NAME_BYTES
from reportflow.pdf import ReceivedPdf
from tests.unit.clock import START
from tests.unit.samples import DESIGN_ID, PDF

JOB = Job(
    job_id="invoice-1",
    status=JobStatus.SUBMITTED,
    created_at=START,
    design_id=DESIGN_ID,
    version=1,
    file_name="請求書_7.pdf",
    request_digest="5f" * 32,
    file_id="file_abc123",
)


@pytest.fixture
def archive(aws: Backend, bucket: str) -> S3Archive:
    return S3Archive(aws.client("s3"), bucket)


def described(content: bytes) -> ReceivedPdf:
    return ReceivedPdf(len(content), hashlib.sha256(content).digest())


def test_the_object_is_what_was_received_and_says_whose_it_is(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    stored = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    found = aws.client("s3").get_object(Bucket=bucket, Key=stored.archive_key)
    assert found["Body"].read() == PDF
    assert found["VersionId"] == stored.archive_version_id
    assert found["ContentType"] == "application/pdf"
    assert found["Metadata"] == {
        "job-id": JOB.job_id,
        "file-id": JOB.file_id,
        "request-digest": JOB.request_digest,
    }
    assert (stored.size, stored.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())


def test_the_key_is_made_of_design_day_job_and_name(archive: S3Archive) -> None:
    stored = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    assert stored.archive_key == f"{DESIGN_ID}/2026/03/31/invoice-1/請求書_7.pdf"


def test_a_second_attempt_with_the_same_bytes_finds_the_first_ones_object(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    first = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    assert archive.store(JOB, described(PDF), io.BytesIO(PDF)) == first
    versions = aws.client("s3").list_object_versions(Bucket=bucket)["Versions"]
    assert [version["VersionId"] for version in versions] == [first.archive_version_id]


def test_what_an_attempt_stored_is_found_and_nothing_else(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    assert archive.find(JOB) is None

    stored = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    assert archive.find(JOB) == stored
    assert archive.find(replace(JOB, file_id="file_of_a_second_life")) == stored
    assert archive.find(replace(JOB, request_digest="6f" * 32)) is None


def test_a_document_that_was_made_anew_is_archived_once(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    first = archive.store(JOB, described(PDF), io.BytesIO(PDF))
    again = PDF + b"\n"
    second_life = replace(JOB, file_id="file_of_a_second_life")

    assert archive.store(second_life, described(again), io.BytesIO(again)) == first
    assert aws.client("s3").get_object(Bucket=bucket, Key=first.archive_key)["Body"].read() == PDF


def test_another_document_under_the_jobs_key_is_a_conflict_and_stays(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    first = archive.store(JOB, described(PDF), io.BytesIO(PDF))
    fixed = replace(JOB, request_digest="6f" * 32)

    with pytest.raises(Permanent, match="ARCHIVE_CONFLICT"):
        archive.store(fixed, described(PDF), io.BytesIO(PDF))
    assert aws.client("s3").get_object(Bucket=bucket, Key=first.archive_key)["Body"].read() == PDF


def test_an_object_without_a_checksum_is_not_taken_for_ours(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key=JOB.key(), Body=PDF, ChecksumAlgorithm="CRC32")

    with pytest.raises(Permanent, match="ARCHIVE_CONFLICT"):
        archive.store(JOB, described(PDF), io.BytesIO(PDF))


def test_s3_gets_the_digest_of_what_was_received(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    stored = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    found = aws.client("s3").head_object(
        Bucket=bucket, Key=stored.archive_key, ChecksumMode="ENABLED"
    )
    assert b64decode(found["ChecksumSHA256"]) == hashlib.sha256(PDF).digest()


def test_a_bucket_that_refuses_can_be_tried_again(aws: Backend) -> None:
    absent = S3Archive(aws.client("s3"), "no-such-bucket-7f")

    with pytest.raises(Retryable, match="AWS_NoSuchBucket"):
        absent.store(JOB, described(PDF), io.BytesIO(PDF))


NAMES = [
    "invoice.pdf",
    "請求書.pdf",
    "か\u3099.pdf",
    "２０２４年ー控え・々.pdf",
    "-_.pdf",
    "請" * 200,
    "請a" * 100,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:12])
def test_a_browser_saves_the_file_by_its_own_name(name: str) -> None:
    header = content_disposition(name)

    assert header.isascii()
    extended = re.search(r"filename\*=UTF-8''(\S+)$", header)
    assert extended is not None
    assert unquote(extended[1]) == name


@pytest.mark.parametrize("character", ["請", "\U00020bb7"], ids=ascii)
def test_the_header_stays_below_the_two_kilobytes_that_s3_has_for_it(character: str) -> None:
    name = character * (MAX_FILE_NAME_BYTES // len(character.encode()))
    others = len("Content-Type") + len("application/pdf")

    assert len("Content-Disposition") + len(content_disposition(name)) + others < 2048


def test_the_archived_header_is_that_of_the_name(
    aws: Backend, bucket: str, archive: S3Archive
) -> None:
    stored = archive.store(JOB, described(PDF), io.BytesIO(PDF))

    found = aws.client("s3").head_object(Bucket=bucket, Key=stored.archive_key)
    assert found["ContentDisposition"] == content_disposition(JOB.file_name)
