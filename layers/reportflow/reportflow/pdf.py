"""Receiving a PDF: counted, hashed and checked before anybody believes it is one."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Final

from reportflow.errors import Permanent, Retryable

HEADER: Final = b"%PDF-"
TRAILER: Final = b"%%EOF"
TRAILER_WINDOW: Final = 1024
"""`%%EOF` stands within the last 1,024 bytes (ISO 32000-1, annex H, implementation note 18)."""

_CONTENT_TYPES: Final = frozenset(
    {"", "application/pdf", "application/octet-stream", "binary/octet-stream"}
)


@dataclass(frozen=True)
class ReceivedPdf:
    """A whole PDF: its size in bytes and its SHA-256 digest."""

    size: int
    sha256: bytes


def check_content_type(value: str | None) -> None:
    """Refuse an answer that does not even claim to be a PDF, such as a CDN's page.

    Raises:
        Retryable: the page may be gone the next time.
    """
    kind = (value or "").partition(";")[0].strip().lower()
    if kind not in _CONTENT_TYPES:
        raise Retryable("UNEXPECTED_CONTENT_TYPE", f"expected a PDF, got {kind[:100]!r}")


def receive(
    chunks: Iterable[bytes], spool: IO[bytes], *, promised_length: int | None, max_bytes: int
) -> ReceivedPdf:
    """Write the chunks to `spool` and tell what arrived; memory holds one chunk at a time.

    `promised_length` is the answer's `Content-Length`, None where it gave none.

    Raises:
        Permanent: it is no PDF, or has more than `max_bytes`.
        Retryable: it was cut off.
    """
    _check_size(promised_length or 0, max_bytes)
    digest = hashlib.sha256()
    size = 0
    head = tail = b""
    for chunk in chunks:
        size += len(chunk)
        _check_size(size, max_bytes)
        if len(head) < len(HEADER):
            head = (head + chunk)[: len(HEADER)]
            if not HEADER.startswith(head):
                raise Permanent("NOT_A_PDF", "the file does not start with %PDF-")
        digest.update(chunk)
        spool.write(chunk)
        tail = (tail + chunk)[-TRAILER_WINDOW:]
    if promised_length is not None and size != promised_length:
        raise Retryable("TRUNCATED", f"{size} of {promised_length} bytes arrived")
    if len(head) < len(HEADER) or TRAILER not in tail:
        raise Retryable("TRUNCATED", f"{size} bytes arrived, and %%EOF is not at their end")
    return ReceivedPdf(size, digest.digest())


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise Permanent(
            "FILE_TOO_LARGE",
            f"the PDF has more than {max_bytes} bytes: raise max_file_mb, then redrive the message",
        )
