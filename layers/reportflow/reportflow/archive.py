"""The archive in S3: one object a job, written once."""

import re
from base64 import b64decode, b64encode
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote

from botocore.exceptions import ClientError

from reportflow import aws
from reportflow.errors import Permanent, Retryable
from reportflow.jobs import ArchivedFile, Job
from reportflow.pdf import ReceivedPdf

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_ALREADY_THERE: Final = frozenset({"PreconditionFailed", "412"})
_NOT_THERE: Final = frozenset({"NoSuchKey", "404"})


class S3Archive:
    """Writes PDFs to one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def store(self, job: Job, pdf: ReceivedPdf, content: IO[bytes]) -> ArchivedFile:
        """Write the job's PDF, or find it there from an attempt that died before it said so.

        S3 itself checks the SHA-256 and refuses to write over an object. Retries of the call read
        `content` from its start again.

        Raises:
            Permanent: the job's key holds other bytes.
            Retryable: S3 does not answer, or refuses.
        """
        key = job.archive_key()
        checksum = b64encode(pdf.sha256).decode()
        try:
            version = self._put(job, key, checksum, content)
        except FileExistsError:
            version = self._find(key, checksum)
        return ArchivedFile(key, version, pdf.size, pdf.sha256.hex())

    def find(self, job: Job) -> ArchivedFile | None:
        """The job's PDF, where an attempt stored it and died before it said so.

        Raises:
            Retryable: S3 does not answer, or refuses.
        """
        key = job.archive_key()
        try:
            found = self._head(key)
        except FileNotFoundError:
            return None
        checksum = found.get("ChecksumSHA256", "")
        if not checksum or found.get("Metadata", {}).get("file-id") != job.file_id:
            return None
        return ArchivedFile(
            key, found.get("VersionId", ""), found["ContentLength"], b64decode(checksum).hex()
        )

    def _put(self, job: Job, key: str, checksum: str, content: IO[bytes]) -> str:
        with aws.translated("s3:PutObject"):
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=checksum,
                    ContentType="application/pdf",
                    ContentDisposition=content_disposition(job.file_name),
                    Metadata={"job-id": job.job_id, "file-id": job.file_id or ""},
                )
            except ClientError as error:
                if aws.code_of(error) in _ALREADY_THERE:
                    raise FileExistsError(key) from error
                raise
        return answer.get("VersionId", "")

    def _find(self, key: str, checksum: str) -> str:
        found = self._head(key)
        stored = found.get("ChecksumSHA256")
        if stored is None:
            raise Retryable("ARCHIVE_UNREADABLE", "S3 gives no checksum of the object in place")
        if b64decode(stored) != b64decode(checksum):
            raise Permanent(
                "ARCHIVE_CONFLICT", "the archive holds another file under this job's key"
            )
        return found.get("VersionId", "")

    def _head(self, key: str) -> "HeadObjectOutputTypeDef":
        with aws.translated("s3:HeadObject"):
            try:
                return self._client.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if aws.code_of(error) in _NOT_THERE:
                    raise FileNotFoundError(key) from error
                raise


def content_disposition(file_name: str) -> str:
    """The header under which a browser saves the file by its own name (RFC 6266, RFC 8187).

    S3 has two kilobytes for it, and each Japanese character takes nine bytes of them: in the plain
    name for old clients one `_` stands for a run of them.
    """
    plain = re.sub(r"[^\x00-\x7f]+", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
