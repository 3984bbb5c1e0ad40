"""Receives a PDF: counts its bytes, hashes them, and checks that they are a complete PDF."""

import hashlib
from collections.abc import Iterable
from typing import IO, Final

import msgspec

from reportflow.errors import Permanent, PipelineError, Retryable

HEADER: Final = b"%PDF-"
HEADER_WINDOW: Final = 1024
"""`%PDF-` is within the first 1,024 bytes (ISO 32000-1, annex H, implementation note 13)."""

TRAILER: Final = b"%%EOF"
TRAILER_WINDOW: Final = 1024
"""`%%EOF` is within the last 1,024 bytes (ISO 32000-1, annex H, implementation note 18)."""

_CONTENT_TYPES: Final = frozenset(
    {"", "application/pdf", "application/x-pdf", "application/octet-stream", "binary/octet-stream"}
)


class ReceivedPdf(msgspec.Struct, frozen=True):
    """The size in bytes and the SHA-256 digest of a complete PDF."""

    size: int
    sha256: bytes


def receive(
    chunks: Iterable[bytes], spool: IO[bytes], *, content_type: str | None, max_bytes: int
) -> ReceivedPdf:
    """Write the chunks to `spool` one at a time, and check that they are a complete PDF.

    The bytes decide whether the file is a PDF. If it is not, `content_type` says what arrived.

    Raises:
        Permanent: the file is not a PDF, or has more than `max_bytes`.
        Retryable: the file was cut off, or is a page in place of a PDF, such as a CDN's error.
    """
    digest = hashlib.sha256()
    size = 0
    head = tail = b""
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise Permanent(
                "FILE_TOO_LARGE",
                f"the PDF has more than {max_bytes} bytes: raise max_file_mb, then redrive the "
                "message",
            )
        if len(head) < HEADER_WINDOW:
            head += chunk[: HEADER_WINDOW - len(head)]
            if len(head) == HEADER_WINDOW and HEADER not in head:
                raise _no_pdf(content_type)
        digest.update(chunk)
        spool.write(chunk)
        tail = (tail + chunk)[-TRAILER_WINDOW:]
    if HEADER not in head:
        # A body that ends within `%PDF-` was cut off.
        raise _truncated(size) if HEADER.startswith(head) else _no_pdf(content_type)
    if TRAILER not in tail:
        raise _truncated(size)
    return ReceivedPdf(size, digest.digest())


def _no_pdf(content_type: str | None) -> PipelineError:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in _CONTENT_TYPES:
        return Permanent(
            "NOT_A_PDF",
            "the file has no %PDF- at its start: have ReportFlow's file or design fixed, then "
            "redrive the message or send it again",
        )
    return Retryable(
        "UNEXPECTED_CONTENT_TYPE",
        f"expected a PDF, got {kind[:100]!r}",
        loggable="expected a PDF, got another type",
    )


def _truncated(size: int) -> Retryable:
    return Retryable("TRUNCATED", f"the PDF was cut off: {size} bytes do not end with %%EOF")
