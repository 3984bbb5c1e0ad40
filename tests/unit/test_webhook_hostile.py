"""Requests of which nothing may come: no file, no exception, and not much work."""

import json
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from reportflow.contract.files import CompletedFile
from reportflow.refusal import Refusal, Refused
from reportflow.secret import Secret
from reportflow.webhook import Request, request_of, verify
from tests.unit.samples import TOKEN, by_uuid, central_webhook_body, webhook_body
from tests.unit.test_signature import SECRET as SIGNING_SECRET
from tests.unit.test_signature import headers
from tests.unit.webhook_events import event, sent

SECRET = Secret({}, (TOKEN,))


def verified(request: Request) -> list[CompletedFile]:
    return verify(request, SECRET, "acme", 0.0).files


def refusal(given: dict[str, Any]) -> Refusal:
    with pytest.raises(Refused) as refused:
        verified(request_of(given))
    return refused.value.reason


def outcome(given: dict[str, Any]) -> list[str] | Refusal:
    """The files' ids, or why there are none."""
    try:
        return [file.file_id for file in verified(request_of(given))]
    except Refused as refused:
        return refused.reason


def with_params(params: str) -> str:
    """A webhook whose params are this very text."""
    file = {"fileId": "f", "uuid": "u", "params": "@"}
    return json.dumps(webhook_body(files=[file])).replace('"@"', params)


def with_passthrough(text: str) -> str:
    """A webhook of the contract `central` whose passthrough is this very text."""
    return json.dumps(central_webhook_body({"passthrough": "@"})).replace('"@"', text)


GOOD = json.dumps(webhook_body(files=[{"fileId": "f", "uuid": "u"}]))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "image/png", None])
def test_a_body_is_the_same_in_base64_and_as_text(kind: str | None) -> None:
    body = json.dumps(webhook_body(), ensure_ascii=False).encode()
    given = sent(body, content_type=kind)

    assert request_of(given).body == body
    assert verified(request_of(given))


def test_names_of_headers_are_in_lower_case_and_repeated_ones_are_joined() -> None:
    joined = request_of(sent(b"{}", ("Webhook-ID", "a"), ("WEBHOOK-id", "b"))).headers

    assert joined["webhook-id"] == "a,b"
    assert request_of({**event(), "headers": {"Webhook-ID": "a"}}).headers == {"webhook-id": "a"}


@pytest.mark.parametrize("odd", [None, 7, [], {}, ["a"], "\ud800", "\x00", ""], ids=ascii)
@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_no_text_is_no_signature(name: str, odd: object) -> None:
    given = {**event(), "headers": {**headers(), name: odd}}
    secret = Secret({}, (TOKEN,), (SIGNING_SECRET,))

    with pytest.raises(Refused) as refused:
        verify(request_of(given), secret, "acme", time.time(), signed=True)
    assert refused.value.reason in {Refusal.SIGNATURE_MISSING, Refusal.SIGNATURE_MALFORMED}


ODD = [None, 7, True, 1.5, [], {}, "", "text", [None], {"a": None}, "\ud800", "\x00"]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize(
    "path",
    [
        ("requestContext",),
        ("requestContext", "http"),
        ("requestContext", "http", "method"),
        ("pathParameters",),
        ("pathParameters", "token"),
        ("headers",),
        ("headers", "webhook-id"),
        ("body",),
        ("isBase64Encoded",),
    ],
    ids=".".join,
)
def test_whatever_stands_in_a_requests_place_is_refused_or_read(
    path: tuple[str, ...], odd: object
) -> None:
    given: dict[str, Any] = {**sent(GOOD.encode()), "headers": {"webhook-id": "x"}}
    place = given
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = odd

    assert outcome(given) in (["f"], [], *Refusal)

    del place[path[-1]]
    assert outcome(given) in (["f"], [], *Refusal)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("name", ["event", "workspaceId", "designId", "version", "files"])
def test_whatever_stands_in_a_webhooks_place_is_refused_or_read(name: str, odd: object) -> None:
    body = json.dumps(webhook_body(files=[{"fileId": "f", "uuid": "u"}]) | {name: odd})

    assert outcome(sent(body.encode())) in (["f"], [], *Refusal)


def test_an_empty_token_opens_nothing_even_where_it_is_stored() -> None:
    with pytest.raises(Refused) as refused:
        verify(request_of(event(token="")), Secret({}, ("", TOKEN)), "acme", 0.0)
    assert refused.value.reason is Refusal.UNKNOWN_CALLER


def test_an_empty_request_is_refused() -> None:
    assert refusal({}) is Refusal.WRONG_METHOD


@pytest.mark.parametrize(
    "body", ["%%%", "e30", "e3%0=", "é", "\ud800", " ", b64encode(b"\xff").decode()], ids=ascii
)
def test_a_body_that_is_not_what_its_encoding_says_is_refused_after_the_token(body: str) -> None:
    given = {**event(body), "isBase64Encoded": True}

    assert refusal(given) is Refusal.NOT_JSON
    assert refusal({**given, "pathParameters": {"token": "x"}}) is Refusal.UNKNOWN_CALLER


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"{}\xef\xbb\xbf",
        b"null x",
        b"\xff\xfe",
        GOOD.encode("utf-16"),
        GOOD.encode() + b"x",
        GOOD.encode() + b"\x00",
        GOOD.encode() + GOOD.encode(),
        b'{"event":"file.completed","x":NaN}',
        b'{"event":"other","x":Infinity}',
        b'{"event":"other","x":-Infinity}',
        b'{"event":"other","x":01}',
        b'{"event":"other","x":"\xff"}',
        b'{"event":"other","x":"\x01"}',
        b'{"event":"other","x":"\\x"}',
        b'{"event":"other",}',
        b"{'event':'other'}",
        b'{"event":"\xc0\xae"}',
        b'{"event":"\xed\xa0\x80"}',
        b'{"x":' + b"[" * 200_000,
        b'{"x":' + b'{"a":' * 200_000,
        b"[" * 6_000_000,
        b'{"event":"file.completed","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        *(
            with_params(params).encode()
            for params in (
                "NaN",
                '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
                "9" * 100_000 + "x",
            )
        ),
    ],
    ids=lambda body: ascii(body[-40:]),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(sent(body)) is Refusal.NOT_JSON


@pytest.mark.parametrize(
    ("body", "files"),
    [
        ('{"event":"other","event":"file.completed"}', None),
        (GOOD.replace('"event"', '"event":"other","event"'), ["f"]),
        (GOOD[:-1] + ',"\\u0065vent":"other"}', []),
        (GOOD.replace('"workspaceId"', '"workspaceId":"x","workspaceId"'), ["f"]),
        (GOOD[:-1] + ',"workspaceId":"x"}', None),
        (GOOD.replace('"fileId"', '"fileId":"x","fileId"'), ["f"]),
        (GOOD[:-1] + ',"files":[]}', []),
    ],
    ids=lambda value: value[-60:] if isinstance(value, str) else "",
)
def test_the_last_of_repeated_names_counts(body: str, files: list[str] | None) -> None:
    if files is None:
        assert refusal(event(body)) in (Refusal.WRONG_SHAPE, Refusal.WRONG_WORKSPACE)
    else:
        assert [file.file_id for file in verified(request_of(event(body)))] == files


@pytest.mark.parametrize(
    "id_",
    [
        "..",
        "../x",
        "a/../../b",
        "..%2f..%2fx",
        "a%2e%2e",
        "a%00",
        "a\x00",
        "a\\b",
        "a?b=c",
        "a#b",
        "a@evil.example",
        "//evil.example",
        "http://evil.example",
        "a\r\nHost: evil.example",
        "a\n",
        "a b",
        "",
        " a",
        ".",
        ".a",
        "~a",
        "é",
        "ａ",
        "a\u202e",
        "#fileId",
        ":v",
        "a = b OR a",
        "a" * 129,
        7,
        None,
        True,
        [],
        {},
        "a\ud800",
        1e400,
    ],
    ids=ascii,
)
@pytest.mark.parametrize("field", ["fileId", "uuid", "designId"])
def test_an_id_beyond_its_alphabet_goes_nowhere(field: str, id_: object) -> None:
    changes = {"fileId": "f", "uuid": "u", field: id_}
    design = {"designId": changes.pop("designId")} if "designId" in changes else {}
    body = json.dumps(webhook_body(files=[changes], **design)).replace("Infinity", "1e400")

    assert refusal(event(body)) is Refusal.WRONG_SHAPE


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "-1e-400",
        "1e999999999",
        "1e" + "9" * 30,
        "-0e-" + "9" * 30,
        "0." + "9" * 50_000,
        "9" * 5000,
        "-" + "9" * 100_000,
    ],
    ids=lambda number: number[:20],
)
def test_no_number_of_a_customer_stops_a_webhook(number: str) -> None:
    assert verified(request_of(event(with_params(f'{{"a":{number}}}'))))


@pytest.mark.parametrize(
    "unit", ["1e400", "1e-400", "1e40", "1e-40", "1e999999999", "[]", "{}", '{"a":1}', "9" * 4000]
)
@pytest.mark.parametrize("place", ["params", "passthrough"])
def test_what_a_body_takes_in_memory_is_bounded_by_its_size(
    unit: str, place: str, alone: ProcessPoolExecutor
) -> None:
    part = f"[{','.join([unit] * (60_000 // len(unit)))}]"

    assert alone.submit(peak_of, part, place).result() < 50 * len(part)


@pytest.fixture(scope="module")
def alone() -> Iterator[ProcessPoolExecutor]:
    """A process in which no thread of another test takes memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process


def peak_of(part: str, place: str) -> int:
    """The bytes that verifying a webhook with such a part takes at most."""
    whole = with_params(part) if place == "params" else with_passthrough(part)
    request = request_of(event(whole))
    tracemalloc.start()
    try:
        verified(request)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("odd", "same"),
    [
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":{"b":1,"b":{"c":1,"c":2}},"a":2}', '{"a":2}'),
        ('{"":1,"":1}', '{"":1}'),
        ('{"n":[{"x":0,"x":1}]}', '{"n":[{"x":1}]}'),
    ],
)
def test_in_params_the_last_of_repeated_names_counts(odd: str, same: str) -> None:
    """They are the customer's, and the service reads them so."""
    one, other = (verified(request_of(event(with_document(params)))) for params in (odd, same))

    assert one == other
    assert one[0].request_digest


def with_document(params: str) -> str:
    """A webhook that quotes a whole document."""
    return with_params(params).replace('"uuid"', '"fileName": "a.pdf", "uuid"')


@pytest.mark.parametrize(
    "params",
    [
        "null",
        "[]",
        '"text"',
        '{"a":"\\ud800"}',
        '{"\\udc00":1}',
        '{"a":' + "[" * 3_000 + "]" * 3_000 + "}",
    ],
    ids=lambda params: params[:20],
)
def test_params_that_no_request_of_ours_has_leave_the_document_unknown(params: str) -> None:
    (file,) = verified(request_of(event(with_document(params))))

    assert file.request_digest == ""


@pytest.mark.parametrize("place", ['"event"', '"uuid"'])
def test_a_name_that_is_not_unicode_stops_no_webhook(place: str) -> None:
    assert verified(request_of(event(GOOD.replace(place, f'"\\ud83d":1,{place}'))))


def test_a_hundred_thousand_files_are_refused() -> None:
    files = [{"fileId": f"f{n}", "uuid": "u"} for n in range(100_000)]

    assert refusal(event(webhook_body(files=files))) is Refusal.WRONG_SHAPE


def test_the_same_file_under_two_uuids_is_kept_twice() -> None:
    """One of them is right, and the downloader finds out which."""
    files = [{"fileId": "f", "uuid": uuid} for uuid in ("u1", "u2", "u1")]

    assert [file.reference for file in verified(request_of(event(webhook_body(files=files))))] == [
        by_uuid("u1"),
        by_uuid("u2"),
    ]
