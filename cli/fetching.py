"""Archived PDFs onto this machine's disk: verified, whole, and over no other file."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from cli.failures import CliError
from cli.records import Record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES: Final = 1024 * 1024
LONGEST_URL: Final = timedelta(days=7)
"""AWS signs no URL for longer."""


class NotFetched(Exception):
    """This job's PDF is not there, or not what its record says."""


@dataclass(frozen=True)
class Fetched:
    """Where a PDF lies now; `fresh` is false where it lay there before."""

    path: Path
    size: int
    fresh: bool


def fetch(s3: "S3Client", bucket: str, record: Record | None, folder: Path) -> Fetched:
    """Put the job's PDF into `folder` as `{jobId}.pdf`.

    Raises:
        NotFetched: it is not archived, its bytes are not those on the record, or another file has
            its name.
    """
    record = _archived(record)
    path = folder / f"{record['jobId']}.pdf"
    if path.exists():
        return _compared(path, record)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".unfinished-") as unfinished:
        digest = hashlib.sha256()
        size = 0
        try:
            body = s3.get_object(**_object(bucket, record))["Body"]
            for chunk in body.iter_chunks(CHUNK_BYTES):
                unfinished.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            raise NotFetched(f"the archive answers {code} for {record['archiveKey']}") from error
        if digest.hexdigest() != record["sha256"]:
            raise NotFetched(
                f"the archive's bytes are not those on the record: SHA-256 {digest.hexdigest()}, "
                f"expected {record['sha256']}"
            )
        unfinished.flush()
        os.fsync(unfinished.fileno())
        Path(unfinished.name).chmod(0o644 & ~_umask())
        try:
            # Unlike a rename, a link never takes another file's place.
            os.link(unfinished.name, path)
        except FileExistsError:
            return _compared(path, record)
    return Fetched(path, size, fresh=True)


def signed_url(s3: "S3Client", bucket: str, record: Record | None, expires: timedelta) -> str:
    """A URL by which anyone gets the job's PDF, until it expires.

    Raises:
        NotFetched: it is not archived.
    """
    return s3.generate_presigned_url(
        "get_object",
        Params=_object(bucket, _archived(record)),
        ExpiresIn=int(expires.total_seconds()),
    )


def make_folder(folder: Path) -> None:
    """Have the folder there.

    Raises:
        CliError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"{folder} cannot be made: {error.strerror}.") from error


def _compared(path: Path, record: Record) -> Fetched:
    with path.open("rb") as there:
        if hashlib.file_digest(there, "sha256").hexdigest() != record["sha256"]:
            raise NotFetched(f"{path} is there with other bytes and is left as it is")
    return Fetched(path, path.stat().st_size, fresh=False)


def _archived(record: Record | None) -> Record:
    if record is None:
        raise NotFetched("there is no such job")
    if record["status"] != "ARCHIVED":
        raise NotFetched(f"the job is {record['status']}")
    return record


def _object(bucket: str, record: Record) -> Any:  # noqa: ANN401  (a request of boto3)
    """The very version of the object that the record names."""
    version = record.get("archiveVersionId", "")
    wanted = {"VersionId": version} if version not in {"", "null"} else {}
    return {"Bucket": bucket, "Key": record["archiveKey"], **wanted}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
