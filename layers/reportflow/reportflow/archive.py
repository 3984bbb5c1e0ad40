"""Stores PDFs in the S3 archive: one object per job, written once."""

from base64 import b64decode, b64encode
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote

from reportflow import aws
from reportflow.errors import Permanent, Unavailable
from reportflow.jobs import ArchivedFile, Job
from reportflow.pdf import ReceivedPdf

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_EXISTS: Final = frozenset({"AWS_PreconditionFailed", "AWS_412"})
_MISSING: Final = frozenset({"AWS_NoSuchKey", "AWS_404"})


class S3Archive:
    """Writes PDFs to one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def store(self, job: Job, pdf: ReceivedPdf, content: IO[bytes]) -> ArchivedFile:
        """Store the job's PDF, unless a crashed attempt has stored one for the same document.

        S3 checks the SHA-256 and refuses to overwrite an object. The earlier attempt's PDF stays,
        even if ReportFlow rendered this one again. botocore's retries rewind `content`.

        Raises:
            Permanent: the job's key holds another document.
            Retryable: S3 does not answer, or refuses.
        """
        key = job.key()
        try:
            with aws.translated("s3:PutObject"):
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=b64encode(pdf.sha256).decode(),
                    ContentType="application/pdf",
                    ContentDisposition=content_disposition(job.file_name),
                    Metadata={
                        "job-id": job.job_id,
                        "file-id": job.file_id,
                        "request-digest": job.request_digest,
                    },
                )
        except Unavailable as error:
            if error.code not in _EXISTS:
                raise
            if (found := self.find(job)) is None:
                raise Permanent(
                    "ARCHIVE_CONFLICT",
                    f"the archive holds another document under {key}: move it away, then redrive "
                    "the message",
                ) from error
            return found
        version = answer.get("VersionId", "")
        return ArchivedFile(job.file_id, self._bucket, key, version, pdf.size, pdf.sha256.hex())

    def find(self, job: Job) -> ArchivedFile | None:
        """Return the job's PDF if an attempt stored it and crashed before it updated the record.

        Raises:
            Retryable: S3 does not answer, or refuses.
        """
        key = job.key()
        try:
            with aws.translated("s3:HeadObject"):
                found = self._client.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
                )
        except Unavailable as error:
            if error.code in _MISSING:
                return None
            raise
        metadata = found.get("Metadata", {})
        checksum = found.get("ChecksumSHA256", "")
        if not checksum or metadata.get("request-digest") != job.request_digest:
            return None
        if job.doubtful_file_id and metadata.get("file-id") == job.doubtful_file_id:
            return None
        return ArchivedFile(
            metadata.get("file-id", ""),
            self._bucket,
            key,
            found.get("VersionId", ""),
            found["ContentLength"],
            b64decode(checksum).hex(),
        )


def content_disposition(file_name: str) -> str:
    """Return the header with which browsers save the file under its own name (RFC 6266, RFC 8187).

    S3 takes 2,048 bytes of such headers, which `messages.MAX_FILE_NAME_BYTES` keeps.
    """
    return f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
