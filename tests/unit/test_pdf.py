import hashlib
import io
from collections.abc import Iterable, Iterator

import pytest

from reportflow.errors import Permanent, Retryable
from reportflow.pdf import TRAILER_WINDOW, check_content_type, receive
from tests.unit.samples import PDF


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def receive_whole(
    chunks: Iterable[bytes], *, promised: int | None = None, most: int = 10**6
) -> bytes:
    spool = io.BytesIO()
    receive(chunks, spool, promised_length=promised, max_bytes=most)
    return spool.getvalue()


@pytest.mark.parametrize("size", [1, 2, 7, len(PDF)])
@pytest.mark.parametrize("promised", [None, len(PDF)])
def test_what_arrives_is_kept_counted_and_hashed(size: int, promised: int | None) -> None:
    spool = io.BytesIO()
    received = receive(pieces(PDF, size), spool, promised_length=promised, max_bytes=len(PDF))

    assert spool.getvalue() == PDF
    assert received.size == len(PDF)
    assert received.sha256 == hashlib.sha256(PDF).digest()


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 100, len(PDF) // 2, len(PDF) - 7])
@pytest.mark.parametrize("promised", [None, len(PDF)])
def test_a_cut_body_can_come_again(length: int, promised: int | None) -> None:
    with pytest.raises(Retryable, match="TRUNCATED"):
        receive_whole(pieces(PDF[:length], 64), promised=promised)


def test_every_single_missing_byte_is_noticed_by_the_promised_length() -> None:
    for length in range(len(PDF)):
        with pytest.raises(Retryable, match="TRUNCATED"):
            receive_whole([PDF[:length]], promised=len(PDF))


def test_more_than_was_promised_is_not_believed() -> None:
    with pytest.raises(Retryable, match="TRUNCATED"):
        receive_whole([PDF, b"\n"], promised=len(PDF))


@pytest.mark.parametrize("behind", [0, TRAILER_WINDOW - len(b"%%EOF\n")])
def test_the_trailer_may_stand_before_other_bytes(behind: int) -> None:
    assert receive_whole(pieces(PDF + b"\0" * behind, 10))


def test_a_trailer_too_far_from_the_end_is_none() -> None:
    with pytest.raises(Retryable, match="TRUNCATED"):
        receive_whole([PDF + b"\0" * TRAILER_WINDOW])


@pytest.mark.parametrize(
    "content",
    [b"<html>%PDF-%%EOF</html>", b" " + PDF, b"%PDX" + PDF, b"{}", PDF[1:]],
    ids=lambda content: content[:8],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_does_not_begin_like_a_pdf_never_will(content: bytes, size: int) -> None:
    with pytest.raises(Permanent, match="NOT_A_PDF"):
        receive_whole(pieces(content, size))


def test_a_file_of_the_greatest_size_is_taken() -> None:
    assert receive_whole([PDF], promised=len(PDF), most=len(PDF)) == PDF


@pytest.mark.parametrize("promised", [None, len(PDF) - 1])
def test_one_byte_more_is_refused_as_it_arrives(promised: int | None) -> None:
    def endless() -> Iterator[bytes]:
        yield PDF
        pytest.fail("read on after the limit")

    with pytest.raises(Permanent, match="FILE_TOO_LARGE"):
        receive_whole(endless(), promised=promised, most=len(PDF) - 1)


def test_a_promise_above_the_limit_is_refused_before_anything_is_read() -> None:
    body = pieces(PDF, 1)

    with pytest.raises(Permanent, match="FILE_TOO_LARGE"):
        receive_whole(body, promised=len(PDF), most=len(PDF) - 1)
    assert b"".join(body) == PDF


@pytest.mark.parametrize(
    "value",
    [None, "", "application/pdf", "Application/PDF; charset=binary", "application/octet-stream"],
)
def test_what_may_be_a_pdf_is_looked_at(value: str | None) -> None:
    check_content_type(value)


@pytest.mark.parametrize(
    "value", ["text/html", "text/html; charset=utf-8", "application/json", "application/pdfx"]
)
def test_what_claims_to_be_something_else_can_come_again(value: str) -> None:
    with pytest.raises(Retryable, match="UNEXPECTED_CONTENT_TYPE"):
        check_content_type(value)
