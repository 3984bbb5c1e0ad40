"""`fetch`: verified, complete, and never over another file."""

import hashlib
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from botocore.exceptions import ClientError

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import JobIds, Json, duration, job_ids_of
from cli.failures import CliError, ExitCode, aws_code
from cli.records import Record, Records
from cli.target import Target

CHUNK_BYTES: Final = 1024 * 1024
LONGEST_URL: Final = timedelta(days=7)
"""AWS signs no URL for longer."""


def fetch(
    context: typer.Context,
    jobs: JobIds,
    output_folder: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Write JOB.pdf of each job here."),
    ] = Path(),
    url: Annotated[
        bool,
        typer.Option(
            "--url", help="Print a URL that gives the PDF to anyone who has it, for --expires."
        ),
    ] = False,
    expires: Annotated[
        timedelta,
        typer.Option(parser=duration, metavar="TIME", help="Of --url; AWS allows 7d at most."),
    ] = "1h",  # type: ignore[assignment]  # typer parses the default
    open_: Annotated[
        bool, typer.Option("--open", help="Open each PDF when it is fetched.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch archived PDFs, each verified by SHA-256.

    An existing file is never changed. A URL of --url ends sooner if the credentials that signed it
    do.

    Status 1: a PDF could not be fetched.

    Example: `reportflow fetch invoice-2024-001 --output pdfs/`
    """
    if expires > LONGEST_URL:
        raise typer.BadParameter("at most 7d", param_hint="--expires")
    job_ids = job_ids_of(jobs)
    target = target_of(context)
    found = Records(target).get(job_ids)
    if not url:
        _make_folder(output_folder)
    failed = 0
    sign, seconds = target.s3.generate_presigned_url, int(expires.total_seconds())
    with output.progress(prints=True) as progress:
        for job_id in progress.track(job_ids, description="fetch"):
            try:
                record = _archived(found.get(job_id))
                result = (
                    {"url": sign("get_object", _object(target, record), seconds)}
                    if url
                    else _fetch(target, record, output_folder)
                )
            except NotFetched as error:
                failed += 1
                output.note(f"{job_id}: {error}", style="red")
                continue
            shown = result["url" if url else "path"]
            if as_json:
                output.json_line({"jobId": job_id, **result})
            else:
                output.say(shown)
            if open_ and not url:
                typer.launch(shown)
    if failed:
        raise typer.Exit(ExitCode.FINDINGS)


class NotFetched(Exception):
    """The job's PDF is not there, or not what its record says."""


def _fetch(target: Target, record: Record, folder: Path) -> dict[str, Any]:
    """Write the PDF into the folder; `fresh` is false if it was there before.

    Raises:
        NotFetched: S3 does not have it, its bytes are others than those in the record, or another
            file has its name.
    """
    path = folder / f"{record['jobId']}.pdf"
    if path.exists():
        return _compared(path, record)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".unfinished-") as unfinished:
        digest = hashlib.sha256()
        try:
            body = target.s3.get_object(**_object(target, record))["Body"]
            for chunk in body.iter_chunks(CHUNK_BYTES):
                unfinished.write(chunk)
                digest.update(chunk)
        except ClientError as error:
            what = f"the archive answers {aws_code(error)} for {record['archiveKey']}"
            raise NotFetched(what) from error
        if digest.hexdigest() != record["sha256"]:
            raise NotFetched(
                "the archive's bytes are not those in the record: expected SHA-256 "
                f"{record['sha256']}, got {digest.hexdigest()}"
            )
        unfinished.flush()
        os.fsync(unfinished.fileno())
        os.umask(mask := os.umask(0))
        Path(unfinished.name).chmod(0o644 & ~mask)
        try:
            # Unlike a rename, a link never takes another file's place.
            os.link(unfinished.name, path)
        except FileExistsError:
            return _compared(path, record)
    return _result(path, record, fresh=True)


def _compared(path: Path, record: Record) -> dict[str, Any]:
    with path.open("rb") as there:
        if hashlib.file_digest(there, "sha256").hexdigest() != record["sha256"]:
            raise NotFetched(f"{path} exists with other bytes and is left as it is")
    return _result(path, record, fresh=False)


def _result(path: Path, record: Record, *, fresh: bool) -> dict[str, Any]:
    size = path.stat().st_size
    return {"path": str(path), "size": size, "sha256": record["sha256"], "fresh": fresh}


def _archived(record: Record | None) -> Record:
    if record is None:
        raise NotFetched("there is no such job")
    if record["status"] != "ARCHIVED":
        raise NotFetched(f"the job is {record['status']}")
    return record


def _object(target: Target, record: Record) -> Any:  # noqa: ANN401  (a request of boto3)
    """Return the very version of the object that the record names."""
    version = record.get("archiveVersionId", "")
    wanted = {"VersionId": version} if version not in {"", "null"} else {}
    return {"Bucket": target.archive_bucket, "Key": record["archiveKey"], **wanted}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"{folder} cannot be created: {error.strerror}.") from error
