import hashlib
import io
from collections.abc import Iterable, Iterator

import pytest

from reportflow.errors import Permanent, Retryable
from reportflow.pdf import HEADER, HEADER_WINDOW, TRAILER_WINDOW, receive
from tests.unit.samples import PDF


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def receive_whole(
    chunks: Iterable[bytes], *, content_type: str | None = None, most: int = 10**6
) -> bytes:
    spool = io.BytesIO()
    receive(chunks, spool, content_type=content_type, max_bytes=most)
    return spool.getvalue()


@pytest.mark.parametrize("size", [1, 2, 7, len(PDF)])
def test_what_arrives_is_kept_counted_and_hashed(size: int) -> None:
    spool = io.BytesIO()
    received = receive(pieces(PDF, size), spool, content_type=None, max_bytes=len(PDF))

    assert spool.getvalue() == PDF
    assert received.size == len(PDF)
    assert received.sha256 == hashlib.sha256(PDF).digest()


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 100, len(PDF) // 2, len(PDF) - 7])
def test_a_cut_body_can_come_again(length: int) -> None:
    with pytest.raises(Retryable, match="TRUNCATED"):
        receive_whole(pieces(PDF[:length], 64))


@pytest.mark.parametrize("behind", [0, 1, 500])
@pytest.mark.parametrize("padding", [b"\0", b" ", b"\r\n"], ids=repr)
@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_padding_behind_the_end_is_ignored(behind: int, padding: bytes, size: int) -> None:
    padded = PDF + padding * behind
    assert receive_whole(pieces(padded, size)) == padded


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_an_end_too_far_from_the_end_is_none(size: int) -> None:
    far = TRAILER_WINDOW - len(b"%%EOF")
    assert receive_whole(pieces(PDF.rstrip() + b"x" * far, size))
    for behind in (b"x" * (far + 1), b"\0" * far + b"x"):
        with pytest.raises(Retryable, match="TRUNCATED"):
            receive_whole(pieces(PDF.rstrip() + behind, size))


@pytest.mark.parametrize(
    "junk", [b"\r\n", b"\xef\xbb\xbf", b"<!-- -->", b"x" * (HEADER_WINDOW - len(HEADER))], ids=repr
)
@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("content_type", [None, "text/html"])
def test_readers_allow_junk_before_the_start(
    junk: bytes, size: int, content_type: str | None
) -> None:
    assert receive_whole(pieces(junk + PDF, size), content_type=content_type) == junk + PDF


@pytest.mark.parametrize(
    "content",
    [b"<html></html>", b"%PDX" + PDF[5:], b"{}", PDF[1:], b"x" * HEADER_WINDOW + PDF],
    ids=lambda content: content[:8],
)
@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize(
    "content_type", [None, "", "application/x-pdf", "Application/PDF; charset=binary"]
)
def test_what_does_not_begin_like_a_pdf_never_will(
    content: bytes, size: int, content_type: str | None
) -> None:
    with pytest.raises(Permanent, match="NOT_A_PDF"):
        receive_whole(pieces(content, size), content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json"])
def test_a_page_in_place_of_a_pdf_may_be_gone_the_next_time(content_type: str) -> None:
    with pytest.raises(Retryable, match="UNEXPECTED_CONTENT_TYPE") as failed:
        receive_whole([b"<html>%%EOF</html>"], content_type=content_type)
    kind = content_type.partition(";")[0]
    assert kind in failed.value.message
    assert kind not in failed.value.loggable


def test_what_is_no_pdf_is_not_read_to_its_end() -> None:
    body = iter([b"x" * HEADER_WINDOW, b"more"])

    with pytest.raises(Permanent, match="NOT_A_PDF"):
        receive_whole(body)
    assert next(body, None) == b"more"


def test_a_file_of_the_greatest_size_is_taken() -> None:
    assert receive_whole([PDF], most=len(PDF)) == PDF


def test_one_byte_more_is_refused_as_it_arrives() -> None:
    def endless() -> Iterator[bytes]:
        yield PDF
        pytest.fail("read on after the limit")

    with pytest.raises(Permanent, match="FILE_TOO_LARGE"):
        receive_whole(endless(), most=len(PDF) - 1)
