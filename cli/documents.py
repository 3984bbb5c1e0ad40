"""Reads the documents that upstream sends, and checks them by the functions' own code."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.dead_letters import QueueName
from cli.failures import CliError
from reportflow.contract import Contract
from reportflow.contract.files import Mark
from reportflow.errors import Permanent
from reportflow.messages import GenerationRequest, is_job_id, parse_request, unwrapped
from reportflow.salvage import trials

LINES: Final = (".jsonl", ".ndjson")
DOCUMENT: Final = ".json"
STDIN: Final = "-"

_BOM: Final = b"\xef\xbb\xbf"
_metadata_decoder: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_NOT_TAKEN: Final = re.compile("[\ufffe\uffff]")
"""The characters that JSON may hold unescaped and SQS refuses."""


@dataclass(frozen=True)
class Document:
    """One message to send: `body` names its job. `metadata` is in one form, to compare it."""

    job_id: str
    body: str
    digest: str
    metadata: bytes
    place: str


@dataclass(frozen=True)
class Mistake:
    """What keeps a message from being sent: its place, and the field with what is wrong."""

    place: str
    text: str


@dataclass(frozen=True)
class Naming:
    """Where a job's id comes from if the document has none. `job_id` is that of a dead letter."""

    by_file_name: bool = False
    by_digest: bool = False
    job_id: str | None = None


class _DeadLetter(msgspec.Struct, rename="camel"):
    """A line that `dlq drop` or `dlq show --json` wrote."""

    job_id: str
    message_id: str
    queue: str
    body: str


_dead_letter_decoder: Final = msgspec.json.Decoder(_DeadLetter)


class _Empty(CliError):
    """A folder has no document."""


@dataclass
class Reading:
    """What was read: documents to send, each job once, and all mistakes.

    `repeated` counts documents that occur again. `skipped` are folders with sub-folders that were
    not read.
    """

    documents: list[Document] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    repeated: int = 0
    skipped: list[Path] = field(default_factory=list)


def read(
    sources: Sequence[str], naming: Naming, contract: Contract, *, recursive: bool = False
) -> Reading:
    """Read files, folders and, for `-`, standard input, and check them by the contract.

    A folder, and with `recursive` its sub-folders, gives its `.json`, `.jsonl` and `.ndjson` files.
    The last two and standard input hold one document a line. A `.json` file, or standard input that
    does not begin with a whole document, holds one. A line that `dlq drop` wrote stands for the
    message in it.

    Raises:
        CliError: a file cannot be read.
    """
    reading = Reading()
    seen: dict[str, Document] = {}
    for place, stem, content in _bodies(sources, reading.skipped, recursive=recursive):
        body, named = content, naming
        if kept := _dead_letter(content):
            if kept.queue != QueueName.REQUESTS:
                text = "a message of the download queue; only requests can be submitted"
                reading.mistakes.append(Mistake(place, text))
                continue
            body, named = kept.body.encode(), Naming(job_id=kept.job_id)
        try:
            made = document(body, place, contract, naming=named, stem=stem)
            former = seen.setdefault(made.job_id, made)
            if former is made:
                reading.documents.append(made)
            else:
                _refuse_other(made, former)
                reading.repeated += 1
        except Permanent as error:
            texts = mistakes(body, contract) or [error.message]
            reading.mistakes += [Mistake(place, _with_line(text, body)) for text in texts]
    return reading


def mistakes(body: bytes, contract: Contract) -> list[str]:
    """Name each field that is wrong, and what is wrong with it; none if the body is no object."""
    found = []
    for _, trial in trials(body):
        try:
            parse_request(trial, contract)
        except Permanent as error:
            found.append(error.message)
    return list(dict.fromkeys(found))


def is_pointer(body: bytes) -> bool:
    """Return whether a body, in an envelope or not, is a pointer: requests are never arrays."""
    return unwrapped(body).lstrip().startswith(b"[")


def _refuse_other(made: Document, former: Document) -> None:
    """Refuse a second document of a job, unless it is the same."""
    if former.digest != made.digest:
        text = f"jobId: {former.place} has the same {made.job_id!r} for another document"
        raise Permanent("JOB_ID_REUSED", text)
    if former.metadata != made.metadata:
        text = f"metadata: {former.place} has other metadata for the same job {made.job_id!r}"
        raise Permanent("JOB_ID_REUSED", f"{text}, and a job keeps one: give each its own jobId")


def document(
    body: bytes, place: str, contract: Contract, *, naming: Naming, stem: str | None = None
) -> Document:
    """Check a body, take it out of an envelope, and give it the id of its job.

    Raises:
        Permanent: as the functions would refuse it.
    """
    if is_pointer(body):
        raise Permanent(
            "INVALID_MESSAGE",
            "expected a JSON object, got an array. Put several documents into a .jsonl file, one a "
            "line. If this is a pointer to a body in S3, get that body and send it",
        )
    body = unwrapped(body)
    request = parse_request(body, contract)
    size = len(contract.body(request, Mark("", "")))
    if size > contract.max_request_bytes:
        most = contract.max_request_bytes
        raise Permanent("PAYLOAD_TOO_LARGE", f"{size} bytes, and ReportFlow takes {most}")
    job_id = _job_id(request, stem, naming)
    if request.job_id is msgspec.UNSET:
        body = b'{"jobId":"%s",%s' % (job_id.encode(), body.lstrip()[1:])
    text = _NOT_TAKEN.sub(lambda found: f"\\u{ord(found[0]):04x}", body.decode())
    metadata = msgspec.json.encode(
        _metadata_decoder.decode(request.metadata_json()), order="sorted"
    )
    return Document(job_id, text, request.digest, metadata, place)


def _dead_letter(body: bytes) -> _DeadLetter | None:
    try:
        return _dead_letter_decoder.decode(body)
    except (ValueError, RecursionError):
        return None


def _job_id(request: GenerationRequest[Any], stem: str | None, naming: Naming) -> str:
    own = request.job_id or naming.job_id
    if naming.by_file_name and stem is not None:
        if not is_job_id(stem):
            raise Permanent("INVALID_MESSAGE", f"jobId: the file's name {stem!r} cannot be one")
        if own not in {None, stem}:
            raise Permanent("INVALID_MESSAGE", f"jobId: {own!r} is not the file's name")
        return stem
    if own is not None:
        return own
    if naming.by_digest:
        return f"doc-{request.digest}"
    raise Permanent(
        "INVALID_MESSAGE",
        "jobId: missing, and without it a repetition would make a second PDF. Add it, or use "
        "--generate-job-ids (from the document) or --job-id-from-file-name",
    )


def _bodies(
    sources: Sequence[str], skipped: list[Path], *, recursive: bool
) -> Iterator[tuple[str, str | None, bytes]]:
    """Return each body with its place and, if it is alone in its file, the file's name."""
    for source in sources:
        if source == STDIN:
            content = sys.stdin.buffer.read().removeprefix(_BOM)
            if not content.strip():
                raise CliError("Standard input is empty: expected documents.")
            if _begins_with_a_document(content):
                yield from _lines("stdin", content)
            else:
                yield "stdin", None, content
            continue
        for path in _files(Path(source), skipped, recursive=recursive):
            content = content_of(path)
            if path.suffix.lower() in LINES:
                yield from _lines(str(path), content)
            else:
                yield str(path), path.stem, content


def _files(path: Path, skipped: list[Path], *, recursive: bool) -> list[Path]:
    if not path.is_dir():
        return [path]
    there = [each for each in sorted(path.iterdir()) if each.name[0] != "."]
    found = [each for each in there if each.is_file() and each.suffix.lower() in (DOCUMENT, *LINES)]
    below = [each for each in there if each.is_dir()]
    if recursive:
        for folder in below:
            with suppress(_Empty):
                found += _files(folder, skipped, recursive=True)
    elif below:
        skipped.append(path)
    if not found:
        hint = " Its sub-folders were not read: use --recursive." if below and not recursive else ""
        raise _Empty(f"{path} has no .json, .jsonl or .ndjson file.{hint}")
    return found


def content_of(path: Path) -> bytes:
    """Read a file without its byte order mark.

    Raises:
        CliError: it cannot be read.
    """
    try:
        return path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}.") from error


def _lines(name: str, content: bytes) -> Iterator[tuple[str, None, bytes]]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield f"{name}:{number}", None, line


def _begins_with_a_document(content: bytes) -> bool:
    first, _, rest = content.lstrip().partition(b"\n")
    if not rest.strip():
        return True
    try:
        msgspec.json.decode(first, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _with_line(message: str, body: bytes) -> str:
    """Return the message with the line in place of the byte, if the body has several lines."""
    match = re.search(r"\(byte (\d+)\)", message)
    if match is None or b"\n" not in body.strip():
        return message
    line = body.count(b"\n", 0, int(match[1])) + 1
    return message.replace(match[0], f"(line {line})")
