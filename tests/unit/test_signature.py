"""The reference library is the judge: standardwebhooks, in both directions."""

import hmac
import time
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from string import printable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from reportflow.refusal import Refusal, Refused
from reportflow.signature import (
    MIN_KEY_BYTES,
    TOLERANCE_SECONDS,
    check_signature,
    signing_keys,
)

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + b64encode(bytes(range(32, 64))).decode()
BODY = '{"event": "file.completed", "name": "請求書"}'
ID = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
SPARE_SECONDS = 30
"""What a test may take without an edge of the tolerance passing by."""


def at(seconds: float = 0) -> int:
    return int(time.time() + seconds)


def sign(
    secret: str = SECRET, *, id_: str = ID, timestamp: int | None = None, body: str = BODY
) -> str:
    moment = datetime.fromtimestamp(at() if timestamp is None else timestamp, UTC)
    return Webhook(secret).sign(id_, moment, body)


def headers(
    signature: str | None = None, *, id_: str = ID, timestamp: int | None = None
) -> dict[str, str]:
    stamp = at() if timestamp is None else timestamp
    made = sign(id_=id_, timestamp=stamp) if signature is None else signature
    return {"webhook-id": id_, "webhook-timestamp": str(stamp), "webhook-signature": made}


def flaw(given: Mapping[str, str], body: bytes = BODY.encode(), *secrets: str) -> Refusal | None:
    """What we say; None if we accept."""
    try:
        check_signature(given, body, signing_keys(secrets or (SECRET,)), time.time())
    except Refused as invalid:
        return invalid.reason
    return None


def reference_accepts(given: Mapping[str, str], body: bytes = BODY.encode()) -> bool:
    try:
        Webhook(SECRET).verify(body, dict(given), json_parse=False)
    except (WebhookVerificationError, ValueError):  # The latter is its own bug.
        return False
    return True


@given(
    body=st.text(st.characters(codec="utf-8")),
    id_=st.text(
        st.sampled_from(sorted(set(printable) - set(".") - set(" \t\n\r\v\f"))), min_size=1
    ),
    age=st.integers(-TOLERANCE_SECONDS + SPARE_SECONDS, TOLERANCE_SECONDS - SPARE_SECONDS),
    key=st.binary(min_size=MIN_KEY_BYTES, max_size=64),
)
def test_what_the_reference_signs_is_accepted(body: str, id_: str, age: int, key: bytes) -> None:
    secret = "whsec_" + b64encode(key).decode()
    stamp = at(-age)
    signature = sign(secret, id_=id_, timestamp=stamp, body=body)

    assert flaw(headers(signature, id_=id_, timestamp=stamp), body.encode(), OTHER, secret) is None


def _mutated() -> st.SearchStrategy[tuple[dict[str, str], bytes]]:
    """Requests near a good one: parts left out, doubled, cut, or put in another one's place."""
    token = st.sampled_from(
        ["v1", "v1a", "v2", ",", " ", ".", "=", "\t", "é", "１", "-", "1", "0x", "nan", "e9", ID]
    )
    good = headers()
    text = st.one_of(
        st.sampled_from([*good.values(), sign(OTHER), "", str(at(-400)), str(at(400))]),
        st.lists(st.one_of(token, st.sampled_from([*good.values()])), max_size=4).map("".join),
        st.builds(lambda s, n: s[:n], st.sampled_from([*good.values()]), st.integers(0, 50)),
    )
    changed = st.dictionaries(st.sampled_from(sorted(good)), text, max_size=2)
    bodies = st.sampled_from([BODY.encode(), b"", BODY.encode() + b" ", b"\xff", b"{}"])
    removed = st.sets(st.sampled_from(sorted(good)), max_size=1)
    return st.tuples(
        st.builds(
            lambda new, gone: {k: v for k, v in {**good, **new}.items() if k not in gone},
            changed,
            removed,
        ),
        st.one_of(st.just(BODY.encode()), bodies),
    )


@given(_mutated())
def test_what_the_reference_refuses_is_refused(request_: tuple[dict[str, str], bytes]) -> None:
    given, body = request_

    assert reference_accepts(given, body) or flaw(given, body) is not None


def test_what_is_accepted_here_the_reference_accepts() -> None:
    given = headers()

    assert flaw(given) is None
    assert reference_accepts(given)


@pytest.mark.parametrize(
    "signatures",
    [
        "{good} {other}",
        "{other} {good}",
        "v1a,AAAA {good}",
        "v2,x {other} v1a,y {good}",
        "{good} {good}",
    ],
)
def test_one_of_several_signatures_is_enough(signatures: str) -> None:
    given = headers(signatures.format(good=sign(), other=sign(OTHER)))

    assert flaw(given) is None
    assert reference_accepts(given)


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET), (SECRET,)])
def test_while_secrets_are_rotated_each_of_them_counts(secrets: tuple[str, ...]) -> None:
    assert flaw(headers(), BODY.encode(), *secrets) is None
    assert flaw(headers(), BODY.encode(), OTHER) is Refusal.SIGNATURE_WRONG


@pytest.mark.parametrize("age", [-TOLERANCE_SECONDS, TOLERANCE_SECONDS])
def test_the_tolerance_ends_towards_past_and_future(age: int) -> None:
    further = age + (1 if age > 0 else -1)
    now = float(at())
    keys = signing_keys([SECRET])
    edge, beyond = (headers(timestamp=int(now) - seconds) for seconds in (age, further))

    check_signature(edge, BODY.encode(), keys, now)
    with pytest.raises(Refused) as invalid:
        check_signature(beyond, BODY.encode(), keys, now)
    assert invalid.value.reason is Refusal.SIGNATURE_EXPIRED


@pytest.mark.parametrize("age", [TOLERANCE_SECONDS + SPARE_SECONDS, -(10**9), 10**9])
def test_the_reference_refuses_an_absurd_age_as_well(age: int) -> None:
    given = headers(timestamp=at(-age))

    assert flaw(given) is Refusal.SIGNATURE_EXPIRED
    assert not reference_accepts(given)


@pytest.mark.parametrize(
    "stamp",
    [
        "-{now}",
        "+{now}",
        " {now}",
        "{now} ",
        "{now}\n",
        "{now}.0",
        "{now}e0",
        "{now},{now}",
        "{wide}",
        "{hex}",
        "1_{now}",
        "9" * 400,
        "1" + "0" * 9000,
        "1e9",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "²",
        "\x00",
        "\ud800",
    ],
    ids=lambda stamp: ascii(stamp[:20]),
)
def test_an_absurd_timestamp_is_refused_even_when_signed(stamp: str) -> None:
    """Signed as it stands, and of the right time where it can be read as one at all."""
    now = at()
    wide = "".join(chr(ord("０") + int(digit)) for digit in str(now))
    text = stamp.format(now=now, wide=wide, hex=hex(now))
    signed = f"{ID}.{text}.{BODY}".encode(errors="replace")
    (key,) = signing_keys([SECRET])
    signature = "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()
    good = f"{ID}.{now}.{BODY}".encode()
    assert "v1," + b64encode(hmac.digest(key, good, "sha256")).decode() == sign(timestamp=now)

    assert flaw({**headers(signature), "webhook-timestamp": text}) is Refusal.SIGNATURE_MALFORMED


@pytest.mark.parametrize("stamp", ["0", "1", "999999999999"])
def test_a_timestamp_of_another_age_of_the_world_is_refused(stamp: str) -> None:
    assert flaw({**headers(), "webhook-timestamp": stamp}) is Refusal.SIGNATURE_EXPIRED


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_a_signature_is_refused(name: str) -> None:
    without = {key: value for key, value in headers().items() if key != name}

    for unsigned in (without, {**without, name: ""}):
        assert flaw(unsigned) is Refusal.SIGNATURE_MISSING
        assert not reference_accepts(unsigned)


@pytest.mark.parametrize(
    "signature",
    [
        "v1",
        "v1,",
        ",",
        " ",
        "v1,a,b",
        "{bare}",
        "v1{bare}",
        "v1,{bare}=",
        "v1,%%{bare}",
        "v1,{bare} ",
        " {good}",
        "{good}  {good}",
        "{good},{good}",
        "{good}\n",
        "{good}\x00",
        "V1,{bare}",
        "v1a,{bare}",
        "v2,{bare}",
        "v1,{hex}",
        "v1,\udcff",
        "v1,é",
    ],
    ids=ascii,
)
def test_a_malformed_signature_is_refused(signature: str) -> None:
    good = sign()
    bare = good.removeprefix("v1,")
    text = signature.format(good=good, bare=bare, hex=bare.encode().hex())

    assert flaw(headers(text)) in {
        Refusal.SIGNATURE_MALFORMED,
        Refusal.SIGNATURE_WRONG,
        Refusal.SIGNATURE_MISSING,
    }


def test_the_reference_answers_a_malformed_signature_with_a_bare_value_error() -> None:
    """A bug of it: a caller who sends one causes a 500, and a 500 asks for a retry."""
    given = headers("no comma")

    with pytest.raises(ValueError, match="unpack"):
        Webhook(SECRET).verify(BODY, given)
    assert flaw(given) is Refusal.SIGNATURE_MALFORMED


def test_the_reference_answers_a_body_that_is_not_utf8_with_a_unicode_error() -> None:
    """A bug of it, as above."""
    with pytest.raises(UnicodeDecodeError):
        Webhook(SECRET).verify(b"\xff", headers())
    assert flaw(headers(), b"\xff") is Refusal.SIGNATURE_WRONG


@pytest.mark.parametrize("id_", ["a.1", "a b", "", "é", "a" * 257, "a\n", "\udcff"], ids=ascii)
def test_an_id_that_could_be_read_in_two_ways_is_refused(id_: str) -> None:
    assert flaw({**headers(), "webhook-id": id_}) in {
        Refusal.SIGNATURE_MALFORMED,
        Refusal.SIGNATURE_MISSING,
    }


def test_a_signature_is_good_for_its_own_bytes_only() -> None:
    given = headers()

    assert flaw(given, BODY.encode() + b"\n") is Refusal.SIGNATURE_WRONG
    assert flaw({**given, "webhook-id": "msg_other"}) is Refusal.SIGNATURE_WRONG
    assert flaw({**given, "webhook-timestamp": str(at(-10))}) is Refusal.SIGNATURE_WRONG


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + b64encode(bytes(MIN_KEY_BYTES - 1)).decode(),
        "whsec_" + "?" * 40,
        SECRET[:-1],
        SECRET.replace("whsec_", "whsk_"),
        "秘密" * 20,
    ],
)
def test_a_secret_that_anybody_could_know_is_none(secret: str) -> None:
    assert signing_keys([secret]) == []
    assert flaw(headers(), BODY.encode(), secret) is Refusal.SIGNATURE_WRONG


def test_white_space_that_came_along_with_a_pasted_secret_is_no_part_of_it() -> None:
    assert signing_keys([f" {SECRET}\n"]) == signing_keys([SECRET])


def test_what_would_have_been_right_is_not_shown() -> None:
    right = sign()
    with pytest.raises(Refused) as invalid:
        check_signature(headers(sign(OTHER)), BODY.encode(), signing_keys([SECRET]), time.time())

    assert right.removeprefix("v1,") not in repr(invalid.value) + str(invalid.value)
