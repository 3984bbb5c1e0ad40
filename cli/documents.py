"""What upstream has to send, read from files and checked by the functions' own code."""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from cli.failures import CliError
from cli.letters import QueueName
from reportflow.contract import Contract
from reportflow.contract.files import Mark
from reportflow.errors import Permanent
from reportflow.messages import GenerationRequest, is_job_id, parse_request, unwrapped
from reportflow.payloads import is_pointer

LINES: Final = (".jsonl", ".ndjson")
DOCUMENT: Final = ".json"
STDIN: Final = "-"

_BOM: Final = b"\xef\xbb\xbf"
_metadata_decoder: Final = msgspec.json.Decoder(float_hook=msgspec.Raw)
_NOT_TAKEN: Final = re.compile("[\ufffe\uffff]")
"""All that JSON may hold unescaped and SQS refuses."""


@dataclass(frozen=True)
class Document:
    """One message to send: `body` names its job; `metadata` is written in one way, to compare."""

    job_id: str
    body: str
    digest: str
    metadata: bytes
    place: str


@dataclass(frozen=True)
class Mistake:
    """What keeps a message from being sent: where it stands, and the field with what is wrong."""

    place: str
    text: str


@dataclass(frozen=True)
class Naming:
    """Where a job's id comes from when the document has none. `job_id` is that of a dead letter."""

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


@dataclass
class Reading:
    """What was read: documents to send, each job once, and all mistakes.

    `repeated` counts documents that stand there once more.
    """

    documents: list[Document] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    repeated: int = 0


def read(sources: Sequence[str], naming: Naming, contract: Contract) -> Reading:
    """Read files, folders and, for `-`, standard input, and check them by the contract.

    A folder gives its `.json`, `.jsonl` and `.ndjson` files. The last two and standard input hold
    one document a line; a `.json` file, or standard input that does not begin with a whole
    document, holds one. A line of a file that `dlq drop` wrote stands for the message in it.

    Raises:
        CliError: a file cannot be read.
    """
    reading = Reading()
    seen: dict[str, Document] = {}
    for place, stem, body in _bodies(sources):
        try:
            document = _document(body, place, stem, naming, contract)
        except Permanent as error:
            reading.mistakes.append(Mistake(place, _with_line(error.message, body)))
            continue
        former = seen.setdefault(document.job_id, document)
        if former is document:
            reading.documents.append(document)
        elif former.digest != document.digest:
            text = f"jobId: {former.place} has the same {document.job_id!r} for another document"
            reading.mistakes.append(Mistake(place, text))
        elif former.metadata != document.metadata:
            text = (
                f"metadata: {former.place} has other metadata for the same job "
                f"{document.job_id!r}, and a job keeps one: give each a jobId of its own"
            )
            reading.mistakes.append(Mistake(place, text))
        else:
            reading.repeated += 1
    return reading


def _document(
    body: bytes, place: str, stem: str | None, naming: Naming, contract: Contract
) -> Document:
    try:
        letter = _dead_letter_decoder.decode(body)
    except (ValueError, RecursionError):
        return document(body, place, contract, naming=naming, stem=stem)
    if letter.queue != QueueName.REQUESTS:
        raise Permanent(
            "INVALID_MESSAGE", "a message of the download queue; only requests are sent"
        )
    kept = Naming(job_id=letter.job_id)
    return document(letter.body.encode(), place, contract, naming=kept)


def document(
    body: bytes, place: str, contract: Contract, *, naming: Naming, stem: str | None = None
) -> Document:
    """Check a body, take it out of an envelope, and give it the id of its job.

    Raises:
        Permanent: as the functions would refuse it.
    """
    if is_pointer(body.decode(errors="replace")):
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
        "jobId: missing, and without it a repetition would make a second PDF; give it one, or "
        "take --generate-job-ids (from the document) or --job-id-from-file-name",
    )


def _bodies(sources: Sequence[str]) -> Iterator[tuple[str, str | None, bytes]]:
    """Each body with its place and, where it is alone in its file, the file's name."""
    for source in sources:
        if source == STDIN:
            content = sys.stdin.buffer.read().removeprefix(_BOM)
            if _begins_with_a_document(content):
                yield from _lines("stdin", content)
            elif content.strip():
                yield "stdin", None, content
            continue
        for path in _files(Path(source)):
            content = _content(path)
            if path.suffix.lower() in LINES:
                yield from _lines(str(path), content)
            else:
                yield str(path), path.stem, content


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        each
        for each in path.iterdir()
        if each.is_file() and each.suffix.lower() in {DOCUMENT, *LINES} and each.name[0] != "."
    )
    if not found:
        raise CliError(f"{path} holds no .json, .jsonl or .ndjson file.")
    return found


def _content(path: Path) -> bytes:
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
    """The line in place of the byte that the decoder counts, in a body of several."""
    match = re.search(r"\(byte (\d+)\)", message)
    if match is None or b"\n" not in body.strip():
        return message
    line = body.count(b"\n", 0, int(match[1])) + 1
    return message.replace(match[0], f"(line {line})")
